"""Remembers studies, runs, deliveries and the audit trail, and keeps the files.

In: a database URL (SQLite, or PostgreSQL), a folder, the key of the audit chain. Out: six
gateways (`studies`, `runs`, `outbox`, `inbox`, `agreements`, `audit`) that speak in the frozen
records of `storage.records`, a `spool` whose files survive a power cut, and the log of arrivals
(`Lane` writes, `Arrivals` reads), where what comes in is durable after one flush. One method is one
transaction; every change of a state carries its audit event in the same one. Uniqueness does the
work of locks, a claim's number is the fence behind which its result is taken, and no time of day
decides who owns what. `upgrade` makes or migrates the schema; `backup` and `restore` copy it.
Never: a session, a row or a table leaves this room; no DICOM network, no HL7, no model, no
patient's name in a message or an audit event. Open it after a fork, not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from storage.arrivals import Arrivals, pending
from storage.errors import (
    LeaseLost,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageIOError,
    StorageNewer,
    StorageOutdated,
    StorageReadOnly,
)
from storage.lane import Draft, Lane, LogFull
from storage.records import (
    Added,
    AddedAs,
    AgreementRecord,
    AuditEntry,
    AuditRecord,
    Books,
    Commitment,
    CommitmentState,
    CommitmentTold,
    Delivery,
    DeliveryState,
    DraftFound,
    EndedRun,
    Ending,
    Identity,
    MessageKind,
    MessageRecord,
    MessageState,
    NewInstance,
    NewMessage,
    NewReport,
    PlannedRun,
    ReportRecord,
    Run,
    RunState,
    StoredInstance,
    StudyRecord,
    StudyState,
    Taken,
    TakenAs,
    Uncommitted,
)
from storage.segments import Place, Record, lane_of
from storage.spool import Incoming, Spool

if TYPE_CHECKING:
    from storage._backup import backup, restore
    from storage._storage import Storage, open_storage
    from storage._upgrade import upgrade

# loaded when asked for: a process that only receives has no database
_WITH_SQL = {
    "Storage": "_storage",
    "backup": "_backup",
    "open_storage": "_storage",
    "restore": "_backup",
    "upgrade": "_upgrade",
}


def __getattr__(name: str) -> object:
    if name not in _WITH_SQL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"storage.{_WITH_SQL[name]}"), name)


__all__ = [
    "Added",
    "AddedAs",
    "AgreementRecord",
    "Arrivals",
    "AuditEntry",
    "AuditRecord",
    "Books",
    "Commitment",
    "CommitmentState",
    "CommitmentTold",
    "Delivery",
    "DeliveryState",
    "Draft",
    "DraftFound",
    "EndedRun",
    "Ending",
    "Identity",
    "Incoming",
    "Lane",
    "LeaseLost",
    "LogFull",
    "MessageKind",
    "MessageRecord",
    "MessageState",
    "NewInstance",
    "NewMessage",
    "NewReport",
    "Place",
    "PlannedRun",
    "Record",
    "ReportRecord",
    "Run",
    "RunState",
    "Spool",
    "Storage",
    "StorageBusy",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageIOError",
    "StorageNewer",
    "StorageOutdated",
    "StorageReadOnly",
    "StoredInstance",
    "StudyRecord",
    "StudyState",
    "Taken",
    "TakenAs",
    "Uncommitted",
    "backup",
    "lane_of",
    "open_storage",
    "pending",
    "restore",
    "upgrade",
]
