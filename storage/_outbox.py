"""The outbox gateway: each report on its way to each destination, and the peer's last answer.

One courier claims; `attempts` is the fence of its claim. Nothing of a held study is handed out.
A time to try that lies more than a day ahead means that the clock jumped back: it counts as due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select, update

from storage import _commitments, _rows
from storage._holding import LEFT_OUT, RESTS_ON_IT
from storage._plain import text
from storage.database import Database, Transaction
from storage.errors import LeaseLost
from storage.records import (
    AuditEntry,
    CommitmentState,
    Delivery,
    DeliveryState,
    Ending,
    StudyState,
)
from storage.tables import commitments, deliveries, reports, runs, studies

FAR = timedelta(days=1)
OUTCOMES = {
    DeliveryState.DELIVERED: 0,
    DeliveryState.WAITING: 4,
    DeliveryState.REJECTED: 8,
    DeliveryState.HELD: 8,
    DeliveryState.GIVEN_UP: 8,
}  # what a courier may record, with the outcome in the audit
_MOST = 1000  # characters of a peer's answer that are kept


_OLDEST = (  # put together once: every lane asks before each step
    select(deliveries.c.destination, func.min(deliveries.c.created_at))
    .where(deliveries.c.state.in_((DeliveryState.WAITING, DeliveryState.SENDING)))
    .group_by(deliveries.c.destination)
)


class Outbox:
    """Deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, destination: str, now: datetime, limit: int = 20) -> tuple[Delivery, ...]:
        """The oldest deliveries that are due there, `limit` at most; each now `sending`.

        Those of one run come together, in the order of its reports; a run that would be cut by
        `limit` waits for the next claim, unless it is the first.
        """

        def work(transaction: Transaction) -> tuple[Delivery, ...]:
            chosen = _due(transaction.connection, destination, now, limit)
            return _take(transaction, chosen, now)

        return self._database.write(work)

    def record(
        self,
        delivery: Delivery,
        state: DeliveryState,
        *,
        answer: str,
        next_try: datetime | None = None,
        audit: Sequence[AuditEntry] = (),
        commitment: bool = False,
    ) -> None:
        """How a try ended: delivered, rejected, held, given_up, or waiting until `next_try`.

        commitment: where it is delivered, the destination shall commit to it (`Commitments`).
        Without `audit` the event is written from what is known here. Raises LeaseLost if the
        delivery is no longer in this try.
        """
        ending = Ending(delivery, state, answer, next_try, tuple(audit))
        if self.record_all([ending], commitment=commitment):
            said = f"Delivery {delivery.id}, try {delivery.attempts}, is no longer ours."
            raise LeaseLost(said)

    def record_all(
        self, endings: Sequence[Ending], *, commitment: bool = False
    ) -> tuple[Delivery, ...]:
        """As `record`, of several tries at once; returns those that are no longer in their try."""
        for one in endings:
            if one.state not in OUTCOMES:
                raise ValueError(f"a try cannot end as {one.state.value}")

        def work(transaction: Transaction) -> tuple[Delivery, ...]:
            lost = []
            for one in endings:
                if not _record(transaction, one):
                    lost.append(one.delivery)
                    continue
                if commitment and one.state is DeliveryState.DELIVERED:
                    _commitments.want(transaction, one.delivery.id, one.delivery.destination)
                transaction.audit(*(one.audit or (_tried(one),)))
            return tuple(lost)

        return self._database.write(work)

    def recover(self) -> int:
        """At a courier's start: what was being sent when the last one died waits again."""

        def work(transaction: Transaction) -> int:
            values = {"state": DeliveryState.WAITING, "next_try": transaction.now}
            statement = update(deliveries).where(deliveries.c.state == DeliveryState.SENDING)
            rows = transaction.connection.execute(
                statement.values(values).returning(deliveries.c.study_uid, deliveries.c.id)
            ).all()
            for uid in sorted({row.study_uid for row in rows}):
                mine = sorted(row.id for row in rows if row.study_uid == uid)
                details = {"deliveries": mine}
                transaction.audit(
                    AuditEntry("110100", "E", 4, "delivery.recovered", uid, details=details)
                )
            return len(rows)

        return self._database.write(work)

    def retry(self, delivery_id: int, who: str) -> bool:
        """A person wants it sent now, its time to give up counted anew.

        False for one that is being sent, unknown, or delivered (but for one that the peer did not
        commit to).
        """

        def work(transaction: Transaction) -> bool:
            values = {
                "state": DeliveryState.WAITING,
                "attempts": 0,
                "next_try": transaction.now,
                "first_try": None,
                "ended_at": None,
            }
            mine = deliveries.c.id == delivery_id
            over = (DeliveryState.DELIVERED, DeliveryState.SENDING)
            row = transaction.connection.execute(
                update(deliveries)
                .where(mine, or_(deliveries.c.state.not_in(over), _lost(delivery_id)))
                .values(values)
                .returning(deliveries)
            ).one_or_none()
            if row is None:
                return False
            anew = update(commitments).where(commitments.c.delivery_id == row.id)
            transaction.connection.execute(anew.values(refused=0))
            details = {"delivery": row.id, "destination": row.destination}
            transaction.audit(
                AuditEntry("110100", "E", 0, "delivery.retried", row.study_uid, who, details)
            )
            return True

        return self._database.write(work)

    def close(self, delivery_id: int, who: str, why: str) -> bool:
        """A person gives up what waits for a peer that is gone, or for a decision; it may be
        retried. False for one that is neither waiting nor held.
        """

        def work(transaction: Transaction) -> bool:
            answer = text(f"given up by {who}: {why}")[:_MOST]
            over = {
                "state": DeliveryState.GIVEN_UP,
                "answer": answer,
                "ended_at": transaction.now,
            }
            open_ = (DeliveryState.WAITING, DeliveryState.HELD)
            row = transaction.connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery_id, deliveries.c.state.in_(open_))
                .values(over)
                .returning(deliveries)
            ).one_or_none()
            if row is None:
                return False
            details = {"delivery": row.id, "destination": row.destination, "why": why}
            transaction.audit(
                AuditEntry("110100", "E", 4, "delivery.closed", row.study_uid, who, details)
            )
            return True

        return self._database.write(work)

    def list(
        self,
        *,
        study_uid: str | None = None,
        destination: str | None = None,
        state: DeliveryState | None = None,
        commitment: CommitmentState | None = None,
        limit: int = 100,
    ) -> tuple[Delivery, ...]:
        """Deliveries, oldest first; of a longer list the newest `limit`."""
        wanted = (("study_uid", study_uid), ("destination", destination), ("state", state))
        query = select(deliveries.c.id)
        for name, value in wanted:
            if value is not None:
                query = query.where(deliveries.c[name] == value)
        if commitment is not None:
            such = select(commitments.c.delivery_id).where(commitments.c.state == commitment)
            query = query.where(deliveries.c.id.in_(such))
        with self._database.read() as connection:
            newest = query.order_by(deliveries.c.id.desc()).limit(limit)
            return _load(connection, newest)

    def get(self, delivery_id: int) -> Delivery | None:
        """One delivery."""
        with self._database.read() as connection:
            query = select(deliveries.c.id).where(deliveries.c.id == delivery_id)
            return next(iter(_load(connection, query)), None)

    def stopped(self, delivery: Delivery) -> str:
        """Why it may not leave although its study may, or "": its run read an image that a person
        left out since.
        """
        mine = (runs.c.id == delivery.run_id, runs.c.reason == LEFT_OUT)
        with self._database.read() as connection:
            return RESTS_ON_IT if connection.scalar(select(exists().where(*mine))) else ""

    def overtaken(self, delivery: Delivery) -> int | None:
        """A newer run of the same processor over the same study whose report of that kind has been
        delivered there already, or None.
        """
        own, newer = runs.alias("own"), runs.alias("newer")
        query = (
            select(newer.c.id)
            .join_from(deliveries, reports)
            .join(newer, newer.c.id == deliveries.c.run_id)
            .join(own, own.c.id == delivery.run_id)
            .where(newer.c.id > own.c.id, newer.c.processor == own.c.processor)
            .where(deliveries.c.study_uid == delivery.study_uid)
            .where(deliveries.c.destination == delivery.destination)
            .where(deliveries.c.state == DeliveryState.DELIVERED)
            .where(reports.c.kind == delivery.report.kind)
            .order_by(newer.c.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            found: int | None = connection.scalar(query)
            return found

    def counts(self) -> Mapping[tuple[str, DeliveryState], int]:
        """How many deliveries each destination has in each state."""
        key = (deliveries.c.destination, deliveries.c.state)
        query = select(*key, func.count()).group_by(*key)
        with self._database.read() as connection:
            return {(row[0], DeliveryState(row[1])): row[2] for row in connection.execute(query)}

    def oldest_waiting(self) -> Mapping[str, datetime]:
        """For each destination with anything undelivered, when the oldest of it was made."""
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_OLDEST)}


