"""Settling, leases and their watch, on both databases; time is an argument everywhere."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
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
    waiting,
)

from config import Settings
from dicom_node.clock import LeaseWatch, set_aside_unknown, settle
from storage import RunState, StudyState


def settings(*processors: dict[str, object]) -> Settings:
    chest = {"name": "chest", "bundle": "chest", "when": {"Modality": "DX"}}
    return Settings.model_validate_json(
        json.dumps(
            {
                "node": {"ae_title": "DICTAMEN", "audit_key_file": "audit.key"},
                "intake": {"accept_from": "anyone"},
                "processors": [chest | more for more in processors or ({},)],
            }
        )
    )


def after(seconds: float):
    return NOON + timedelta(seconds=seconds)


class Watch:
    """A lease watch whose monotonic clock the test sets."""

    def __init__(self, node: Node, *, ours: bool) -> None:
        self.now, self.killed, self.ours, self.node = 0.0, [], ours, node
        self.watch = LeaseWatch(30.0, 120.0, 3, monotonic=lambda: self.now)

    def look(self, at: float) -> RunState:
        self.now = at
        self.watch.look(self.node.storage, self.kill)
        return self.node.storage.runs.list()[0].state

    def kill(self, owner: str) -> bool:
        self.killed.append(owner)
        return self.ours


@pytest.fixture(name="claimed")
def claimed_fixture(node: Node):
    waiting(node.storage)
    return node.storage.runs.claim("host:1")


def test_a_worker_that_beats_keeps_its_run(node: Node, claimed):
    watch = Watch(node, ours=True)
    for moment in (0, 25, 50, 75):
        assert watch.look(moment) is RunState.RUNNING
        node.storage.runs.beat(claimed)


def test_a_silent_worker_loses_its_run(node: Node, claimed):
    watch = Watch(node, ours=True)
    assert [watch.look(t) for t in (0, 29, 31)] == [
        RunState.RUNNING, RunState.RUNNING, RunState.READY,
    ]  # fmt: skip


def test_model_hang_ends_with_its_worker(node: Node, claimed):
    """It beats and never returns: killed from outside after workers.timeout."""
    watch = Watch(node, ours=True)
    for moment in range(0, 121, 20):
        node.storage.runs.beat(claimed)
        assert watch.look(moment) is RunState.RUNNING
    node.storage.runs.beat(claimed)
    assert watch.look(121) is RunState.READY
    assert watch.killed == ["host:1"]


def test_model_hang_is_ended_however_late_it_is_seen(node: Node, claimed):
    """The watch itself was away for minutes: the worker still hangs and must still be ended."""
    watch = Watch(node, ours=True)
    watch.look(0)
    node.storage.runs.beat(claimed)
    watch.look(100)
    node.storage.runs.beat(claimed)
    assert watch.look(500) is RunState.READY
    assert watch.killed == ["host:1"]


def test_model_hang_that_stops_the_beat_ends_with_its_worker(node: Node, claimed):
    """Its run is freed with the lease; the worker itself is ended when its time is up."""
    watch = Watch(node, ours=True)
    assert [watch.look(t) for t in (0, 31, 119)] == [
        RunState.RUNNING, RunState.READY, RunState.READY,
    ]  # fmt: skip
    assert watch.killed == []
    watch.look(121)
    watch.look(200)
    assert watch.killed == ["host:1"]


def test_a_silent_worker_that_comes_back_is_left_alone(node: Node, claimed):
    watch = Watch(node, ours=True)
    assert [watch.look(t) for t in (0, 31)][-1] is RunState.READY
    again = node.storage.runs.claim("host:1")
    for moment in (60, 119, 121, 140):
        node.storage.runs.beat(again)
        assert watch.look(moment) is RunState.RUNNING
    assert watch.killed == []


def test_a_hanging_worker_of_another_machine_loses_its_run_without_being_killed(
    node: Node, claimed
):
    watch = Watch(node, ours=False)
    for moment in range(0, 151, 10):
        node.storage.runs.beat(claimed)
        assert watch.look(moment) is RunState.RUNNING
    node.storage.runs.beat(claimed)
    assert watch.look(151) is RunState.READY


def test_clock_back_an_hour_frees_no_run(node: Node, claimed):
    watch = Watch(node, ours=True)
    watch.look(0)
    node.clock.forward(hours=-1)
    node.storage.runs.beat(claimed)
    assert watch.look(20) is RunState.RUNNING


def test_a_run_that_was_filed_meanwhile_is_left_alone(node: Node, claimed):
    watch = Watch(node, ours=True)
    watch.look(0)
    node.storage.runs.finish(
        claimed, state=RunState.COMPLETED, reason="", analysis={"status": "completed"}, reports=()
    )
    assert watch.look(500) is RunState.COMPLETED


@pytest.mark.parametrize(
    ("seconds", "runs"), [pytest.param(9, 0, id="quiet"), pytest.param(11, 1, id="settled")]
)
def test_a_study_settles_after_its_quiet_time(node: Node, seconds, runs):
    add(node.storage, instance())
    assert settle(node.storage, settings(), after(seconds)).new == runs


def test_the_slower_processor_is_waited_for_and_nothing_is_written_meanwhile(node: Node):
    slow = {"name": "slow", "settle": {"quiet": "60s", "longest": "2min"}}
    both = settings({}, slow)
    add(node.storage, instance())
    assert settle(node.storage, both, after(11)).new == 1
    before = node.storage.audit.list(limit=1000)
    assert settle(node.storage, both, after(12)).new == 0
    assert node.storage.audit.list(limit=1000) == before
    assert settle(node.storage, both, after(61)).new == 1
    assert node.storage.studies.get(STUDY).state is StudyState.SETTLED


def test_two_hundred_studies_that_wait_keep_no_other_from_being_judged(node: Node):
    """A processor that waits long for more keeps a morning's studies open."""
    slow = {"name": "slow", "settle": {"quiet": "30min", "longest": "1h"}}
    many = [instance(study=f"1.2.{number}") for number in range(205)]
    node.storage.studies.add_many(many, on_conflict="keep_first")
    assert settle(node.storage, settings({}, slow), after(11)).new == 205
    add(node.storage, instance(study="1.3", at=after(20)))
    assert settle(node.storage, settings({}, slow), after(31)).new == 1


