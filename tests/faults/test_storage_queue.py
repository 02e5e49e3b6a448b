"""Faults of the queue at the gateways: whoever dies, sleeps or comes second, one result leaves."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import timedelta

import pytest
from storage_fixtures import (
    NOON,
    STUDY,
    Node,
    add,
    completed,
    finish,
    instance,
    node_fixture,
    plan,
    postgres_node_fixture,
    ready_file_fixture,
    report,
    server_fixture,
    sqlite_node_fixture,
    waiting,
)

from storage import DeliveryState, LeaseLost, RunState

FIXTURES = (
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)


def killed(process: subprocess.Popen[str]) -> None:
    """SIGKILL: nothing of it is tidied up."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def test_worker_killed(node: Node) -> None:
    run = waiting(node.storage)
    with node.process("claim-and-hang") as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().split() == [str(run.id), "1"]
        killed(worker)
    (seen,) = node.storage.runs.running()
    assert seen.beat == 1
    assert node.storage.runs.release(seen, "worker died", max_attempts=3) is RunState.READY
    again = node.storage.runs.claim("second")
    assert again is not None
    assert (again.id, again.attempt) == (run.id, 2)
    finish(node.storage, again)
    with pytest.raises(LeaseLost):
        finish(node.storage, seen)
    assert node.storage.runs.claim("third") is None
    assert len(node.storage.outbox.list()) == 1


def test_poison_job(node: Node) -> None:
    poison = waiting(node.storage, "1.2.3")
    good = waiting(node.storage, "1.2.4")
    for attempt, state in ((1, RunState.READY), (2, RunState.READY), (3, RunState.SET_ASIDE)):
        run = node.storage.runs.claim("worker")
        assert run is not None
        assert (run.id, run.tries) == (poison.id, attempt)
        assert node.storage.runs.release(run, "killed by signal 11", max_attempts=3) is state
    aside = node.storage.runs.get(poison.id)
    assert aside is not None
    assert (aside.state, aside.reason) == (RunState.SET_ASIDE, "killed by signal 11 (3 attempts)")
    following = node.storage.runs.claim("worker")
    assert following is not None
    assert following.id == good.id
    kinds = [record.entry.kind for record in node.storage.audit.list(study_uid="1.2.3")]
    assert kinds[-1] == "run.set_aside"


