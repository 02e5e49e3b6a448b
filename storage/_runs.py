"""The runs gateway: claims, leases without clocks, results.

A claim gives a run to one owner under a new `attempt`, which is its fence: whoever lost the run
(released, superseded, claimed by another) changes nothing any more. A worker that lives makes
`beat` grow; a watcher compares beats on its own monotonic clock and calls `release`. No time of
day decides anything here but `not_before`, and that one not when the clock jumped back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, or_, select, update

from storage import _finish, _intake, _planning, _retention, _rows
from storage.database import Database, Transaction
from storage.errors import LeaseLost
from storage.records import (
    AuditEntry,
    EndedRun,
    NewReport,
    ReportRecord,
    Run,
    RunState,
    StudyState,
)
from storage.tables import analyses, reports, runs, studies

WAITING = (RunState.WAITING, RunState.READY)
RETRIABLE = (RunState.FAILED, RunState.SET_ASIDE)
ENDED = tuple(_finish.ENDS)
_PAGE = 500
FAR = timedelta(days=1)  # a time to wait for that is further off means: the clock jumped back


def _waiting_done() -> ColumnElement[bool]:
    """Waited for a time that has come, as bound: see `_due_at`."""
    due = or_(
        runs.c.not_before.is_(None),
        runs.c.not_before <= bindparam("now"),
        runs.c.not_before > bindparam("far"),
    )
    return and_(runs.c.state == RunState.WAITING, due)


def _next(mode: str, urgent: bool, named: bool) -> Select[Any]:
    """The oldest ready run of that kind; named: of the bound processors."""
    query = (
        select(runs.c.id)
        .join_from(runs, studies)
        .where(runs.c.state == RunState.READY, runs.c.urgent.is_(urgent), runs.c.mode == mode)
        .where(studies.c.state != StudyState.HELD)
        .order_by(runs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=runs)
    )
    if named:
        query = query.where(runs.c.processor.in_(bindparam("processors", expanding=True)))
    return query


# Put together once: every worker asks several times a second, and building one costs more than the
# database's answer.
_ANY = select(exists().where(or_(runs.c.state == RunState.READY, _waiting_done())))
_WAKE = (
    update(runs)
    .where(_waiting_done())
    .values(state=RunState.READY, not_before=None)
    .returning(runs)
)
_KINDS = (("live", True), ("live", False), ("shadow", True), ("shadow", False))
_NEXT = {named: tuple(_next(*kind, named) for kind in _KINDS) for named in (False, True)}


class Runs:
    """Executions of processors on studies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: str, processors: Collection[str] | None = None) -> Run | None:
        """The next run, now `owner`'s: urgent ones first, then in the order of their arrival.

        Runs in shadow come last: nobody waits for them.
        owner: unique to this process for ever, e.g. host:pid:start. processors: what it can run,
        None: any. Runs of held studies stay.
        """

        asked = {} if processors is None else {"processors": list(processors)}
        with self._database.read() as connection:  # what idle workers ask: no lock, no turn
            if not connection.scalar(_ANY, _due_at(self._database.clock())):
                return None

        def work(transaction: Transaction) -> Run | None:
            _wake(transaction)
            found = (transaction.connection.scalar(one, asked) for one in _NEXT[bool(asked)])
            chosen = next(filter(None, found), None)
            return None if chosen is None else _take(transaction, chosen, owner)

        return self._database.write(work)

    def beat(self, run: Run) -> None:
        """Say that the owner lives. Raises LeaseLost if the run is no longer its own."""

        def work(transaction: Transaction) -> None:
            values = {"beat": runs.c.beat + 1}
            statement = update(runs).where(*_finish.fence(run)).values(values)
            if transaction.connection.execute(statement).rowcount != 1:
                raise LeaseLost(f"Run {run.id}, attempt {run.attempt}, is no longer ours.")

        self._database.write(work)

    def running(self) -> tuple[Run, ...]:
        """Every run that somebody owns now."""
        return self.list(state=RunState.RUNNING, limit=100_000)

    def release(
        self, run: Run, reason: str, *, max_attempts: int, not_before: datetime | None = None
    ) -> RunState:
        """Its lease ran out or its worker died: ready again, or set aside after `max_attempts`.

        Fenced by `run.attempt`: a run that went on meanwhile is left alone. Returns the state
        that the run has now. not_before: wait until then instead of being ready at once.
        """

        def work(transaction: Transaction) -> RunState:
            return _release(transaction, run, reason, (max_attempts, not_before))

        return self._database.write(work)

    def set_aside_unknown(self, processors: Collection[str], reason: str) -> tuple[Run, ...]:
        """Runs that nobody here can do wait no longer: set aside for a person, with the reason.

        processors: all that there are. Returns the runs; what runs already is left to end.
        """
        waits = (runs.c.state.in_(WAITING), runs.c.processor.not_in(processors))
        with self._database.read() as connection:  # everyday: there is none
            if not connection.scalar(select(exists().where(*waits))):
                return ()

        def work(transaction: Transaction) -> tuple[Run, ...]:
            values = {
                "state": RunState.SET_ASIDE,
                "reason": reason,
                "not_before": None,
                "ended_at": transaction.now,
            }
            rows = transaction.connection.execute(
                update(runs).where(*waits).values(values).returning(runs)
            ).all()
            found = tuple(_rows.run(row) for row in rows)
            transaction.audit(*(_event("run.set_aside", r, 8, {"reason": reason}) for r in found))
            return found

        return self._database.write(work)

    def give_back(self, run: Run) -> None:
        """A graceful stop: ready again, and the attempt does not count."""

        def work(transaction: Transaction) -> None:
            values = {
                "state": RunState.READY,
                "owner": "",
                "tries": func.coalesce(runs.c.tries, 1) - 1,
            }
            statement = update(runs).where(*_finish.fence(run)).values(values)
            if transaction.connection.execute(statement).rowcount == 1:
                transaction.audit(_event("run.given_back", run, 0, {}))

        self._database.write(work)

    def postpone(self, run: Run, reason: str, wait: timedelta) -> None:
        """Its worker cannot do it now, and the study is not to blame: it waits, uncounted.

        Raises LeaseLost if the run is no longer its own.
        """

        def work(transaction: Transaction) -> None:
            values = {
                "state": RunState.WAITING,
                "not_before": transaction.now + wait,
                "owner": "",
                "reason": reason,
                "tries": func.coalesce(runs.c.tries, 1) - 1,
            }
            statement = update(runs).where(*_finish.fence(run)).values(values)
            if transaction.connection.execute(statement).rowcount != 1:
                raise LeaseLost(f"Run {run.id}, attempt {run.attempt}, is no longer ours.")
            transaction.audit(_event("run.postponed", run, 4, {"reason": reason}))

        self._database.write(work)

    def finish(
        self,
        run: Run,
        *,
        state: RunState,
        reason: str,
        analysis: Mapping[str, Any] | None,
        reports: Sequence[NewReport],
        audit: Sequence[AuditEntry] = (),
    ) -> None:
        """End a run: its state, analysis, reports, one delivery for each report's destination.

        One transaction; raises LeaseLost, and nothing is changed, unless owner and attempt still
        hold the run. state: completed, unsuitable, failed or set_aside.
        """
        result = _finish.Result(state, reason, analysis, tuple(reports))

        def work(transaction: Transaction) -> None:
            _finish.finish(transaction, run, result)
            transaction.audit(*audit)

        self._database.write(work)

    def hold(self, run: Run, reason: str, of_study: str) -> None:
        """End a run set aside and keep its study for a person, in one transaction.

        Raises LeaseLost, and then the study is not held: a person may have released it meanwhile,
        and the run that is no longer ours knows nothing of that. of_study: the study's reason.
        """

        def work(transaction: Transaction) -> None:
            _intake.lock(transaction, run.study_uid)
            _finish.finish(transaction, run, _finish.Result(RunState.SET_ASIDE, reason, None, ()))
            _intake.hold(transaction, run.study_uid, of_study)

        self._database.write(work)

    def retry(self, run_id: int, who: str) -> bool:
        """A person wants a failed or set-aside run once more; False if it is neither.

        What it had written is dropped, unless something of it has been delivered: then False.
        """
        return self._database.write(lambda transaction: _retry(transaction, run_id, who))

    def renew(self, run_id: int) -> int | None:
        """Its study's row names patient or order otherwise by now: the run that writes them anew.

        A newer one that is there already, or one that is planned; None if neither would help.
        """
        return self._database.write(lambda transaction: _planning.renew(transaction, run_id))

    def get(self, run_id: int) -> Run | None:
        """One run."""
        with self._database.read() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
            return None if row is None else _rows.run(row)

    def list(
        self, *, study_uid: str | None = None, state: RunState | None = None, limit: int = 100
    ) -> tuple[Run, ...]:
        """Runs, oldest first; of a longer list the newest `limit`."""
        query = select(runs)
        if study_uid is not None:
            query = query.where(runs.c.study_uid == study_uid)
        if state is not None:
            query = query.where(runs.c.state == state)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(runs.c.id.desc()).limit(limit)).all()
            return tuple(_rows.run(row) for row in reversed(rows))

    def analysis(self, run_id: int) -> Mapping[str, Any] | None:
        """What the processor said, as `finish` was given it."""
        with self._database.read() as connection:
            found: Mapping[str, Any] | None = connection.scalar(
                select(analyses.c.content).where(analyses.c.run_id == run_id)
            )
            return found

    def ended(
        self,
        processor: str,
        mode: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[EndedRun]:
        """Its ended runs of that mode, planned from `since` until before `until`, oldest first."""
        query = (
            select(runs, studies.c.accession, analyses.c.content)
            .join_from(runs, studies)
            .outerjoin(analyses, analyses.c.run_id == runs.c.id)
            .where(runs.c.processor == processor, runs.c.mode == mode, runs.c.state.in_(ENDED))
            .order_by(runs.c.id)
            .limit(_PAGE)
        )
        if since is not None:
            query = query.where(runs.c.created_at >= since)
        if until is not None:
            query = query.where(runs.c.created_at < until)
        after = 0
        while True:
            with self._database.read() as connection:
                page = connection.execute(query.where(runs.c.id > after)).all()
            yield from (EndedRun(_rows.run(row), row.accession, row.content) for row in page)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def tally(self) -> Mapping[tuple[str, str], int]:
        """How many runs of each (processor, mode) there are."""
        key = (runs.c.processor, runs.c.mode)
        with self._database.read() as connection:
            rows = connection.execute(select(*key, func.count()).group_by(*key))
            return {(row[0], row[1]): row[2] for row in rows}

    def reports(self, run_id: int) -> tuple[ReportRecord, ...]:
        """The reports of a run, in the order in which they were made."""
        query = select(reports).where(reports.c.run_id == run_id).order_by(reports.c.id)
        with self._database.read() as connection:
            return tuple(_rows.report(row) for row in connection.execute(query))

    def counts(self, mode: str | None = None) -> Mapping[RunState, int]:
        """How many runs (of that mode) are in each state; states without any are there with 0."""
        query = _of_mode(select(runs.c.state, func.count()), mode).group_by(runs.c.state)
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in RunState}

    def oldest_ready(self, mode: str | None = None) -> datetime | None:
        """When the run (of that mode) that waits longest for a worker was made."""
        query = _of_mode(select(func.min(runs.c.created_at)), mode)
        query = query.where(runs.c.state == RunState.READY)
        with self._database.read() as connection:
            found: datetime | None = connection.scalar(query)
            return found

    def forget_reports(self, before: datetime, limit: int = 1000) -> tuple[str, ...]:
        """Retention: reports made before then, with nothing of theirs undelivered, are purged.

        Returns the paths to remove. The rows stay: their UIDs must be known as ours for ever.
        """
        return self._database.write(
            lambda transaction: _retention.forget_reports(transaction, before, limit)
        )

    def known_paths(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of `paths` that a report which is not purged names; the others are orphans."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(paths), 1000):
                page = list(paths[start : start + 1000])
                query = select(reports.c.path).where(reports.c.path.in_(page))
                found.update(connection.scalars(query.where(reports.c.purged_at.is_(None))))
        return frozenset(found)


def _of_mode(query: Select[Any], mode: str | None) -> Select[Any]:
    return query if mode is None else query.where(runs.c.mode == mode)


def _due_at(now: datetime) -> Mapping[str, datetime]:
    return {"now": now, "far": now + FAR}


def _wake(transaction: Transaction) -> None:
    """Make ready what waited for a time that has come (or lies absurdly far off)."""
    for row in transaction.connection.execute(_WAKE, _due_at(transaction.now)).all():
        transaction.audit(_event("run.ready", _rows.run(row), 0, {}))


def _take(transaction: Transaction, run_id: int, owner: str) -> Run:
    values = {
        "state": RunState.RUNNING,
        "owner": owner,
        "attempt": runs.c.attempt + 1,
        "tries": runs.c.tries + 1,
        "beat": 0,
        "started_at": transaction.now,
        "ended_at": None,
        "reason": "",
    }
    row = transaction.connection.execute(
        update(runs).where(runs.c.id == run_id).values(values).returning(runs)
    ).one()
    taken = _rows.run(row)
    transaction.audit(_event("run.started", taken, 0, {"owner": owner}))
    return taken


def _release(
    transaction: Transaction, run: Run, reason: str, rule: tuple[int, datetime | None]
) -> RunState:
    most, not_before = rule
    connection = transaction.connection
    row = connection.execute(select(runs).where(runs.c.id == run.id).with_for_update()).one()
    if row.state != RunState.RUNNING or row.attempt != run.attempt:
        return RunState(row.state)
    values: dict[str, Any] = {"reason": reason, "owner": "", "not_before": None}
    if row.tries >= most:
        values["reason"] = f"{reason} ({row.tries} attempts)"
        values |= {"state": RunState.SET_ASIDE, "ended_at": transaction.now}
    elif not_before is not None:
        values |= {"state": RunState.WAITING, "not_before": not_before}
    else:
        values["state"] = RunState.READY
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
    state: RunState = values["state"]
    aside = state is RunState.SET_ASIDE
    kind, outcome = ("run.set_aside", 8) if aside else ("run.released", 4)
    transaction.audit(_event(kind, run, outcome, {"reason": values["reason"]}))
    return state


def _retry(transaction: Transaction, run_id: int, who: str) -> bool:
    connection = transaction.connection
    row = connection.execute(
        select(runs).where(runs.c.id == run_id).with_for_update()
    ).one_or_none()
    if row is None or row.state not in RETRIABLE:
        return False
    if not _finish.drop(transaction, run_id):
        return False
    values = {"state": RunState.READY, "tries": 0, "owner": "", "reason": "", "ended_at": None}
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))
    transaction.audit(_event("run.retried", _rows.run(row), 0, {"was": row.state}, who))
    return True


def _event(kind: str, run: Run, outcome: int, more: Mapping[str, Any], who: str = "") -> AuditEntry:
    details = {"run": run.id, "processor": run.processor, "attempt": run.attempt, **more}
    return AuditEntry("110100", "E", outcome, kind, run.study_uid, who, details=details)
