"""Runs and deliveries: every legal change of state, and every other one refused."""

from __future__ import annotations

from collections.abc import Callable
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
    plan,
    report,
    waiting,
)

from storage import (
    AuditEntry,
    Delivery,
    DeliveryState,
    Ending,
    LeaseLost,
    NewReport,
    PlannedRun,
    Run,
    RunState,
    Storage,
    _runs,
)


def claimed(storage: Storage) -> Run:
    run = storage.runs.claim("worker")
    assert run is not None
    return run


def in_state(storage: Storage, state: RunState) -> Run:
    """The only run of a new study, brought into `state`; returns it as it was when claimed."""
    ready = waiting(storage)
    if state is RunState.READY:
        return ready
    run = claimed(storage)
    if state is RunState.WAITING:
        soon = NOON + timedelta(hours=1)
        storage.runs.release(run, "no memory", max_attempts=9, not_before=soon)
    elif state is RunState.SUPERSEDED:
        add(storage, instance(2))
        plan(storage)
    elif state is not RunState.RUNNING:
        finish(storage, run, state, "why", reports=[])
    return run


def kinds(storage: Storage) -> list[str]:
    return [record.entry.kind for record in storage.audit.list(limit=1000)]


def _retry(storage: Storage, run: Run) -> bool:
    return storage.runs.retry(run.id, "admin")


def _release(storage: Storage, run: Run) -> bool:
    return storage.runs.release(run, "silent", max_attempts=9) is RunState.READY


def _give_back(storage: Storage, run: Run) -> bool:
    before = storage.runs.get(run.id)
    storage.runs.give_back(run)
    return storage.runs.get(run.id) != before


def _fenced(verb: Callable[[Storage, Run], None]) -> Callable[[Storage, Run], bool]:
    def tried(storage: Storage, run: Run) -> bool:
        try:
            verb(storage, run)
        except LeaseLost:
            return False
        return True

    return tried


def _beat(storage: Storage, run: Run) -> None:
    storage.runs.beat(run)


def _postpone(storage: Storage, run: Run) -> None:
    storage.runs.postpone(run, "no memory", timedelta(minutes=1))


ALLOWED = {
    "retry": (_retry, {RunState.FAILED, RunState.SET_ASIDE}),
    "release": (_release, {RunState.READY, RunState.RUNNING}),  # ready already: nothing changes
    "give_back": (_give_back, {RunState.RUNNING}),
    "postpone": (_fenced(_postpone), {RunState.RUNNING}),
    "beat": (_fenced(_beat), {RunState.RUNNING}),
    "finish": (_fenced(lambda s, r: finish(s, r, reports=[])), {RunState.RUNNING}),
}


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("state", RunState)
def test_every_verb_in_every_state_of_a_run(node: Node, verb: str, state: RunState) -> None:
    storage = node.storage
    run = in_state(storage, state)
    before, audit = storage.runs.get(run.id), kinds(storage)
    assert before is not None
    assert before.state is state
    act, allowed = ALLOWED[verb]
    assert act(storage, run) == (state in allowed)
    changed = storage.runs.get(run.id) != before
    assert changed == (state in allowed and (verb, state) != ("release", RunState.READY))
    told = len(kinds(storage)) > len(audit)
    assert told == (changed and verb != "beat")  # a sign of life is no change of state


@pytest.mark.parametrize(
    "state", [RunState.READY, RunState.WAITING, RunState.RUNNING, RunState.SUPERSEDED]
)
def test_a_worker_cannot_end_a_run_so(node: Node, state: RunState) -> None:
    run = in_state(node.storage, RunState.RUNNING)
    with pytest.raises(ValueError, match=state.value):
        finish(node.storage, run, state)


def test_the_order_of_claims(node: Node) -> None:
    usual = [waiting(node.storage, f"1.{number}").id for number in (2, 3)]
    urgent = [waiting(node.storage, f"1.{number}", urgent=True).id for number in (4, 5)]
    assert [claimed(node.storage).id for _ in range(4)] == urgent + usual
    assert node.storage.runs.claim("worker") is None


