"""Decides which error of this room a database driver's error stands for.

SQLite: result codes (sqlite.org/rescode.html). PostgreSQL: SQLSTATE (its manual, appendix A).
A driver's message may quote values of a row, that is, a patient's name: it never goes into
ours, only the code and its name do. What it says of a connection that never stood names no row:
that goes in, for "refused", "password" and "no such database" have three ways out.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from storage.errors import (
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageIOError,
    StorageReadOnly,
)


class Again(Exception):
    """This transaction met another one; it may simply be run once more.

    lasting: what to raise if it keeps happening.
    """

    def __init__(self, lasting: StorageError) -> None:
        super().__init__(str(lasting))
        self.lasting = lasting


RESTORE = (
    "Stop the node, move the file and its -wal and -shm aside, run `dictamen db restore` with "
    "the newest backup, and start again; the stored objects are untouched."
)
_SQLITE: dict[int, type[StorageError]] = {
    sqlite3.SQLITE_BUSY: StorageBusy,
    sqlite3.SQLITE_LOCKED: StorageBusy,
    sqlite3.SQLITE_CANTOPEN: StorageBusy,
    sqlite3.SQLITE_PROTOCOL: StorageBusy,
    sqlite3.SQLITE_FULL: StorageFull,
    sqlite3.SQLITE_READONLY: StorageReadOnly,
    sqlite3.SQLITE_PERM: StorageReadOnly,
    sqlite3.SQLITE_IOERR: StorageIOError,
    sqlite3.SQLITE_CORRUPT: StorageCorrupt,
    sqlite3.SQLITE_NOTADB: StorageCorrupt,
}
_POSTGRESQL: dict[str, type[StorageError]] = {
    "53100": StorageFull,
    "25006": StorageReadOnly,
    "42501": StorageReadOnly,
    "58030": StorageIOError,
    "XX001": StorageCorrupt,
    "XX002": StorageCorrupt,
}
_MEET_AGAIN = {"40001", "40P01", "23505"}  # serialisation, deadlock, unique key
_REACH = "Is the server up, and are host, port, name, user and password right?"
_THEN: dict[type[StorageError], str] = {
    StorageBusy: "Try again; if it stays, see who holds it.",
    StorageFull: "Free space on its disk.",
    StorageReadOnly: "Make it writable for this user.",
    StorageIOError: "Check the disk and restart.",
    StorageCorrupt: RESTORE,
}


def fate(error: DBAPIError, name: str) -> Exception:
    """The error to raise for `error` of the database called `name`."""
    cause = error.orig
    state = getattr(cause, "sqlstate", None)
    then = None
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) or 0
        said = getattr(cause, "sqlite_errorname", "") or type(cause).__name__
        kind = _SQLITE.get(code & 0xFF, StorageError)
    elif state:
        said, kind = f"SQLSTATE {state}", _postgresql(state)
    else:
        said, kind, then = _no_connection(error), StorageBusy, _REACH
    found = kind(f"{name}: {said}.", then=then or _THEN.get(kind, ""))
    if isinstance(error, IntegrityError):
        found = StorageError(f"{name}: a rule of the tables was broken ({said}).")
    return Again(found) if state in _MEET_AGAIN else found


def _no_connection(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    if not isinstance(error, OperationalError) or not lines:
        return "no connection"
    return f"no connection ({lines[0].removeprefix('connection failed: ').rstrip('. ')})"


def _postgresql(state: str) -> type[StorageError]:
    if state[:2] in {"08", "53", "55", "57"}:
        return _POSTGRESQL.get(state, StorageBusy)
    return _POSTGRESQL.get(state, StorageError)