def _lost(delivery_id: int) -> ColumnElement[bool]:
    """Delivered, and the peer did not commit to it in the end."""
    failed = (CommitmentState.REFUSED, CommitmentState.MISSING)
    return exists().where(
        deliveries.c.state == DeliveryState.DELIVERED,
        commitments.c.delivery_id == delivery_id,
        commitments.c.state.in_(failed),
    )


def _due(connection: Connection, destination: str, now: datetime, limit: int) -> list[int]:
    next_try = deliveries.c.next_try
    query = (
        select(deliveries.c.id, deliveries.c.run_id)
        .join_from(deliveries, studies)
        .where(deliveries.c.destination == destination)
        .where(deliveries.c.state == DeliveryState.WAITING, studies.c.state != StudyState.HELD)
        .where(or_(next_try <= now, next_try > now + FAR))
        .order_by(deliveries.c.id)
    )
    oldest = connection.execute(query.limit(limit)).all()
    runs = list(dict.fromkeys(row.run_id for row in oldest))
    whole = connection.execute(query.where(deliveries.c.run_id.in_(runs))).all()
    return _together(whole, runs, limit)


def _together(rows: Sequence[Any], runs: Sequence[int], limit: int) -> list[int]:
    chosen: list[int] = []
    for run in runs:
        mine = [row.id for row in rows if row.run_id == run]
        if chosen and len(chosen) + len(mine) > limit:
            break
        chosen.extend(mine[:limit])
    return chosen


