"""Mistakes in node.yaml, met through the command line and by a running node."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from system.node import ROOT, NodeUnderTest, alive, wait_for
from system.trial import Pacs

from config import load
from dicom_node.demo.peers import free_port
from dicom_node.rules import faults

EX_CONFIG = 78
# One planted mistake of each kind that has an id, then five more; the comment is the kind.
MISTAKES = """\
node:
  ae_title: AN_AE_TITLE_TOO_LONG        # cfg-bad-aet
  listen: 127.0.0.1:abc                 # cfg-wrong-type
  data_dri: /var/lib/dictamen           # cfg-unknown-key
  audit_key_file: audit.key
  database: postgresql+psycopg://d:${DICTAMEN_NOT_SET}@db/d   # cfg-missing-secret
  language: en
  language: es                          # cfg-duplicate-key
intake:
  accept_from: [{ae_title: PACS}]
  quarantine: no                        # cfg-octal
  limits: {associations: 1000000}       # out of range
processors:
  - name: chest
    bundle: chest
    when:
      Modalty: CR                       # no DICOM keyword
    settle: {quiet: 10}                 # no unit
    send_to: [pasc]                     # unknown destination
destinations:
  pacs: {kind: dicm, host: 10.1.2.3}    # unknown kind
"""


def dictamen(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_planted_mistake_is_told_with_its_line(tmp_path: Path, command: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(MISTAKES)
    (tmp_path / "audit.key").write_text("k" * 32)
    done = dictamen(command, str(file))
    assert done.returncode == EX_CONFIG
    planted = {n for n, line in enumerate(MISTAKES.splitlines(), 1) if re.search(r"  # \w", line)}
    assert len(planted) == 11
    told = {int(n) for n in re.findall(r"node\.yaml:(\d+)", done.stdout + done.stderr)}
    told |= {int(n) for n in re.findall(r"line (\d+)", done.stdout + done.stderr)}
    assert planted <= told, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_not_there_or_no_yaml(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("node: [unclosed")
    for file in (broken, tmp_path / "absent.yaml"):
        done = dictamen("check", str(file))
        assert done.returncode == EX_CONFIG
        assert file.name in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["listen", "status"])
def test_cfg_port_taken(tmp_path: Path, key: str) -> None:
    node = NodeUnderTest(tmp_path)
    port = node.port if key == "listen" else node.status_port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = dictamen("serve", str(node.file))
    assert done.returncode not in (0, None)
    assert str(port) in done.stderr
    assert f"node.{key}" in done.stderr
    assert "Traceback" not in done.stderr
    # nothing half-started: no process was begun, no database made, the other port is free
    assert "process.started" not in done.stderr
    assert not list(tmp_path.rglob("*.db"))
    other = node.status_port if key == "listen" else node.port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", other)) != 0


@pytest.mark.slow
@pytest.mark.system
def test_a_second_node_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Its intake crashed again and again while /readyz told the state of the first one's."""
    with NodeUnderTest(tmp_path / "first") as first:
        own = {
            "data_dir": first.settings["node"]["data_dir"],
            "audit_key_file": str(first.key_file),
        }
        second = NodeUnderTest(tmp_path / "second", changes={"node": own})
        done = dictamen("serve", str(second.file))
        assert done.returncode == 1
        assert f"another node works in {own['data_dir']}" in done.stderr
        assert "process.started" not in done.stderr
        assert first.get("/readyz")[0] == 200
        first.kill_all()  # a node that was killed leaves no lock behind
        first.start()


@pytest.mark.slow
@pytest.mark.system
def test_a_stopped_node_leaves_nothing_that_a_copy_stumbles_over(tmp_path: Path) -> None:
    """Its folder may be copied as it is: files alone, no sockets."""
    with NodeUnderTest(tmp_path) as node:
        assert node.stop() == 0
    left = [path for path in (tmp_path / "data").rglob("*") if not path.is_dir()]
    assert left
    assert [path for path in left if not path.is_file()] == []


