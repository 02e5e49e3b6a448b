"""Bytes that no library would send: the service stays up, small and clean."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import intake_lab as lab
import pytest

from storage import Lane


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Node]:
    limits = {"handshake": "1s", "idle": "2s", "per_address": 100}
    with lab.running(tmp_path_factory.mktemp("intake"), limits=limits) as found:
        yield found


def _used(node: lab.Node) -> tuple[int, int]:
    threads, files = (
        len(list(Path(f"/proc/{node.pid}/{kind}").iterdir())) for kind in ("task", "fd")
    )
    return threads, files


def test_mutated_bytes_leave_nothing_behind(node: lab.Node) -> None:
    rng = random.Random(20260101)
    made = lab.data_set()
    whole = lab.p_data(
        1, b"\3" + lab.store_rq(lab.CT, made.SOPInstanceUID), b"\2" + lab.encoded(made)
    )
    assert lab.send(node, lab.data_set()) == [0x0000]
    segments = node.data / "spool" / "arrivals"  # they are made behind the first answers
    assert lab.eventually(lambda: len(list(segments.glob("*.log"))) == Lane.SEGMENTS, 30)
    threads, files = _used(node)
    for turn in range(60):
        request, message = bytearray(lab.associate_rq()), bytearray(whole)
        victim = request if turn % 2 else message
        for _ in range(rng.randint(1, 3)):
            victim[rng.randrange(42 if turn % 2 else 0, 200)] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
            peer.settimeout(0.1)
            try:
                peer.sendall(request)
                peer.recv(1000)
                peer.sendall(message)
                peer.recv(1000)
            except OSError:
                continue
    assert lab.eventually(lambda: _used(node)[0] <= threads, 15)
    assert _used(node)[1] <= files + 4
    assert lab.send(node, made) == [0x0000]
    assert not re.search("Traceback", node.log)


@pytest.mark.shared
@pytest.mark.slow
def test_the_catalogue_of_wire_faults(shared: Path, tmp_path: Path) -> None:
    with lab.running(tmp_path, limits={"handshake": "5s", "idle": "15s"}) as node:
        probe = [sys.executable, shared / "tools/wire_probe.py", f"127.0.0.1:{node.port}:DICTAMEN"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=280)
    assert "61 of 61 passed" in done.stdout, done.stdout + done.stderr