def _take(transaction: Transaction, chosen: list[int], now: datetime) -> tuple[Delivery, ...]:
    """Of `chosen`, what nobody else took meanwhile, in that order."""
    connection = transaction.connection
    values = {
        "state": DeliveryState.SENDING,
        "attempts": deliveries.c.attempts + 1,
        "first_try": func.coalesce(deliveries.c.first_try, now),
    }
    taken = connection.scalars(
        update(deliveries)
        .where(deliveries.c.id.in_(chosen), deliveries.c.state == DeliveryState.WAITING)
        .values(values)
        .returning(deliveries.c.id)
    ).all()
    found = {delivery.id: delivery for delivery in _load(connection, list(taken))}
    going = [found[delivery_id] for delivery_id in chosen if delivery_id in found]
    for run in dict.fromkeys(delivery.run_id for delivery in going):
        transaction.audit(_begin([one for one in going if one.run_id == run]))
    return tuple(going)


def _record(transaction: Transaction, ending: Ending) -> bool:
    """Whether the delivery was still in this try."""
    waits = ending.state is DeliveryState.WAITING
    values = {
        "state": ending.state,
        "answer": text(ending.answer)[:_MOST],
        "next_try": ending.next_try or transaction.now,
        "ended_at": None if waits else transaction.now,
    }
    statement = update(deliveries).where(
        deliveries.c.id == ending.delivery.id,
        deliveries.c.state == DeliveryState.SENDING,
        deliveries.c.attempts == ending.delivery.attempts,
    )
    return transaction.connection.execute(statement.values(values)).rowcount == 1


def _load(connection: Connection, ids: list[int] | Select[Any]) -> tuple[Delivery, ...]:
    mine = deliveries.c.id.in_(ids)
    rows = connection.execute(select(deliveries).where(mine).order_by(deliveries.c.id)).all()
    wanted = select(reports).where(reports.c.id.in_(select(deliveries.c.report_id).where(mine)))
    found = {row.id: _rows.report(row) for row in connection.execute(wanted)}
    return tuple(_rows.delivery(row, found[row.report_id]) for row in rows)


def _begin(going: Sequence[Delivery]) -> AuditEntry:
    """About to send: Begin Transferring DICOM Instances, or Export (PS3.15 A.5.3)."""
    first = going[0]
    event = "110102" if first.report.sop_class else "110106"
    details = {
        "destination": first.destination,
        "run": first.run_id,
        "reports": [one.report.uid for one in going],
        "attempt": max(one.attempts for one in going),
    }
    return AuditEntry(event, "E", 0, "delivery.sending", first.study_uid, details=details)


def _tried(ending: Ending) -> AuditEntry:
    delivery, state = ending.delivery, ending.state
    event = "110104" if delivery.report.sop_class else "110106"
    details = {
        "destination": delivery.destination,
        "run": delivery.run_id,
        "report": delivery.report.uid,
        "kind": delivery.report.kind,
        "attempt": delivery.attempts,
        "answer": ending.answer[:_MOST],
    }
    kind = f"delivery.{state.value}"
    return AuditEntry(event, "R", OUTCOMES[state], kind, delivery.study_uid, details=details)
