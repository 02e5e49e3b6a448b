"""Studies as they are listed, counted in the books, and forgotten; and what text a row takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from storage_fixtures import (
    NOON,
    STUDY,
    Node,
    add,
    columns,
    completed,
    finish,
    instance,
    plan,
    waiting,
)

import storage as room
from storage import (
    AuditEntry,
    DeliveryState,
    Identity,
    PlannedRun,
    RunState,
    Storage,
    StudyState,
)
from storage._books import not_selected_because, place


def test_the_room_s_door() -> None:
    """The list of public names is sorted, whole and true."""
    assert list(room.__all__) == sorted(room.__all__)
    assert all(hasattr(room, name) for name in room.__all__)
    assert all(name in (room.__doc__ or "") for name in ("In:", "Out:", "Never:"))


def _open(storage: Storage) -> None:
    add(storage, instance())


def _held(storage: Storage) -> None:
    completed(storage)
    storage.studies.hold(STUDY, "the name cannot be read")


def _not_selected(storage: Storage) -> None:
    add(storage, instance())
    trace = [{"processor": "chest", "picked": [], "skipped": {"view: lateral": 1}}]
    storage.studies.plan(STUDY, [], trace=trace, instances_seen=1, done=True, at=NOON)


def _running(storage: Storage) -> None:
    waiting(storage)
    storage.runs.claim("worker")


def _reopened(storage: Storage) -> None:
    completed(storage)
    add(storage, instance(2))


def _ended(state: RunState) -> Callable[[Storage], None]:
    return lambda storage: void(completed(storage, state=state, reason=f"{state.value}!"))


def _two_processors(first: RunState, second: RunState) -> Callable[[Storage], None]:
    def fill(storage: Storage) -> None:
        add(storage, instance())
        wanted = [PlannedRun(name, "d", (instance().sop_uid,)) for name in ("chest", "brain")]
        storage.studies.plan(STUDY, wanted, trace=[], instances_seen=1, done=True, at=NOON)
        for state in (first, second):
            run = storage.runs.claim("worker")
            assert run is not None
            finish(storage, run, state, f"{state.value}!", reports=[])

    return fill


def void(_: object) -> None:
    """For a lambda that returns nothing."""


@pytest.mark.parametrize(
    ("fill", "column", "reason"),
    [
        pytest.param(_open, "waiting", "settling", id="open"),
        pytest.param(lambda s: void(waiting(s)), "waiting", "ready", id="ready"),
        pytest.param(_running, "waiting", "running", id="running"),
        pytest.param(_reopened, "waiting", "settling", id="late images"),
        pytest.param(_held, "held", "the name cannot be read", id="held"),
        pytest.param(_not_selected, "not_selected", "view: lateral", id="no rule picked it"),
        *(
            pytest.param(_ended(state), state.value, f"{state.value}!", id=state.value)
            for state in (
                RunState.COMPLETED,
                RunState.UNSUITABLE,
                RunState.FAILED,
                RunState.SET_ASIDE,
            )
        ),
        pytest.param(
            _two_processors(RunState.FAILED, RunState.COMPLETED),
            "completed",
            "completed!; chest: failed, failed!",
            id="a failure beside a result shows",
        ),
        pytest.param(
            _two_processors(RunState.SET_ASIDE, RunState.FAILED),
            "set_aside",
            "set_aside!; brain: failed, failed!",
            id="two failures",
        ),
    ],
)
def test_each_study_has_one_column(
    node: Node, fill: Callable[[Storage], None], column: str, reason: str
) -> None:
    fill(node.storage)
    assert columns(node.storage) == {column: 1}
    assert node.storage.studies.books(None, None).reasons == {column: {reason: 1}}


def test_the_books_of_a_day(node: Node) -> None:
    day = timedelta(days=1)
    for number, at in enumerate((NOON - day, NOON, NOON, NOON + day)):
        add(node.storage, instance(study=f"1.{number + 1}", at=at))
    midnight = NOON.replace(hour=0)
    books = node.storage.studies.books(midnight, midnight + day)
    assert (books.received, books.columns["waiting"], books.difference) == (2, 2, 0)
    assert node.storage.studies.books(None, midnight).received == 1
    assert node.storage.studies.books(midnight + day, None).received == 1
    assert node.storage.studies.books(NOON, NOON).received == 0


def _study(state: StudyState = StudyState.SETTLED, **changes: Any) -> Any:
    known = {"reason": "", "trace": [], "instances": 1, "forgotten_at": None}
    return SimpleNamespace(state=state, **(known | changes))


def _run(processor: str, state: RunState, number: int = 1, mode: str = "live") -> Any:
    return SimpleNamespace(id=number, processor=processor, state=state, reason="", mode=mode)


@pytest.mark.parametrize(
    ("states", "column"),
    [
        pytest.param([RunState.SUPERSEDED], "failed", id="superseded and forgotten is an alarm"),
        pytest.param([RunState.COMPLETED, RunState.FAILED], "failed", id="the newest counts"),
        pytest.param([RunState.COMPLETED, RunState.SUPERSEDED], "completed", id="superseded not"),
        pytest.param([RunState.COMPLETED, RunState.READY], "waiting", id="unfinished first"),
    ],
)
def test_runs_of_one_processor(states: list[RunState], column: str) -> None:
    runs = [_run("chest", state, number) for number, state in enumerate(states)]
    assert place(_study(), runs)[0] == column


@pytest.mark.parametrize(
    ("study", "column"),
    [
        pytest.param({"instances": 0}, "not_selected", id="a person left all out"),
        pytest.param({"instances": 0, "forgotten_at": NOON}, "failed", id="retention took all"),
    ],
)
def test_a_superseded_run_of_nothing(study: dict[str, Any], column: str) -> None:
    assert place(_study(**study), [_run("chest", RunState.SUPERSEDED)])[0] == column


LIVE_FAILED = _run("chest", RunState.FAILED)
SHADOW_DONE = _run("next", RunState.COMPLETED, 2, "shadow")
WAS_LIVE = _run("next", RunState.UNSUITABLE, 1)


@pytest.mark.parametrize(
    ("runs", "stands"),
    [
        pytest.param(
            [LIVE_FAILED, SHADOW_DONE], ("failed", "next (shadow): completed"), id="beside a live"
        ),
        pytest.param([SHADOW_DONE], ("completed", "in shadow, sent nowhere"), id="alone"),
        pytest.param(
            [WAS_LIVE, SHADOW_DONE], ("unsuitable", "next (shadow): completed"), id="live before"
        ),
    ],
)
def test_a_result_that_nobody_got_hides_no_other(runs: list[Any], stands: tuple[str, str]) -> None:
    assert place(_study(), runs) == stands


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("study", StudyState)
def test_no_state_is_without_a_column(study: StudyState, state: RunState) -> None:
    row = _study(study, reason="why")
    books = {"completed", "unsuitable", "failed", "set_aside", "not_selected", "held", "waiting"}
    assert place(row, [_run("chest", state)])[0] in books
    assert place(row, [])[0] in books


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        ([], "no rule picked it"),
        ([{"skipped": {}}, "odd"], "no rule picked it"),
        ([{"reason": "our own result"}], "our own result"),
        ([{"skipped": {"a": 1, "b": 2}}, {"skipped": {"b": 1}}], "a; b"),
    ],
)
def test_why_no_rule_picked_it(trace: list[Any], reason: str) -> None:
    assert not_selected_because(trace) == reason


def test_lists(node: Node) -> None:
    studies = node.storage.studies
    for number in range(1, 6):
        add(node.storage, instance(study=f"1.{number}", at=NOON + timedelta(hours=number)))
    plan(node.storage, "1.2")
    assert [study.uid for study in studies.list(limit=2)] == ["1.5", "1.4"]
    assert [study.uid for study in studies.list(state=StudyState.SETTLED)] == ["1.2"]
    since, until = NOON + timedelta(hours=3), NOON + timedelta(hours=5)
    assert [study.uid for study in studies.list(since=since, until=until)] == ["1.4", "1.3"]
    for page in (1, 2, 3, 200):
        assert [study.uid for study in studies.unplanned(page)] == ["1.1", "1.3", "1.4", "1.5"]
    assert studies.get("1.99") is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("a\0b", "ab", id="NUL"),
        pytest.param("half \ud83d pair", "half � pair", id="surrogate"),
        pytest.param("山田^太郎 🩻", "山田^太郎 🩻", id="any script"),
        pytest.param(math.nan, None, id="NaN"),
        pytest.param([1, 2.5, None, True], [1, 2.5, None, True], id="list"),
        pytest.param({"a": (1, 2)}, {"a": [1, 2]}, id="nested"),
        pytest.param(datetime(2026, 1, 1), "2026-01-01 00:00:00", id="anything else"),
    ],
)
def test_any_header_can_be_filed(node: Node, written: Any, read: Any) -> None:
    name = written if isinstance(written, str) else "plain"
    who = Identity(STUDY, "P1", "HOSPITAL", name)
    add(node.storage, instance(identity=who, headers={"Modality": "DX", "Odd": written}))
    (one,) = node.storage.studies.instances(STUDY)
    assert one.headers["Odd"] == read
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.identity.patient_name == (read if isinstance(written, str) else "plain")
    assert node.storage.audit.verify() == ()


def test_a_batch_is_all_or_nothing(node: Node) -> None:
    batch = [instance(1), instance(2)]
    with pytest.raises(ValueError, match="on_conflict"):
        node.storage.studies.add_many(batch, on_conflict="keep_last")
    assert node.storage.studies.list() == ()
    entry = AuditEntry("110104", "C", study_uid=STUDY, details={"association": 7})
    node.storage.studies.add_many(batch, on_conflict="refuse", audit=(entry,))
    assert len(node.storage.studies.instances(STUDY)) == 2
    assert node.storage.audit.list()[-1].entry.details == {"association": 7}


def test_orphans_and_what_must_exist(node: Node) -> None:
    one, two = instance(1), instance(2)
    add(node.storage, one, two)
    asked = [one.path, "objects/aa/orphan.dcm"]
    assert node.storage.studies.known_paths(asked) == {one.path}
    assert list(node.storage.studies.paths()) == [one.path, two.path]


def _delivered(storage: Storage) -> None:
    completed(storage)
    (sent,) = storage.outbox.claim("pacs", NOON)
    storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")


def _delivered_held(storage: Storage) -> None:
    _delivered(storage)
    storage.studies.hold(STUDY, "two patients")


@pytest.mark.parametrize(
    ("fill", "may"),
    [
        pytest.param(_delivered, True, id="delivered"),
        pytest.param(_not_selected, True, id="nothing to deliver"),
        pytest.param(_open, False, id="open"),
        pytest.param(_delivered_held, False, id="held for a person"),
        pytest.param(_running, False, id="running"),
        pytest.param(lambda s: void(completed(s)), False, id="not delivered yet"),
        pytest.param(lambda s: void(waiting(s)), False, id="ready"),
    ],
)
def test_what_may_be_forgotten(node: Node, fill: Callable[[Storage], None], may: bool) -> None:
    storage, later = node.storage, NOON + timedelta(days=8)
    fill(storage)
    before = storage.studies.books(None, None)
    assert storage.studies.expired(NOON) == ()
    assert storage.studies.expired(later) == ((STUDY,) if may else ())
    assert bool(storage.studies.forget(STUDY)) == may
    assert bool(storage.studies.instances(STUDY)) != may
    assert storage.studies.expired(later) == ()
    assert storage.studies.books(None, None) == before
    events = [record.entry.event for record in storage.audit.list()]
    assert (events[-1] == "110105") == may


@pytest.mark.parametrize("reason", ["why", ""])
def test_a_held_study_stays_held(node: Node, reason: str) -> None:
    add(node.storage, instance(1))
    assert node.storage.studies.hold(STUDY, reason)
    add(node.storage, instance(2))
    assert [study.state for study in node.storage.studies.list()] == [StudyState.HELD]
    assert tuple(node.storage.studies.unplanned()) == ()


def test_a_held_study_that_nobody_knows(node: Node) -> None:
    assert not node.storage.studies.hold("1.2.3", "why")
    assert node.storage.studies.forget("1.2.3") == ()
    assert (
        node.storage.studies.plan("1.2.3", [], trace=[], instances_seen=0, done=True, at=NOON) == ()
    )


def test_two_processes_open_one_study_at_once(node: Node) -> None:
    """Threads with a connection each: every instance has its row, the study counts them all."""
    others = [node.open(who=f"intake {number}") for number in range(4)]

    def work(number: int) -> None:
        for one in range(10):
            others[number].studies.add(instance(number * 10 + one), on_conflict="keep_first")
            others[number].studies.add(instance(999), on_conflict="keep_first")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.instances == len(node.storage.studies.instances(STUDY)) == 41
    assert node.storage.audit.verify() == ()
    assert [r.entry.kind for r in node.storage.audit.list()] == ["study.opened"]
