"""Decides in which one column of the books a study stands.

In this order: held; waiting (open, or any run not ended); not selected (no run at all); else by
the newest run of each processor. Of those the one that tells most stands: a result before "not
assessed because", that before a run set aside for a person, that before a failure; how the other
processors of the study ended stands in the reason, so that a failure beside a result shows. A run
in shadow, of which nobody heard, stands only where there is no other, and its reason says so.
A comparison with a final report is no answer to a study and stands nowhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from storage.records import AGREEMENT, UNFINISHED, Books, RunState, StudyState
from storage.tables import runs, studies

COLUMNS = ("completed", "unsuitable", "failed", "set_aside", "not_selected", "held", "waiting")
TELLING = (RunState.COMPLETED, RunState.UNSUITABLE, RunState.SET_ASIDE, RunState.FAILED)
_NO_RULE = "no rule picked it"
_IN_SHADOW = "in shadow, sent nowhere"
_LEFT_OUT = "a person left all of its instances out"
_ORPHANED = "superseded, and not planned again"


def received(query: Select[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    """`query` over studies, narrowed to those first received from `since` until before `until`."""
    if since is not None:
        query = query.where(studies.c.first_received >= since)
    if until is not None:
        query = query.where(studies.c.first_received < until)
    return query


def tally(connection: Connection, since: datetime | None, until: datetime | None) -> Books:
    """Count every study of the period; `received` comes from a count of its own."""
    total = connection.scalar(received(select(func.count()).select_from(studies), since, until))
    ended: dict[str, list[Row[Any]]] = defaultdict(list)
    columns = tuple(
        runs.c[name] for name in ("id", "study_uid", "processor", "mode", "state", "reason")
    )
    judged = select(*columns).join_from(runs, studies).where(runs.c.processor != AGREEMENT)
    of_period = received(judged, since, until)
    for row in connection.execute(of_period.order_by(runs.c.id)):
        ended[row.study_uid].append(row)
    numbers: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {column: Counter() for column in COLUMNS}
    chosen = tuple(
        studies.c[name] for name in ("uid", "state", "reason", "trace", "instances", "forgotten_at")
    )
    for study in connection.execute(received(select(*chosen), since, until)):
        column, reason = place(study, ended.get(study.uid, []))
        numbers[column] += 1
        if reason:
            reasons[column][reason] += 1
    return Books(
        received=total or 0,
        columns={column: numbers[column] for column in COLUMNS},
        reasons={column: dict(found) for column, found in reasons.items() if found},
    )


def place(study: Row[Any], its_runs: Sequence[Row[Any]]) -> tuple[str, str]:
    """The column of one study and the reason it has there ('' where none is needed)."""
    if study.state == StudyState.HELD:
        return "held", study.reason
    for state in UNFINISHED:
        if any(run.state == state for run in its_runs):
            return "waiting", state.value
    if study.state == StudyState.OPEN:
        return "waiting", "settling"
    if not its_runs:
        return "not_selected", not_selected_because(study.trace)
    newest = {(r.processor, r.mode): r for r in its_runs if r.state != RunState.SUPERSEDED}
    if not newest:
        left = study.instances or study.forgotten_at
        return ("failed", _ORPHANED) if left else ("not_selected", _LEFT_OUT)
    order = sorted(newest.values(), key=_rank)
    first, others = order[0], order[1:]
    differing = [f"{_name(run)}: {_ending(run)}" for run in others if run.state != first.state]
    shadow = [_IN_SHADOW] if first.mode == "shadow" else []
    return first.state, "; ".join([*shadow, *_own(first.reason), *differing])


def not_selected_because(trace: Iterable[Any]) -> str:
    """Why no rule picked a study, out of its stored trace, each reason once."""
    found: dict[str, None] = {}
    for entry in trace:
        if not isinstance(entry, dict):
            continue
        if entry.get("reason"):
            found[str(entry["reason"])] = None
        elif isinstance(entry.get("skipped"), dict):
            found.update(dict.fromkeys(entry["skipped"]))
    return "; ".join(found) or _NO_RULE


def _rank(run: Row[Any]) -> tuple[bool, int, int]:
    return run.mode == "shadow", TELLING.index(RunState(run.state)), run.id


def _name(run: Row[Any]) -> str:
    return f"{run.processor} (shadow)" if run.mode == "shadow" else str(run.processor)


def _own(reason: str) -> list[str]:
    return [reason] if reason else []


def _ending(run: Row[Any]) -> str:
    return f"{run.state}, {run.reason}" if run.reason else str(run.state)
