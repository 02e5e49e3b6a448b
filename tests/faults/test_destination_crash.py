"""SIGKILL of the courier's process around a send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from courier_bench import TO_BOTH, all_delivered, file_study, states, storage_in
from destination_peers import pacs, wait_until

ROOT = Path(__file__).parents[2]
PICTURES = [(kind, ["pacs"]) for kind, _ in TO_BOTH if kind != "hl7_oru"]


@contextmanager
def courier_process(folder: Path, port: int, moment: str) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(__file__).with_name("courier_process.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, program, folder, str(port), moment], env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("moment", "times"),
    [
        pytest.param("before", 1, id="between claim and send"),
        pytest.param("after", 2, id="between send and record: a duplicate, no second result"),
    ],
)
def test_outbox_crash(tmp_path: Path, moment: str, times: int) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        uids = [*file_study(storage, 1, PICTURES).values()]
        with courier_process(tmp_path, archive.port, moment) as process:
            assert process.wait(60) == -signal.SIGKILL
        assert states(storage) == {"sending": 2}
        with courier_process(tmp_path, archive.port, "never") as process:
            wait_until(lambda: all_delivered(storage), 60)
            process.terminate()
            assert process.wait(30) == 0
        assert archive.stored == uids * times
        assert storage.audit.verify() == ()
