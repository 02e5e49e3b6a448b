"""The inbox as a process of the node: where it runs, when a start is refused, what it imports."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from inbox_lab import settings
from typer.testing import CliRunner

from dicom_node import supervisor
from dicom_node.cli import app
from dicom_node.demo.peers import free_port


def test_it_runs_where_a_door_for_reports_is_set(tmp_path: Path) -> None:
    with_door = settings(tmp_path, free_port())
    without = with_door.model_copy(
        update={"intake": with_door.intake.model_copy(update={"mllp": None})}
    )
    assert ("inbox", 1) in supervisor._places(with_door)
    assert "inbox" not in dict(supervisor._places(without))


def test_a_start_with_a_taken_port_names_the_key(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        door = settings(tmp_path, taken.getsockname()[1])
        with pytest.raises(supervisor.StartError, match=r"intake\.mllp\.listen"):
            supervisor.check_mllp_port(door)


def test_alone_without_a_door_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.key").write_text("5b" * 32)
    node = {
        "node": {"ae_title": "DICTAMEN", "data_dir": ".", "audit_key_file": "audit.key"},
        "intake": {"accept_from": "anyone"},
        "processors": [],
    }
    file = tmp_path / "node.yaml"
    file.write_text(json.dumps(node))
    monkeypatch.setattr("dicom_node.logs.configure", lambda *_, **__: None)
    monkeypatch.setattr("dicom_node.roles.stop_on_signals", lambda _stopping: None)
    assert CliRunner().invoke(app, ["db", "upgrade", "--config", str(file)]).exit_code == 0
    done = CliRunner().invoke(app, ["serve", str(file), "--only", "inbox"])
    assert done.exit_code == 1
    assert "intake.mllp is not set" in done.output


def test_the_process_loads_no_model() -> None:
    question = (
        "import sys, dicom_node.inbox;"
        "sys.exit(bool({'torch', 'onnxruntime', 'monai', 'rouge_score'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", question], check=False).returncode == 0
