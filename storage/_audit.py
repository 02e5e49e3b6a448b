"""The audit gateway: append, list, verify, export. Rows are never changed or removed.

Order is by sequence, never by time: a clock that goes back changes nothing. The chain itself
is `_chain`'s; the messages of PS3.15 A.5 are `_messages`'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from storage import _chain, _messages
from storage.database import Database
from storage.records import AuditEntry, AuditRecord
from storage.tables import audit_events, audit_head, studies

_PAGE = 1000
_MOST_NAMED = 300  # so many changed rows are looked up among each other for a new order


class Audit:
    """Append-only events under a keyed hash chain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, *entries: AuditEntry) -> None:
        """Append `entries` in one transaction."""
        self._database.write(lambda transaction: transaction.audit(*entries))

    def list(
        self,
        *,
        study_uid: str | None = None,
        kinds: Sequence[str] = (),
        after: int = 0,
        limit: int = 100,
    ) -> tuple[AuditRecord, ...]:
        """Events (of these kinds) by sequence, those after `after`; `limit` at most."""
        query = select(audit_events).where(audit_events.c.sequence > after)
        if study_uid is not None:
            query = query.where(audit_events.c.study_uid == study_uid)
        if kinds:
            query = query.where(audit_events.c.kind.in_(kinds))
        query = query.order_by(audit_events.c.sequence).limit(limit)
        with self._database.read() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def head(self) -> tuple[int, str]:
        """The newest sequence and hash: written down elsewhere, they prove later truncation."""
        with self._database.read() as connection:
            row = connection.execute(select(audit_head)).one_or_none()
            return (row.sequence, row.hash) if row is not None else (0, _chain.GENESIS)

    def verify(self, known: tuple[int, str] | None = None) -> tuple[str, ...]:
        """The faults of the chain, each naming its sequence; () if it is whole.

        known: a former `head()`; the chain must still contain it.
        """
        with self._database.read(snapshot=True) as connection:
            return _Check(connection, self._database.key).run(known)

    def export(self, fmt: Literal["dicom", "jsonl"], after: int = 0) -> Iterator[str]:
        """Every event after `after` as one line: an AuditMessage of PS3.15 A.5, or JSON."""
        while page := self._page(after):
            for record, patient in page:
                yield _messages.message(record, patient) if fmt == "dicom" else _json_line(record)
            after = page[-1][0].sequence

    def _page(self, after: int) -> Sequence[tuple[AuditRecord, str]]:
        query = (
            select(audit_events, studies.c.patient_id)
            .outerjoin_from(audit_events, studies, studies.c.uid == audit_events.c.study_uid)
            .where(audit_events.c.sequence > after)
            .order_by(audit_events.c.sequence)
            .limit(_PAGE)
        )
        with self._database.read() as connection:
            return [(_record(row), row.patient_id or "") for row in connection.execute(query)]


class _Check:
    """One walk along the chain."""

    def __init__(self, connection: Connection, key: bytes) -> None:
        self._connection, self._key = connection, key
        self._faults: list[tuple[int, str]] = []
        self._bad: dict[int, dict[str, Any]] = {}
        self._rows, self._last, self._hash = 0, 0, _chain.GENESIS

    def run(self, known: tuple[int, str] | None) -> tuple[str, ...]:
        rows = self._connection.execution_options(yield_per=_PAGE).execute(
            select(audit_events).order_by(audit_events.c.sequence)
        )
        for row in rows:
            self._row(dict(row._mapping), known)
        self._head()
        if known is not None and known[0] > self._last:
            self._fault(known[0], f"removed, or replaced: the chain once reached {known[0]}")
        self._name_the_changed()
        return tuple(text for _, text in sorted(self._faults))

    def _fault(self, sequence: int, what: str) -> None:
        self._faults.append((sequence, f"sequence {sequence}: {what}"))

    def _row(self, row: dict[str, Any], known: tuple[int, str] | None) -> None:
        sequence = row["sequence"]
        self._rows += 1
        if sequence > self._last + 1:
            self._missing(self._last + 1, sequence - 1)
        elif row["previous_hash"] != self._hash:
            self._fault(sequence, f"does not follow the row before it ({self._last})")
        if _chain.row_hash(self._key, row) != row["hash"]:
            self._bad[sequence] = row
        if known is not None and known[0] == sequence and known[1] != row["hash"]:
            self._fault(sequence, "is not the row it once was")
        self._last, self._hash = sequence, row["hash"]

    def _missing(self, first: int, last: int) -> None:
        what = "removed" if first == last else f"removed, and all up to {last}"
        self._fault(first, what)

    def _head(self) -> None:
        head = self._connection.execute(select(audit_head)).one_or_none()
        if head is None:
            self._fault(self._last, "the head that vouches for the newest row was removed")
            return
        if not _chain.head_is_ours(self._key, head.sequence, head.hash, head.mac):
            self._fault(head.sequence, "the head was changed, or the audit key is another one")
        elif head.sequence > self._last:
            self._missing(self._last + 1, head.sequence)
        elif head.sequence < self._last:
            self._fault(head.sequence + 1, "inserted after the newest row that we wrote")
        elif head.hash != self._hash:
            self._fault(head.sequence, "is not the row that the head vouches for")
        if self._last == head.sequence == 0 and self._studies():
            self._fault(1, "removed: there are studies and no audit at all")

    def _studies(self) -> int:
        return self._connection.scalar(select(func.count()).select_from(studies)) or 0

    def _name_the_changed(self) -> None:
        if len(self._bad) == self._rows > 1:
            self._fault(1, f"none of the rows up to {self._last} was written with this key")
            return
        others = self._bad if len(self._bad) <= _MOST_NAMED else {}
        for sequence, row in self._bad.items():
            was = next((s for s in others if self._written_as(row, s)), None)
            if was is not None:
                self._fault(sequence, f"re-ordered: it was written as sequence {was}")
            else:
                self._fault(sequence, "changed or inserted: its hash is not that of its content")

    def _written_as(self, row: dict[str, Any], sequence: int) -> bool:
        return bool(_chain.row_hash(self._key, {**row, "sequence": sequence}) == row["hash"])


def _record(row: Any) -> AuditRecord:
    return AuditRecord(
        sequence=row.sequence,
        at=datetime.fromisoformat(row.at),
        entry=_chain.entry_of(row),
        previous_hash=row.previous_hash,
        hash=row.hash,
    )


def _json_line(record: AuditRecord) -> str:
    entry = replace(record.entry, details=dict(record.entry.details))
    return json.dumps(
        {
            "sequence": record.sequence,
            "at": record.at.isoformat(),
            "event": entry.event,
            "kind": entry.kind,
            "action": entry.action,
            "outcome": entry.outcome,
            "study_uid": entry.study_uid,
            "who": entry.who,
            "details": entry.details,
            "previous_hash": record.previous_hash,
            "hash": record.hash,
        },
        ensure_ascii=False,
    )
