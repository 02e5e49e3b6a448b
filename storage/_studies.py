"""The studies gateway: what was received, what state each study is in, what is planned for it.

A study opens with its first instance and again with every new one; it is held for a person when
its instances name two patients or one SOP Instance UID comes with two contents that are both
kept. Retention takes the instances of a study and leaves its row, so that the books stay right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, exists, literal, select, tuple_, update

from storage import _books, _holding, _intake, _planning, _retention, _rows, _together
from storage.database import Database, Transaction
from storage.records import (
    UNFINISHED,
    Added,
    AuditEntry,
    Books,
    NewInstance,
    PlannedRun,
    Run,
    StoredInstance,
    StudyRecord,
    StudyState,
)
from storage.tables import UID, Moment, deliveries, instances, reports, runs, series, studies

_PAGE = 1000


class Studies:
    """Studies, their series and instances."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, instance: NewInstance, *, on_conflict: str, audit: tuple[AuditEntry, ...] = ()
    ) -> Added:
        """File one received instance: its row, its study's row and `audit` in one transaction.

        on_conflict: keep_first | keep_both | refuse, for the same SOP Instance UID with other
        bytes. A repeat (same UID, same bytes) is only counted; its `kept` says whether `path` is
        the very file that counts already.
        """
        return self.add_many([instance], on_conflict=on_conflict, audit=audit)[0]

    def add_many(
        self,
        batch: Sequence[NewInstance],
        *,
        on_conflict: str,
        audit: tuple[AuditEntry, ...] = (),
    ) -> tuple[Added, ...]:
        """File several in one transaction, so with one flush: all of them or none."""

        def work(transaction: Transaction) -> tuple[Added, ...]:
            done = _together.file_many(transaction, batch, on_conflict)
            transaction.audit(*audit)
            return done

        return self._database.write(work)

    def is_ours(self, sop_uid: str) -> bool:
        """Whether this is the UID of a report that we made."""
        with self._database.read() as connection:
            found = connection.scalar(select(exists().where(reports.c.uid == sop_uid)))
            return bool(found)

    def ours_among(self, sop_uids: Sequence[str]) -> frozenset[str]:
        """Those of `sop_uids` that are of reports that we made."""
        with self._database.read() as connection:
            query = select(reports.c.uid).where(reports.c.uid.in_(sop_uids))
            return frozenset(connection.scalars(query))

    def held(self, sop_uids: Sequence[str]) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Of these SOP Instance UIDs, those with an instance here: SOP class and path of each."""
        found: dict[str, list[tuple[str, str]]] = {}
        columns = (instances.c.sop_uid, instances.c.sop_class, instances.c.path)
        with self._database.read() as connection:
            for start in range(0, len(sop_uids), 500):
                mine = instances.c.sop_uid.in_(sop_uids[start : start + 500])
                for row in connection.execute(select(*columns).where(mine)):
                    found.setdefault(row.sop_uid, []).append((row.sop_class, row.path))
        return {uid: tuple(kept) for uid, kept in found.items()}

    def get(self, uid: str) -> StudyRecord | None:
        """The study, if it was ever received."""
        return next(iter(self._records(select(studies).where(studies.c.uid == uid))), None)

    def instances(self, uid: str) -> tuple[StoredInstance, ...]:
        """What counts of a study, by series and SOP Instance UID."""
        columns = instances.c
        query = (
            select(instances)
            .where(columns.study_uid == uid, columns.ordinal >= 0)
            .order_by(columns.series_uid, columns.sop_uid, columns.ordinal)
        )
        with self._database.read() as connection:
            return tuple(_rows.instance(row) for row in connection.execute(query))

    def unplanned(self, page: int = 200) -> Iterator[StudyRecord]:
        """Open studies, the longest known first; read page by page."""
        place = (studies.c.first_received, studies.c.uid)
        query = select(studies).where(studies.c.state == StudyState.OPEN, studies.c.instances > 0)
        query = query.order_by(*place).limit(page)
        found = self._records(query)
        while found:
            yield from found
            last = found[-1]
            after = tuple_(*place) > tuple_(
                literal(last.first_received, Moment), literal(last.uid, UID)
            )
            found = self._records(query.where(after)) if len(found) == page else ()

    def plan(
        self,
        uid: str,
        runs: Sequence[PlannedRun],
        *,
        trace: Sequence[Mapping[str, Any]],
        instances_seen: int,
        done: bool,
        at: datetime,
    ) -> tuple[Run, ...]:
        """Enter the runs that routing wants; returns those that are new.

        A run of the same (study, processor, digest) is left alone, unless it was superseded
        before it ended: then it is wanted again and becomes ready. One that a newer answer came
        after is run anew, if that one read what is not picked any more. Unfinished older runs of
        the same processor are superseded and lose their fence. `done`, and no instance came
        meanwhile: the study is settled and `planned_instances` is what was seen. Nothing is
        planned for a held or unknown study.
        """
        wish = _planning.Wish(tuple(runs), tuple(trace), instances_seen, done, at)
        return self._database.write(lambda transaction: _planning.plan(transaction, uid, wish))

    def hold(self, uid: str, reason: str, audit: Sequence[AuditEntry] = ()) -> bool:
        """Keep a study for a person: none of its runs starts, none of its results is sent."""

        def work(transaction: Transaction) -> bool:
            study = _intake.lock(transaction, uid)
            if study is None:
                return False
            _intake.hold(transaction, uid, reason)
            transaction.audit(*audit)
            return True

        return self._database.write(work)

    def release(self, uid: str, who: str) -> bool:
        """A person decided that a held study may go on: it is open again, and planned anew.

        False if it is not held, or if its instances name two patients: then it stays held, and
        its reason says what to do.
        """
        return self._database.write(lambda transaction: _holding.release(transaction, uid, who))

    def exclude(self, uid: str, sop_uid: str, who: str) -> bool:
        """A person decided that an instance of a held study counts no more; then `release` it.

        Whatever contents came under that UID are left out; another content may come under it
        afterwards. False if the study is not held or has no such instance.
        """
        return self._database.write(
            lambda transaction: _holding.exclude(transaction, uid, sop_uid, who)
        )

    def list(
        self,
        *,
        state: StudyState | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> tuple[StudyRecord, ...]:
        """Studies first received from `since` until before `until`, newest first."""
        query = _books.received(select(studies), since, until)
        if state is not None:
            query = query.where(studies.c.state == state)
        return self._records(
            query.order_by(studies.c.first_received.desc(), studies.c.uid).limit(limit)
        )

    def books(self, since: datetime | None, until: datetime | None) -> Books:
        """The tally of the studies first received from `since` until before `until`."""
        with self._database.read(snapshot=True) as connection:
            return _books.tally(connection, since, until)

    def forget(self, uid: str) -> tuple[str, ...]:
        """Retention: forget the instances of a study; returns their paths, now to be removed.

        () and nothing forgotten while the study is open or held, or anything of it runs or is
        undelivered. The row of the study, its runs and its reports stay.
        """

        def work(transaction: Transaction) -> tuple[str, ...]:
            return self._forget(transaction, uid)

        return self._database.write(work)

    def blank(self, before: datetime, limit: int = 500) -> int:
        """Retention: forget whom studies are of that left nothing but their row; how many.

        Nothing came and no run ended since `before`, no instance and no report is kept, nothing
        is undelivered or held. Their analyses go too; UID, states and times stay for the books.
        """
        return self._database.write(
            lambda transaction: _retention.blank(transaction, before, limit)
        )

    def forgotten(self, uid: str) -> datetime | None:
        """When retention last took the instances of a study."""
        with self._database.read() as connection:
            found: datetime | None = connection.scalar(
                select(studies.c.forgotten_at).where(studies.c.uid == uid)
            )
            return found

    def expired(self, before: datetime, limit: int = 200) -> tuple[str, ...]:
        """Studies that `forget` may take and that had nothing new since `before`, oldest first."""
        query = (
            _forgettable(select(studies.c.uid))
            .where(studies.c.last_received < before)
            .order_by(studies.c.last_received)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(connection.scalars(query))

    def known_paths(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of `paths` that a row names; the others are orphans."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(paths), _PAGE):
                page = list(paths[start : start + _PAGE])
                query = select(instances.c.path).where(instances.c.path.in_(page))
                found.update(connection.scalars(query))
        return frozenset(found)

    def paths(self) -> Iterator[str]:
        """The path of every instance that counts: each must exist in the spool."""
        after = 0
        while True:
            query = select(instances.c.id, instances.c.path).where(instances.c.id > after)
            with self._database.read() as connection:
                page = connection.execute(query.order_by(instances.c.id).limit(_PAGE)).all()
            if not page:
                return
            yield from (row.path for row in page)
            after = page[-1].id

    def _records(self, query: Select[Any]) -> tuple[StudyRecord, ...]:
        with self._database.read() as connection:
            return tuple(_rows.study(row) for row in connection.execute(query))

    def _forget(self, transaction: Transaction, uid: str) -> tuple[str, ...]:
        connection = transaction.connection
        _intake.lock(transaction, uid)
        if (
            connection.scalar(_forgettable(select(studies.c.uid)).where(studies.c.uid == uid))
            is None
        ):
            return ()
        mine = instances.c.study_uid == uid
        paths = tuple(connection.scalars(select(instances.c.path).where(mine)))
        connection.execute(delete(instances).where(mine))
        connection.execute(delete(series).where(series.c.study_uid == uid))
        values = {"forgotten_at": transaction.now, "instances": 0, "planned_instances": 0}
        connection.execute(update(studies).where(studies.c.uid == uid).values(values))
        details = {"instances": len(paths)}
        transaction.audit(AuditEntry("110105", "D", 0, "retention", uid, details=details))
        return paths


def _forgettable(query: Select[Any]) -> Select[Any]:
    running = exists().where(runs.c.study_uid == studies.c.uid, runs.c.state.in_(UNFINISHED))
    going = exists().where(
        deliveries.c.study_uid == studies.c.uid, deliveries.c.state.in_(_retention.UNDELIVERED)
    )
    kept = exists().where(instances.c.study_uid == studies.c.uid)
    return query.where(studies.c.state == StudyState.SETTLED, kept, ~running, ~going)
