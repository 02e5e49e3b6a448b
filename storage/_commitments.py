"""The commitments gateway: whether a destination has taken responsibility for a delivery.

A row exists for each delivery that its destination was to commit to (PS3.4 annex J). It is wanted
when the delivery was recorded, asked under a transaction UID, and then committed or not; what a
peer does not commit to is sent again, a few times. One process asks; anybody may tell what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from storage._plain import text
from storage.database import Database, Transaction
from storage.records import (
    AuditEntry,
    Commitment,
    CommitmentState,
    CommitmentTold,
    DeliveryState,
    Uncommitted,
)
from storage.tables import commitments, deliveries, reports

OPEN = (CommitmentState.WANTED, CommitmentState.ASKED)
AGAIN = {  # of a delivery that is sent once more, as if for the first time
    "state": DeliveryState.WAITING, "attempts": 0, "first_try": None, "ended_at": None,
}  # fmt: skip


class Commitments:
    """Commitments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, destination: str, now: datetime, limit: int = 100) -> tuple[Uncommitted, ...]:
        """What is to be asked for now, the oldest first: never asked, or asked and not told."""
        query = (
            select(commitments, reports.c.uid, reports.c.sop_class)
            .join_from(commitments, deliveries)
            .join(reports)
            .where(commitments.c.destination == destination)
            .where(commitments.c.state.in_(OPEN), commitments.c.next_try <= now)
            .where(deliveries.c.state == DeliveryState.DELIVERED)
            .order_by(commitments.c.delivery_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(
            Uncommitted(row.delivery_id, row.sop_class, row.uid, row.asked) for row in rows
        )

    def asking(self, delivery_ids: Sequence[int], transaction_uid: str, until: datetime) -> None:
        """They are about to be asked for together; without a report they are due at `until`."""

        def work(transaction: Transaction) -> None:
            values = {
                "state": CommitmentState.ASKED,
                "transaction_uid": transaction_uid,
                "asked": commitments.c.asked + 1,
                "next_try": until,
            }
            mine = commitments.c.delivery_id.in_(delivery_ids), commitments.c.state.in_(OPEN)
            transaction.connection.execute(update(commitments).where(*mine).values(values))

        self._database.write(work)

    def not_asked(
        self, transaction_uid: str, until: datetime, answer: str, *, counts: bool
    ) -> None:
        """The peer did not take the question; it is put again at `until`. counts: it was asked."""

        def work(transaction: Transaction) -> None:
            values: dict[str, Any] = {"next_try": until, "answer": text(answer)[:1000]}
            if not counts:
                values["asked"] = commitments.c.asked - 1
            mine = (
                commitments.c.transaction_uid == transaction_uid,
                commitments.c.state == CommitmentState.ASKED,
            )
            transaction.connection.execute(update(commitments).where(*mine).values(values))

        self._database.write(work)

    def told(
        self, transaction_uid: str, committed: Sequence[str], failed: Mapping[str, int], most: int
    ) -> CommitmentTold | None:
        """A report came: SOP Instance UIDs that are safe there, others with their reason.

        What failed is sent again, unless it failed `most` times: then a person must look. None if
        the last request of no commitment was this transaction. What the report leaves out stays
        as it is; a report counts also when it was no longer expected.
        """

        def work(transaction: Transaction) -> CommitmentTold | None:
            rows = _of(transaction, transaction_uid)
            if not rows:
                return None
            safe, again, refused, kept = 0, 0, 0, frozenset(committed)
            for row in rows:
                if row.uid in failed:
                    ended = row.refused + 1 >= most
                    refused, again = refused + ended, again + (not ended)
                    _failed(transaction, row, failed[row.uid], ended=ended)
                elif row.uid in kept:
                    safe += 1
                    _end(transaction, row, CommitmentState.COMMITTED, "committed")
            return CommitmentTold(rows[0].destination, safe, again, refused)

        return self._database.write(work)

    def missing(self, delivery_ids: Sequence[int]) -> int:
        """No report came, however often it was asked: a person must look. Returns how many."""

        def work(transaction: Transaction) -> int:
            query = _with_study().where(
                commitments.c.delivery_id.in_(delivery_ids), commitments.c.state.in_(OPEN)
            )
            rows = transaction.connection.execute(query).all()
            for row in rows:
                words = f"no report after {row.asked} requests; {row.answer}".rstrip("; ")
                _end(transaction, row, CommitmentState.MISSING, words)
            return len(rows)

        return self._database.write(work)

    def of(self, delivery_ids: Sequence[int]) -> Mapping[int, Commitment]:
        """What is known of these deliveries; one that needs no commitment is left out."""
        query = select(commitments).where(commitments.c.delivery_id.in_(delivery_ids))
        with self._database.read() as connection:
            return {
                row.delivery_id: Commitment(
                    CommitmentState(row.state), row.asked, row.refused, row.answer
                )
                for row in connection.execute(query)
            }

    def counts(self) -> Mapping[tuple[str, CommitmentState], int]:
        """How many deliveries of each destination are in each state."""
        key = (commitments.c.destination, commitments.c.state)
        query = select(*key, func.count()).group_by(*key)
        with self._database.read() as connection:
            return {(row[0], CommitmentState(row[1])): row[2] for row in connection.execute(query)}


def want(transaction: Transaction, delivery_id: int, destination: str) -> None:
    """A delivery was stored there: ask for its commitment, anew if it was sent again."""
    values = {
        "delivery_id": delivery_id, "destination": destination, "state": CommitmentState.WANTED,
        "transaction_uid": "", "asked": 0, "refused": 0, "next_try": transaction.now,
        "ended_at": None, "answer": "",
    }  # fmt: skip
    if not transaction.insert_missing(commitments, values):
        del values["refused"]  # how often the peer failed to keep it counts on
        mine = commitments.c.delivery_id == delivery_id
        transaction.connection.execute(update(commitments).where(mine).values(values))


def _with_study() -> Any:
    return (
        select(commitments, deliveries.c.study_uid, reports.c.uid)
        .join_from(commitments, deliveries)
        .join(reports)
    )


def _of(transaction: Transaction, transaction_uid: str) -> Sequence[Row[Any]]:
    query = _with_study().where(
        commitments.c.transaction_uid == transaction_uid,
        commitments.c.state.in_((CommitmentState.ASKED, CommitmentState.MISSING)),
    )
    return transaction.connection.execute(query.order_by(commitments.c.delivery_id)).all()


def _failed(transaction: Transaction, row: Row[Any], reason: int, *, ended: bool) -> None:
    words = f"not committed: 0x{reason:04X}"
    mine = commitments.c.delivery_id == row.delivery_id
    counted = update(commitments).where(mine).values(refused=commitments.c.refused + 1)
    transaction.connection.execute(counted)
    if ended:
        _end(transaction, row, CommitmentState.REFUSED, words)
        return
    waiting = update(commitments).where(mine).values(state=CommitmentState.WANTED, answer=words)
    transaction.connection.execute(waiting)
    again = update(deliveries).where(
        deliveries.c.id == row.delivery_id, deliveries.c.state == DeliveryState.DELIVERED
    )
    transaction.connection.execute(again.values({**AGAIN, "next_try": transaction.now}))
    transaction.audit(_entry(row, 4, "commitment.failed", f"{words}; sent again"))


def _end(transaction: Transaction, row: Row[Any], state: CommitmentState, words: str) -> None:
    mine = commitments.c.delivery_id == row.delivery_id
    values = {"state": state, "ended_at": transaction.now, "answer": words[:1000]}
    transaction.connection.execute(update(commitments).where(mine).values(values))
    outcome = 0 if state is CommitmentState.COMMITTED else 8
    transaction.audit(_entry(row, outcome, f"commitment.{state.value}", words))


def _entry(row: Row[Any], outcome: int, kind: str, words: str) -> AuditEntry:
    details = {
        "destination": row.destination, "delivery": row.delivery_id, "report": row.uid,
        "transaction": row.transaction_uid, "answer": words,
    }  # fmt: skip
    return AuditEntry("110104", "R", outcome, kind, row.study_uid, details=details)
