"""A whole node with a processor in shadow beside a live one: killed, reloaded, promoted.

What is sent lands in a folder, so that nothing can leave unseen.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from system import films
from system.node import NodeUnderTest, wait_for

from storage import Run, RunState, Storage

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(240)]


@pytest.fixture(name="node")
def node_fixture(tmp_path: Path, database: str) -> Iterator[NodeUnderTest]:
    disk = {"disk": {"kind": "folder", "path": str(tmp_path / "out")}}
    node = NodeUnderTest(tmp_path, database=database, changes={"destinations": disk})
    (chest,) = node.settings["processors"]
    chest["send_to"] = ["disk"]
    node.settings["processors"].append({**chest, "name": "next", "mode": "shadow"})
    node.write()
    node.start()
    yield node
    node.stop()


def of(storage: Storage, name: str, study_uid: str) -> Run | None:
    runs = storage.runs.list(study_uid=study_uid)
    return next((run for run in runs if run.processor == name), None)


def running(storage: Storage, name: str) -> Run | None:
    return next((run for run in storage.runs.running() if run.processor == name), None)


def sent(node: NodeUnderTest) -> int:
    return sum(path.is_file() for path in (node.folder / "out").rglob("*"))


def reports(storage: Storage, *runs: Run | None) -> int:
    return sum(len(storage.runs.reports(run.id)) for run in runs if run)


def test_a_shadow_is_never_sent(node: NodeUnderTest) -> None:
    first, second = films.films(2, "S")
    uid, later = str(first.StudyInstanceUID), str(second.StudyInstanceUID)
    assert films.send(node.port, first) == [0]
    with node.storage() as storage:
        # a warm worker has it in hand for a fraction of a second
        in_hand = wait_for(lambda: running(storage, "next"), 60, "the run in shadow", every=0.01)
        os.kill(int(in_hand.owner.split(":")[1]), signal.SIGKILL)
        node.until_done(1, 90)
        live, shadow = of(storage, "chest", uid), of(storage, "next", uid)
        assert live is not None
        assert shadow is not None
        assert (shadow.mode, shadow.state, shadow.attempt) == ("shadow", RunState.COMPLETED, 2)
        assert {d.run_id for d in storage.outbox.list(study_uid=uid)} == {live.id}
        assert sent(node) == reports(storage, live) > 0
        assert reports(storage, shadow) > 0

        labels = 'mode="shadow",processor="next",status="completed"'
        assert f"dictamen_runs_total{{{labels}}} 1.0" in node.get("/metrics")[1]

        told = json.loads(node.cli("processors", "shadow-report", "next", "--json").stdout)
        (peer,) = told["peers"]
        assert (peer["processor"], peer["whole"]["count"], peer["whole"]["n"]) == ("chest", 1, 1)
        why = ("--by", "Ana Ruiz", "--reason", "agrees with chest")
        assert "set mode: live" in node.cli("processors", "promote", "next", *why).stdout

        node.settings["processors"][1]["mode"] = "live"
        node.write()
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: node.events("settings.reloaded"), 60, "the reload")
        assert films.send(node.port, first, second) == [0, 0]
        node.until_done(2, 90)
        fresh = of(storage, "next", later)
        assert fresh is not None
        assert fresh.mode == "live"
        assert of(storage, "next", uid) == shadow
        everything = reports(storage, live, of(storage, "chest", later), fresh)
        assert sent(node) == everything
        assert storage.audit.verify() == ()