@pytest.mark.parametrize("state", RunState)
def test_what_nobody_can_do_is_set_aside_while_it_waits(node: Node, state: RunState) -> None:
    run = in_state(node.storage, state)
    assert node.storage.runs.set_aside_unknown({run.processor}, "gone") == ()
    found = node.storage.runs.set_aside_unknown({"other"}, "gone")
    waits = state in {RunState.WAITING, RunState.READY}
    assert (run.id in {one.id for one in found}) == waits
    left = node.storage.runs.get(run.id)
    assert left is not None
    assert left.state is (RunState.SET_ASIDE if waits else state)
    assert kinds(node.storage).count("run.set_aside") >= len(found)


def test_a_worker_takes_what_it_can_do(node: Node) -> None:
    """Another one, with newer settings, may have the processor that this one lacks."""
    run = waiting(node.storage)
    assert node.storage.runs.claim("old settings", {"other"}) is None
    assert node.storage.runs.claim("none at all", set()) is None
    claimed = node.storage.runs.claim("new settings", {"other", run.processor})
    assert claimed is not None
    assert claimed.id == run.id


@pytest.mark.parametrize("came", [True, False])
def test_what_is_written_again_replaces_what_came(node: Node, came: bool) -> None:
    """Of a report that never left nobody knows; what it was to replace is still there."""
    storage = node.storage
    first = completed(storage)
    add(storage, instance(2))
    plan(storage)
    second = claimed(storage)
    finish(storage, second)
    for sent in storage.outbox.claim("pacs", node.clock.now)[: 2 if came else 1]:
        storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    again = storage.runs.get(storage.runs.renew(second.id) or 0)
    assert again is not None
    assert again.predecessor == (second.id if came else first.id)


@pytest.mark.parametrize("why", ["its images are gone", "the newer one is in shadow"])
def test_what_nobody_could_write_again_is_promised_by_no_run(node: Node, why: str) -> None:
    """The courier would say that a run sends it anew, and none ever did."""
    storage = node.storage
    run = completed(storage, reports=[])
    if why == "its images are gone":
        assert storage.studies.forget(run.study_uid)
    else:
        both = PlannedRun("chest", "of both", (), mode="shadow")
        storage.studies.plan(
            run.study_uid, [both], trace=(), instances_seen=2, done=True, at=node.clock.now
        )
    assert storage.runs.renew(run.id) is None


def test_a_graceful_stop_does_not_count(node: Node) -> None:
    waiting(node.storage)
    for _ in range(5):
        run = claimed(node.storage)
        assert run.tries == 1
        node.storage.runs.give_back(run)
    run = claimed(node.storage)
    assert run.attempt == 6
    assert node.storage.runs.release(run, "died", max_attempts=2) is RunState.READY


def test_a_postponed_run_waits_its_time_and_loses_no_attempt(node: Node) -> None:
    waiting(node.storage)
    for _ in range(5):
        run = claimed(node.storage)
        assert run.tries == 1
        node.storage.runs.postpone(run, "no memory", timedelta(minutes=1))
        assert node.storage.runs.get(run.id).reason == "no memory"
        assert node.storage.runs.claim("worker") is None
        node.clock.forward(minutes=2)
    assert claimed(node.storage).attempt == 6


def test_finish_is_all_or_nothing(node: Node) -> None:
    waiting(node.storage)
    run = claimed(node.storage)
    twice = [report(run), report(run)]  # the same kind and index: refused by the tables
    with pytest.raises(Exception, match="rule of the tables"):
        finish(node.storage, run, reports=twice)
    assert node.storage.runs.get(run.id) == run
    assert node.storage.runs.analysis(run.id) is None
    assert node.storage.outbox.list() == ()
    assert "run.completed" not in kinds(node.storage)


def test_a_finished_run_is_there_whole(node: Node) -> None:
    waiting(node.storage)
    run = claimed(node.storage)
    entry = AuditEntry("110103", "R", study_uid=STUDY, who="chest 1.0", details={"run": run.id})
    made = [report(run, "overlay", ("pacs", "disk", "pacs")), report(run, "hl7_oru", ("ris",))]
    analysis = {"findings": [{"label": "señal", "probability": float("nan")}]}
    finish(node.storage, run, analysis=analysis, reports=made, audit=(entry,))
    assert node.storage.runs.analysis(run.id) == {
        "findings": [{"label": "señal", "probability": None}]
    }
    assert [one.uid for one in node.storage.runs.reports(run.id)] == [one.uid for one in made]
    assert [one.destination for one in node.storage.outbox.list()] == ["pacs", "disk", "ris"]
    assert entry in [record.entry for record in node.storage.audit.list()]
    ended = node.storage.runs.get(run.id)
    assert ended is not None
    assert (ended.state, ended.ended_at) == (RunState.COMPLETED, NOON)
    assert node.storage.studies.is_ours(made[0].uid)
    assert not node.storage.studies.is_ours(instance().sop_uid)


