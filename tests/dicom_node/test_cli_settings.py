"""The command line and node.yaml: 78 and every line of what is wrong; a wrong AE title is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from config import template

ROOT = Path(__file__).parents[2]
MISTAKES = ROOT / "tests" / "config" / "mistakes.yaml"


def dictamen(*arguments: str | Path, wide: bool = True) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "COLUMNS": "400" if wide else "80", "NO_COLOR": "1"}
    environ.pop("DICTAMEN_TEST_UNSET", None)
    return subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_mistake_is_printed_with_its_line(command: str) -> None:
    done = dictamen(command, MISTAKES)
    assert done.returncode == 78
    lines = MISTAKES.read_text("utf-8").splitlines()
    wanted = [
        f"{MISTAKES}: line {number}: {line.split('# wrong:')[1].strip()}: "
        for number, line in enumerate(lines, 1)
        if "# wrong:" in line
    ]
    printed = done.stderr.splitlines()
    assert len(printed) == len(wanted) > 20
    for begin, line in zip(wanted, printed, strict=True):
        assert line.startswith(begin)
    assert "did you mean Modality?" in done.stderr


def test_check_names_a_wrong_ae_title(tmp_path: Path) -> None:
    pacs = AE(ae_title="REALPACS")
    pacs.add_supported_context(Verification)
    pacs.require_called_aet = True
    server = pacs.start_server(("127.0.0.1", 0), block=False)
    try:
        port = server.socket.getsockname()[1]
        node, _ = template.write(tmp_path, "en")
        text = node.read_text("utf-8").replace("port: 104", f"port: {port}")
        node.write_text(text.replace("disk_reserve: 5GiB", "disk_reserve: 1MiB"), "utf-8")
        done = dictamen("check", node, "--json")
    finally:
        server.shutdown()
    found = {result["name"]: result for result in json.loads(done.stdout)}
    assert done.returncode == 1
    assert not found["destinations.pacs"]["ok"]
    for part in (f"PACS at 127.0.0.1:{port}", "RJ 1/1/7", "called AE title not recognised"):
        assert part in found["destinations.pacs"]["detail"]


def test_the_schema_for_editors_is_printed() -> None:
    done = dictamen("check", "--schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["properties"].keys() >= {"node", "intake", "destinations"}