def test_lease_lost(node: Node) -> None:
    waiting(node.storage)
    asleep = node.storage.runs.claim("sleeper")
    assert asleep is not None
    node.storage.runs.release(asleep, "silent", max_attempts=3)
    awake = node.storage.runs.claim("other")
    assert awake is not None
    finish(node.storage, awake, analysis={"by": "other"})
    before = node.storage.audit.list(limit=1000)
    for late in (
        lambda: finish(node.storage, asleep, analysis={"by": "sleeper"}),
        lambda: node.storage.runs.beat(asleep),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert node.storage.runs.analysis(awake.id) == {"by": "other"}
    assert len(node.storage.runs.reports(awake.id)) == len(node.storage.outbox.list()) == 1
    assert node.storage.audit.list(limit=1000) == before
    assert node.storage.runs.release(asleep, "silent", max_attempts=1) is RunState.COMPLETED


def test_lease_lost_by_the_same_owner(node: Node) -> None:
    """The attempt alone is the fence, even after a graceful stop or a person's retry."""
    waiting(node.storage)
    first = node.storage.runs.claim("same name")
    assert first is not None
    node.storage.runs.give_back(first)
    second = node.storage.runs.claim("same name")
    assert second is not None
    with pytest.raises(LeaseLost):
        finish(node.storage, first)
    finish(node.storage, second, RunState.FAILED, "no memory", reports=[])
    assert node.storage.runs.retry(second.id, "admin")
    assert node.storage.runs.claim("same name") is not None
    with pytest.raises(LeaseLost):
        finish(node.storage, second)


def test_lease_lost_is_not_taken_from_the_next_owner(node: Node) -> None:
    """A watcher that looks late at an old claim must not free the new one."""
    waiting(node.storage)
    old = node.storage.runs.claim("dead")
    assert old is not None
    node.storage.runs.release(old, "silent", max_attempts=3)
    new = node.storage.runs.claim("alive")
    assert new is not None
    assert node.storage.runs.release(old, "silent", max_attempts=1) is RunState.RUNNING
    node.storage.runs.beat(new)


def test_lease_lost_to_a_newer_run(node: Node) -> None:
    waiting(node.storage)
    running = node.storage.runs.claim("worker")
    assert running is not None
    add(node.storage, instance(2))
    (newer,) = plan(node.storage)
    with pytest.raises(LeaseLost):
        finish(node.storage, running)
    superseded = node.storage.runs.get(running.id)
    assert superseded is not None
    assert superseded.state is RunState.SUPERSEDED
    assert newer.predecessor is None  # nothing had been answered yet
    assert node.storage.outbox.list() == ()


def test_two_workers(node: Node) -> None:
    ids = [waiting(node.storage, f"1.2.{number}").id for number in range(1, 31)]
    workers = [node.process("claim-all") for _ in range(3)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    shares = [list(map(int, worker.communicate(timeout=120)[0].split())) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(run for share in shares for run in share) == ids
    assert {run.attempt for run in node.storage.runs.list(limit=100)} == {1}
    assert node.storage.audit.verify() == ()


def test_queue_restart(node: Node) -> None:
    studies = [f"1.2.{number}" for number in range(1, 251)]
    node.storage.studies.add_many([instance(study=s) for s in studies], on_conflict="refuse")
    ids = [plan(node.storage, s, urgent=s.endswith("77"))[0].id for s in studies]
    urgent = [ids[i] for i, s in enumerate(studies) if s.endswith("77")]
    running = [node.storage.runs.claim("before the stop") for _ in range(3)]
    node.close()
    again = node.open()
    for run in again.runs.running():
        assert again.runs.release(run, "the node was stopped", max_attempts=3) is RunState.READY
    order = []
    while (run := again.runs.claim("after")) is not None:
        order.append(run.id)
        if run.id in {one.id for one in running if one is not None}:
            assert run.attempt == 2
    assert order == urgent + [ident for ident in ids if ident not in urgent]


def test_outbox_crash(node: Node) -> None:
    run = waiting(node.storage)
    claimed = node.storage.runs.claim("worker")
    assert claimed is not None
    made = [report(run, "overlay"), report(run, "hl7_oru")]
    finish(node.storage, claimed, reports=made)
    with node.process("take-to-send", "pacs") as courier:
        assert courier.stdout is not None
        sent = courier.stdout.readline().split()
        killed(courier)
    assert sent == [one.uid for one in made]
    assert node.storage.outbox.claim("pacs", NOON) == ()
    assert node.storage.outbox.recover() == 2
    again = node.storage.outbox.claim("pacs", NOON)
    assert [one.report.uid for one in again] == sent
    assert [one.attempts for one in again] == [2, 2]
    for one in again:
        node.storage.outbox.record(one, DeliveryState.DELIVERED, answer="0x0000")
    assert node.storage.outbox.recover() == 0
    assert node.storage.outbox.claim("pacs", NOON + timedelta(days=9)) == ()


def test_clock_back(node: Node) -> None:
    """An hour back, or two days: leases hold, rows keep their order, what waits is sent."""
    storage, clock = node.storage, node.clock
    completed(storage)
    (delivery,) = storage.outbox.claim("pacs", clock.now)
    later = clock.now + timedelta(minutes=5)
    storage.outbox.record(delivery, DeliveryState.WAITING, answer="no answer", next_try=later)
    waiting(storage, "1.2.4")
    mine = storage.runs.claim("worker")
    assert mine is not None
    clock.forward(hours=-1)
    storage.runs.beat(mine)
    finish(storage, mine)
    waiting(storage, "1.2.5")
    assert storage.runs.claim("worker") is not None
    clock.forward(days=-2)
    assert delivery.id in [one.id for one in storage.outbox.claim("pacs", clock.now)]
    records = storage.audit.list(limit=1000)
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    times = [record.at for record in records]
    assert times != sorted(times)
    assert storage.audit.verify() == ()


def test_clock_back_for_a_run_that_waits(node: Node) -> None:
    waiting(node.storage)
    run = node.storage.runs.claim("worker")
    assert run is not None
    soon = node.clock.now + timedelta(minutes=5)
    state = node.storage.runs.release(run, "no memory", max_attempts=3, not_before=soon)
    assert state is RunState.WAITING
    assert node.storage.runs.claim("worker") is None
    node.clock.forward(days=-2)
    assert node.storage.runs.claim("worker") is not None


def test_clock_back_in_the_books(node: Node) -> None:
    add(node.storage, instance(1))
    add(node.storage, instance(2, at=NOON - timedelta(hours=1)))
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.last_received == NOON - timedelta(hours=1)  # the newest arrival, not the greatest
    assert node.storage.studies.books(NOON, None).received == 1
