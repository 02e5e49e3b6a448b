"""Opens the database and runs one transaction at a time; tells its errors apart by fate.

SQLite: WAL, synchronous=FULL (one flush per commit, nothing answered is lost at a power cut),
BEGIN IMMEDIATE for writes (a read that turns into a write could fail half-way), threads of one
process take turns before the file's lock. PostgreSQL: READ COMMITTED, lock time-out. Audit
events of a transaction are appended at its very end, so that the head's lock is always last.
Open it after fork, never before. Never hands a connection out of this room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from storage import _chain, _plain
from storage._fates import Again, fate
from storage.errors import StorageBusy, StorageError
from storage.records import AuditEntry

T = TypeVar("T")
Clock = Callable[[], datetime]
_TURNS = 6  # how often a transaction that met another one at a unique key is run


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Transaction:
    """One transaction under way: its connection, its time, and the events it will append."""

    connection: Connection
    now: datetime
    key: bytes
    entries: list[AuditEntry] = field(default_factory=list)

    def audit(self, *entries: AuditEntry) -> None:
        """Append these events when the transaction commits."""
        self.entries.extend(entries)

    def insert_missing(self, table: Table, values: dict[str, Any]) -> bool:
        """Insert unless a unique key already holds such a row; whether it was inserted."""
        statement = _insert_missing(table, self.connection.dialect.name)
        return self.connection.execute(statement, values).rowcount == 1

    def insert_all_missing(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert those that no unique key holds yet."""
        self.connection.execute(_insert_missing(table, self.connection.dialect.name), rows)


@cache
def _insert_missing(table: Table, name: str) -> Insert:
    dialect = sqlite if name == "sqlite" else postgresql
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


class Database:
    """One engine for one process; `write` and `read` are the only ways in."""

    def __init__(
        self, url: str, key: bytes, who: str, busy_timeout: float, clock: Clock = utc_now
    ) -> None:
        self.url: URL = make_url(url)
        self.key, self.who, self.clock = key, who, clock
        self._busy = busy_timeout
        self._turn = threading.Lock()
        self.engine = engine(self.url, busy_timeout)
        self._writer = self.engine.execution_options(immediate=True)
        self._snapshots = self.engine
        if self.url.get_backend_name() == "postgresql":  # SQLite's reads see one moment anyway
            self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ")

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction; run it anew if it met another one at the same rows."""
        turn = 0
        while True:
            try:
                with self._one_at_a_time():
                    return self._write(work)
            except Again as met:
                turn += 1
                if turn == _TURNS:
                    raise met.lasting from None
                time.sleep(0.005 * turn)

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A connection for reading; snapshot: all reads see one moment."""
        reader = self._snapshots if snapshot else self.engine
        with self._translated(), reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @property
    def name(self) -> str:
        """How messages call the database."""
        return name(self.url)

    def _write(self, work: Callable[[Transaction], T]) -> T:
        with self._translated(), self._writer.begin() as connection:
            transaction = Transaction(connection, self.clock(), self.key)
            result = work(transaction)
            _chain.append(connection, self.key, transaction.entries, self.who, transaction.now)
            return result

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if self.url.get_backend_name() != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=self._busy):
            raise StorageBusy(f"{self.name} was locked for {self._busy:g} s.", then="Try again.")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise fate(error, self.name) from None  # a driver's text quotes rows
        except SQLAlchemyError as error:
            raise _unreachable(error, self.name) from error


def name(url: URL) -> str:
    """How messages call the database: its file, or its URL without the password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def _unreachable(error: SQLAlchemyError, name: str) -> StorageError:
    if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
        return StorageBusy(f"{name}: no connection was free in time.", then="Try again.")
    return StorageError(f"{name}: {error}")


def engine(url: URL, busy_timeout: float) -> Engine:
    """The engine for `url` with this room's settings on every connection."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, busy_timeout)
    if not find_spec("psycopg"):
        raise StorageError(
            "PostgreSQL's driver is not installed.", then="pip install 'dictamen[postgres]'"
        )
    milliseconds = int(busy_timeout * 1000)
    options = f"-c lock_timeout={milliseconds} -c timezone=UTC -c synchronous_commit=on"
    return create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,
        pool_timeout=busy_timeout,
        json_serializer=_plain.dumps,
        connect_args={"options": options, "connect_timeout": max(2, int(busy_timeout))},
    )


def _sqlite_engine(url: URL, busy_timeout: float) -> Engine:
    made = create_engine(
        url,
        pool_timeout=busy_timeout,
        hide_parameters=True,
        json_serializer=_plain.dumps,
        connect_args={"timeout": busy_timeout},
    )

    @event.listens_for(made, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return made