def test_a_retry_drops_what_was_not_delivered(node: Node) -> None:
    waiting(node.storage)
    run = claimed(node.storage)
    finish(node.storage, run, RunState.FAILED, "no memory")
    assert node.storage.runs.retry(run.id, "admin")
    assert node.storage.outbox.list() == ()
    again = claimed(node.storage)
    assert (again.attempt, again.tries) == (2, 1)
    finish(node.storage, again, reports=[report(again)])
    assert not node.storage.runs.retry(run.id, "admin")
    assert node.storage.audit.list(limit=99)[-3].entry.kind == "run.retried"


def test_a_retry_never_makes_a_second_result(node: Node) -> None:
    waiting(node.storage)
    run = claimed(node.storage)
    finish(node.storage, run, RunState.FAILED, "half of it")
    (sent,) = node.storage.outbox.claim("pacs", NOON)
    node.storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    assert not node.storage.runs.retry(run.id, "admin")


def delivery(storage: Storage, state: DeliveryState) -> Delivery:
    """A delivery in `state`, as it was when last claimed."""
    completed(storage)
    if state is DeliveryState.WAITING:
        return storage.outbox.list()[0]
    (taken,) = storage.outbox.claim("pacs", NOON)
    if state is not DeliveryState.SENDING:
        storage.outbox.record(taken, state, answer="said the peer")
    return taken


OVER = {DeliveryState.DELIVERED, DeliveryState.SENDING}


@pytest.mark.parametrize("state", DeliveryState)
def test_every_verb_in_every_state_of_a_delivery(node: Node, state: DeliveryState) -> None:
    outbox = node.storage.outbox
    one = delivery(node.storage, state)
    if state is not DeliveryState.SENDING:
        with pytest.raises(LeaseLost):
            outbox.record(one, DeliveryState.DELIVERED, answer="late")
    assert outbox.recover() == (1 if state is DeliveryState.SENDING else 0)
    if state is DeliveryState.SENDING:
        (one,) = outbox.claim("pacs", NOON)
    assert outbox.retry(one.id, "admin") == (state not in OVER)
    assert len(outbox.claim("pacs", NOON)) == (0 if state in OVER else 1)
    assert node.storage.audit.verify() == ()


def test_a_try_ends_in_no_other_state(node: Node) -> None:
    one = delivery(node.storage, DeliveryState.SENDING)
    with pytest.raises(ValueError, match="sending"):
        node.storage.outbox.record(one, DeliveryState.SENDING, answer="")


def test_back_off(node: Node) -> None:
    one = delivery(node.storage, DeliveryState.SENDING)
    later = NOON + timedelta(minutes=1)
    outbox = node.storage.outbox
    outbox.record(one, DeliveryState.WAITING, answer="refused", next_try=later)
    assert outbox.claim("pacs", NOON) == ()
    (again,) = outbox.claim("pacs", later)
    assert (again.attempts, again.first_try, again.answer) == (2, NOON, "refused")
    assert outbox.oldest_waiting() == {"pacs": NOON}
    assert outbox.counts() == {("pacs", DeliveryState.SENDING): 1}


def several(run: Run, number: int) -> list[NewReport]:
    return [
        NewReport("strip", index, f"2.25.{run.id}{index}", "ab" * 32, 1, "p", "1.2", ("pacs",))
        for index in range(number)
    ]


def test_tries_end_together_and_what_is_no_longer_ours_keeps_its_state(node: Node) -> None:
    outbox = node.storage.outbox
    waiting(node.storage)
    run = claimed(node.storage)
    finish(node.storage, run, reports=several(run, 3))
    sent = outbox.claim("pacs", NOON)
    outbox.record(sent[1], DeliveryState.REJECTED, answer="0xC000")
    ends = [Ending(one, DeliveryState.DELIVERED, "0x0000") for one in sent]
    assert outbox.record_all(ends) == (sent[1],)
    assert [one.state for one in outbox.list()] == ["delivered", "rejected", "delivered"]
    assert outbox.record_all(ends) == sent
    assert kinds(node.storage).count("delivery.delivered") == 2
    assert node.storage.audit.verify() == ()