@pytest.mark.slow
@pytest.mark.system
def test_a_stop_while_the_models_are_opened_waits_for_none_of_them(tmp_path: Path) -> None:
    """`systemctl stop` gives 30 s; opening all models and starting workers may take as long."""
    node = NodeUnderTest(tmp_path)
    node.start(ready=False)
    wait_for(lambda: node.events("process.started"), 60, "the door")
    assert node.stop() == 0
    assert [line["role"] for line in node.events("process.started")] == ["intake"]


@pytest.mark.slow
@pytest.mark.system
def test_cfg_reload_bad_leaves_the_old_settings_in_force(tmp_path: Path) -> None:
    with NodeUnderTest(tmp_path) as node:
        assert node.process is not None
        before = node.pids()
        good = node.file.read_text()
        node.file.write_text(good.replace('"quiet"', '"quite"'))
        node.process.send_signal(signal.SIGHUP)
        (refused,) = wait_for(lambda: node.events("settings.refused"), 10, "the refusal")
        assert "quite" in refused["problems"]
        time.sleep(1.0)
        assert node.pids() == before
        assert node.get("/readyz")[0] == 200
        node.file.write_text(good)
        with node.storage() as storage:
            rows = [r.entry for r in storage.audit.list(limit=1000) if r.entry.kind == "110131"]
        assert [row.outcome for row in rows] == [8]
        changed = json.loads(good)
        changed["processors"][0]["settle"]["quiet"] = "700ms"
        node.file.write_text(json.dumps(changed))
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: node.events("settings.reloaded"), 10, "the reload")
        wait_for(lambda: node.get("/readyz")[0] == 200 and node.pids() != before, 60, "new workers")
        intake = [pid for pid, role in before.items() if role == ("intake", 1)]
        assert all(map(alive, intake))  # what did not change was not stopped
        assert load(node.file, os.environ, check_rule=faults).processors[
            0
        ].settle.quiet == pytest.approx(0.7)


@pytest.fixture
def strict_pacs(tmp_path: Path) -> Iterator[Pacs]:
    """A PACS that knows itself by one AE title only."""
    pacs = Pacs(tmp_path / "pacs", ae_title="RIGHTNAME", check_called=True)
    pacs.up()
    yield pacs
    pacs.down()


@pytest.mark.system
@pytest.mark.parametrize("title", ["RIGHTNAME", "WRONGNAME"])
def test_check_names_a_wrong_ae_title(tmp_path: Path, strict_pacs: Pacs, title: str) -> None:
    node = NodeUnderTest(tmp_path / "node")
    peer = {"kind": "dicom", "ae_title": title, "host": "127.0.0.1", "port": strict_pacs.port}
    node.write(destinations={"pacs": peer})
    node.settings["processors"][0]["send_to"] = ["pacs"]
    node.write()
    done = dictamen("check", str(node.file), "--json")
    (found,) = [row for row in json.loads(done.stdout) if "pacs" in row["name"]]
    if title == "RIGHTNAME":
        assert found["ok"], found
        return
    assert done.returncode == 1
    assert not found["ok"]
    for word in ("WRONGNAME", "127.0.0.1", str(strict_pacs.port), "called AE title"):
        assert word.lower() in found["detail"].lower(), found


@pytest.mark.slow
@pytest.mark.system
def test_a_reload_forgets_a_token_that_was_taken_out(tmp_path: Path) -> None:
    port, tokens = free_port(), tmp_path / "stow.token"
    tokens.write_text(f"OLD {'o' * 30}\n")
    stow = {"listen": f"127.0.0.1:{port}", "token_file": str(tokens)}

    def asked(token: str) -> int:
        head = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
        wanted = urllib.request.Request(f"http://127.0.0.1:{port}/studies", b"x", head)
        try:
            with urllib.request.urlopen(wanted, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    with NodeUnderTest(tmp_path, changes={"intake": {"stow": stow}}) as node:
        assert node.process is not None
        wait_for(lambda: asked("o" * 30) == 415, 60, "the web door knows the sender")
        tokens.write_text(f"NEW {'n' * 30}\n")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: asked("n" * 30) == 415, 60, "the new token")
        assert asked("o" * 30) == 401
