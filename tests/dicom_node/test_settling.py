"""When studies are looked at: on a ring, when a wait runs out, and without any ring too."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from destination_peers import wait_until
from storage_fixtures import (  # noqa: F401 - the fixtures that `node` asks for
    NOON,
    STUDY,
    Node,
    add,
    instance,
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)

from config import Settings
from dicom_node import bell, routing
from dicom_node.bell import Topic
from dicom_node.clock import settle
from dicom_node.routing import Heard
from dicom_node.settling import LOST, Settling
from dicom_node.supervisor import _guarded


def settings(data_dir: Path = Path(), **rule: object) -> Settings:
    processor = {"name": "chest", "bundle": "chest", "when": {"Modality": "DX"}, "settle": rule}
    return Settings.model_validate_json(
        json.dumps(
            {
                "node": {
                    "ae_title": "DICTAMEN",
                    "audit_key_file": "audit.key",
                    "data_dir": str(data_dir),
                },
                "intake": {"accept_from": "anyone"},
                "processors": [processor],
            }
        )
    )


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


RULE = {"quiet": "10s", "longest": "60s"}


@pytest.mark.parametrize(
    ("rule", "heard", "seconds", "wait"),
    [
        pytest.param(RULE, Heard(), 4, 6.0, id="quiet since the arrival"),
        pytest.param(RULE, Heard(since=after(3)), 4, 9.0, id="quiet since the restart"),
        pytest.param(RULE, Heard(since=after(-99)), 4, 6.0, id="a restart long ago"),
        pytest.param(RULE, Heard(released=after(1)), 4, 6.0, id="a release nobody asked about"),
        pytest.param(
            RULE | {"release": "5s"}, Heard(released=after(1)), 4, 1.0, id="released"
        ),
        pytest.param(
            RULE | {"release": "5s"}, Heard(released=after(-1)), 4, 6.0,
            id="a release before the last arrival",
        ),
        pytest.param(
            RULE | {"release": "30s"}, Heard(released=after(1)), 4, 6.0,
            id="never longer than quiet",
        ),
        pytest.param(
            RULE | {"release": "5s"}, Heard(after(3), after(1)), 4, 9.0,
            id="released before the restart",
        ),
        pytest.param(
            RULE | {"expect": {"instances": 1}}, Heard(since=after(3)), 4, None, id="expected"
        ),
        pytest.param({"quiet": "10s", "longest": "5s"}, Heard(), 4, 1.0, id="longest"),
        pytest.param(
            {"quiet": "10s", "longest": "5s"}, Heard(since=after(3)), 4, 4.0,
            id="longest since the restart",
        ),
    ],
)  # fmt: skip
def test_how_long_a_study_still_waits(
    sqlite_node: Node, rule: dict[str, object], heard: Heard, seconds: float, wait: float | None
) -> None:
    add(sqlite_node.storage, instance())
    looked = settle(sqlite_node.storage, settings(**rule), after(seconds), lambda _: heard)
    assert (looked.new, looked.wait) == (1 if wait is None else 0, wait)
    if wait:
        late = settle(sqlite_node.storage, settings(**rule), after(seconds + wait), lambda _: heard)
        assert late.new == 1


def test_a_look_is_never_asked_for_too_late(node: Node) -> None:
    add(node.storage, instance())
    study = node.storage.studies.get(STUDY)
    known = node.storage.studies.instances(STUDY)
    for rule in (RULE, RULE | {"release": "2s"}, {"quiet": "60s", "longest": "20s"}):
        for heard in (
            Heard(),
            Heard(after(3)),
            Heard(released=after(2)),
            Heard(after(1), after(2)),
        ):
            for second in range(0, 80, 3):
                used, now = settings(**rule), after(second)
                (choice,) = routing.choose(used, known, 0, now, heard)
                assert routing.soonest(used, study, now, heard) <= choice.wait


class Watched:
    """Settling in a thread of its own, over a real storage, until the test is over."""

    def __init__(self, node: Node, folder: Path, since: datetime, **rule: object) -> None:
        self.folder, self.over = folder, threading.Event()
        used = settings(folder, **rule)
        self.settling = Settling(node.storage, lambda: used, self.over, since)
        self.thread = threading.Thread(target=self.settling.run, args=(_guarded,))

    def __enter__(self) -> Watched:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def arrive(node: Node) -> None:
    now = datetime.now(UTC)
    add(node.storage, instance(received_at=now))


def planned(node: Node) -> bool:
    return bool(node.storage.runs.list(study_uid=STUDY))


ONE = {"quiet": "60s", "longest": "2min", "expect": {"instances": 1}}


def test_a_ring_has_an_expected_study_planned_at_once(sqlite_node: Node, tmp_path: Path) -> None:
    with Watched(sqlite_node, tmp_path, datetime.now(UTC), **ONE):
        wait_until((tmp_path / "bells").exists)
        time.sleep(0.3)  # the look at the start is over
        arrive(sqlite_node)
        began = time.monotonic()
        bell.ring(tmp_path, Topic.ARRIVED)
        wait_until(lambda: planned(sqlite_node))
        assert time.monotonic() - began < LOST / 2


def test_without_any_ring_it_takes_longer_and_nothing_is_lost(
    sqlite_node: Node, tmp_path: Path
) -> None:
    with Watched(sqlite_node, tmp_path, datetime.now(UTC), **ONE):
        arrive(sqlite_node)
        wait_until(lambda: planned(sqlite_node), LOST + 5)


def test_a_release_ends_the_wait(sqlite_node: Node, tmp_path: Path) -> None:
    rule = {"quiet": "60s", "longest": "2min", "release": "300ms"}
    with Watched(sqlite_node, tmp_path, datetime.now(UTC), **rule):
        wait_until((tmp_path / "bells").exists)
        arrive(sqlite_node)
        bell.ring(tmp_path, Topic.ARRIVED, STUDY)
        wait_until(lambda: planned(sqlite_node), 5)


def test_after_a_restart_a_study_waits_anew(sqlite_node: Node, tmp_path: Path) -> None:
    """It came an hour ago; whether its sender was done nobody knows, because nobody listened."""
    add(sqlite_node.storage, instance(received_at=datetime.now(UTC) - timedelta(hours=1)))
    with Watched(sqlite_node, tmp_path, datetime.now(UTC), quiet="1500ms", longest="2min"):
        time.sleep(0.7)
        assert not planned(sqlite_node)
        wait_until(lambda: planned(sqlite_node), 10)


def test_a_clock_that_goes_back_ends_no_wait(
    sqlite_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine starts an hour ahead, and is put right while the node runs."""
    rule = {"quiet": "10s", "longest": "60s", "release": "1s"}
    clock = [NOON + timedelta(hours=1)]
    told = SimpleNamespace(now=lambda _: clock[0])
    monkeypatch.setattr("dicom_node.settling.datetime", told)
    over = threading.Event()
    settling = Settling(sqlite_node.storage, lambda: settings(tmp_path, **rule), over, clock[0])
    settling.look()
    settling.released(STUDY)
    clock[0] = NOON
    assert settling.look() == LOST
    add(sqlite_node.storage, instance())
    waits = []
    for second in range(1, 10):
        clock[0] = after(second)
        waits.append(settling.look())
    assert not planned(sqlite_node)
    assert waits == [LOST] * 9
    clock[0] = after(10)
    settling.look()
    assert planned(sqlite_node)