@pytest.mark.parametrize(
    ("limit", "runs"),
    [(20, "aaabbbb"), (3, "aaa"), (4, "aaa"), (7, "aaabbbb"), (2, "aa"), (1, "a")],
)
def test_what_belongs_together_is_claimed_together(node: Node, limit: int, runs: str) -> None:
    ids = {}
    for letter, number in (("a", 3), ("b", 4)):
        waiting(node.storage, f"1.{number}")
        run = claimed(node.storage)
        finish(node.storage, run, reports=several(run, number))
        ids[run.id] = letter
    taken = node.storage.outbox.claim("pacs", NOON, limit)
    assert "".join(ids[one.run_id] for one in taken) == runs


def test_the_queue_in_numbers(node: Node) -> None:
    assert node.storage.runs.oldest_ready() is None
    waiting(node.storage, "1.3")
    waiting(node.storage, "1.4")
    claimed(node.storage)
    counts = node.storage.runs.counts()
    assert set(counts) == set(RunState)
    assert (counts[RunState.READY], counts[RunState.RUNNING]) == (1, 1)
    assert node.storage.runs.oldest_ready() == NOON


def test_purged_reports_stay_known_as_ours(node: Node) -> None:
    storage, later = node.storage, NOON + timedelta(days=31)
    run = completed(storage)
    (made,) = storage.runs.reports(run.id)
    assert storage.runs.forget_reports(later) == ()  # not delivered yet
    (sent,) = storage.outbox.claim("pacs", NOON)
    storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    assert storage.runs.forget_reports(NOON) == ()  # not old yet
    assert storage.runs.known_paths([made.path, "reports/orphan"]) == {made.path}
    assert storage.runs.forget_reports(later) == (made.path,)
    assert storage.runs.forget_reports(later) == ()
    assert storage.runs.known_paths([made.path]) == frozenset()
    assert storage.studies.is_ours(made.uid)
    assert storage.audit.list(limit=99)[-1].entry.event == "110105"


def test_ended_runs_of_one_processor_and_mode_page_by_page(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of their planning, with analysis and accession; nothing of anybody else."""
    monkeypatch.setattr(_runs, "_PAGE", 2)
    storage = node.storage
    ends = (*_runs.ENDED, RunState.COMPLETED)
    for number, (mode, state) in enumerate((m, s) for m in ("live", "shadow") for s in ends):
        study, at = f"{STUDY}.{number}", NOON + timedelta(days=number)
        add(storage, instance(study=study))
        wanted = [PlannedRun("chest", "d", (f"{study}.7.1",), mode=mode)]
        storage.studies.plan(study, wanted, trace=[], instances_seen=1, done=True, at=at)
        said = None if state is RunState.SET_ASIDE else {"number": number}
        finish(storage, claimed(storage), state, "why", reports=[], analysis=said)
    add(storage, instance(study=f"{STUDY}.99"))
    waiting(storage, f"{STUDY}.99")  # not ended
    found = list(storage.runs.ended("chest", "shadow"))
    assert [one.run.state for one in found] == list(ends)
    assert [one.analysis and one.analysis["number"] for one in found] == [5, 6, 7, None, 9]
    assert {one.accession for one in found} == {"A1"}
    since, until = NOON + timedelta(days=6), NOON + timedelta(days=8)
    narrow = storage.runs.ended("chest", "shadow", since=since, until=until)
    assert [one.run.created_at for one in narrow] == [since, NOON + timedelta(days=7)]
    assert list(storage.runs.ended("brain", "shadow")) == []
    assert storage.runs.tally() == {("chest", "live"): 6, ("chest", "shadow"): 5}


def test_audit_events_by_kind(node: Node) -> None:
    completed(node.storage)
    found = node.storage.audit.list(kinds=("run.started", "run.planned"))
    assert [one.entry.kind for one in found] == ["run.planned", "run.started"]