def test_a_study_that_cannot_be_read_keeps_no_other_from_being_judged(node: Node, capsys):
    add(node.storage, instance(study="1.1"), instance(study="1.2", at=after(1)))
    node.sql("UPDATE instances SET headers = '[[1]]' WHERE study_uid = '1.1'")
    assert settle(node.storage, settings(), after(12)).new == 1
    assert "study.not_planned" in capsys.readouterr().out
    assert node.storage.studies.get("1.1").state is StudyState.OPEN


def test_a_study_that_no_rule_picks_is_settled_and_says_why(node: Node):
    add(node.storage, instance(headers={"Modality": "CT"}))
    settle(node.storage, settings(), after(11))
    books = node.storage.studies.books(None, None)
    assert (books.columns["not_selected"], books.difference) == (1, 0)
    (choice,) = node.storage.studies.get(STUDY).trace
    assert choice["skipped"] == {"Modality is CT, wanted DX": 1}


def test_a_node_that_only_drafts_settles_its_images_too(node: Node):
    """Open for ever, they would never be purged, and the disk would close the door."""
    add(node.storage, instance())
    nobody = settings().model_copy(update={"processors": ()})
    assert settle(node.storage, nobody, after(1)).wait == 4
    assert settle(node.storage, nobody, after(6)).wait is None
    assert node.storage.studies.get(STUDY).state is StudyState.SETTLED
    books = node.storage.studies.books(None, None)
    assert (books.columns["not_selected"], books.difference) == (1, 0)


@pytest.mark.parametrize(
    ("name", "state"), [("chest", RunState.READY), ("chest-next", RunState.SET_ASIDE)]
)
def test_a_run_of_a_processor_that_was_taken_out_waits_for_a_person(node: Node, name, state):
    """It crashed each worker that took it, and was told to have been silent."""
    run = waiting(node.storage)
    set_aside_unknown(node.storage, settings({"name": name}))
    left = node.storage.runs.get(run.id)
    assert left.state is state
    assert ("does not have this processor" in left.reason) == (state is RunState.SET_ASIDE)
    books = node.storage.studies.books(None, None)
    assert (books.columns[state.value if state is RunState.SET_ASIDE else "waiting"]) == 1
    assert node.storage.runs.retry(run.id, "admin") == (state is RunState.SET_ASIDE)
