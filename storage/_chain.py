"""Decides how one audit event hangs on the one before it. Knows hashes, not what happened.

Each row's hash is HMAC-SHA256 over its canonical JSON with the hash of the row before. The head
is one row with the newest sequence and hash under a MAC of its own, so that cutting rows off
the end shows. It is locked last in every transaction: whoever holds it holds nothing else back
but other appends. A head whose MAC is wrong is never silently continued: the next row names no
predecessor, which `verify` reports for ever. What no chain in one database can show is the
return to an older, then genuine state of rows and head together: keep `Audit.head()` elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from storage._plain import canonical, text
from storage.records import AuditEntry
from storage.tables import audit_events, audit_head

GENESIS = "0" * 64
BROKEN = "!" * 64  # predecessor of a row that was appended to a head we had not written
_FIELDS = ("sequence", "at", "event", "kind", "action", "outcome", "study_uid", "who", "details")

_HEAD = select(audit_head).with_for_update()
_APPEND = insert(audit_events)
_MOVE = update(audit_head).values({name: bindparam(name) for name in ("sequence", "hash", "mac")})


def row_hash(key: bytes, row: Mapping[str, Any]) -> str:
    """The hash that `row` (columns of audit_events) must carry."""
    content = {name: row[name] for name in (*_FIELDS, "previous_hash")}
    return hmac.new(key, b"row\n" + canonical(content).encode(), hashlib.sha256).hexdigest()


def head_mac(key: bytes, sequence: int, newest: str) -> str:
    """The MAC under which the head vouches for its sequence and hash."""
    return hmac.new(key, f"head\n{sequence}\n{newest}".encode(), hashlib.sha256).hexdigest()


def head_is_ours(key: bytes, sequence: int, newest: str, mac: str) -> bool:
    """Whether we wrote this head; a new database has one that nobody wrote yet."""
    if sequence == 0:
        return newest == GENESIS and mac == ""
    return hmac.compare_digest(mac, head_mac(key, sequence, newest))


def append(
    connection: Connection, key: bytes, entries: Sequence[AuditEntry], who: str, at: datetime
) -> None:
    """Append `entries` in this order. Call it last in the transaction: it takes the head's lock."""
    if not entries:
        return
    head = connection.execute(_HEAD).one_or_none()
    sequence, newest = _start(connection, key, head)
    rows = []
    for entry in entries:
        sequence += 1
        row = _row(sequence, entry, who, at, newest)
        newest = row["hash"] = row_hash(key, row)
        rows.append(row)
    connection.execute(_APPEND, rows)
    values = {"sequence": sequence, "hash": newest, "mac": head_mac(key, sequence, newest)}
    if head is None:
        connection.execute(insert(audit_head).values(id=1, **values))
    else:
        connection.execute(_MOVE, values)


def _start(connection: Connection, key: bytes, head: Any) -> tuple[int, str]:
    if head is not None and head_is_ours(key, head.sequence, head.hash, head.mac):
        return head.sequence, head.hash
    last = connection.scalar(select(func.max(audit_events.c.sequence))) or 0
    return max(last, head.sequence if head is not None else 0), BROKEN


def _row(sequence: int, entry: AuditEntry, who: str, at: datetime, previous: str) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "at": at.isoformat(timespec="microseconds"),
        "event": entry.event,
        "kind": entry.kind,
        "action": entry.action,
        "outcome": entry.outcome,
        "study_uid": entry.study_uid,
        "who": text(entry.who or who),  # a title of a peer, or what somebody typed
        "details": canonical(entry.details),
        "previous_hash": previous,
    }


def entry_of(row: Any) -> AuditEntry:
    """The event that a row of audit_events holds."""
    return AuditEntry(
        event=row.event,
        action=row.action,
        outcome=row.outcome,
        kind=row.kind,
        study_uid=row.study_uid,
        who=row.who,
        details=json.loads(row.details),
    )
