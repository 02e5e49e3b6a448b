"""Brings the schema to the newest migration, one process at a time, all or nothing.

SQLite also gets its WAL mode here and nowhere else: two processes that switch a new file at once
can fail with "database is locked" whatever the time-out.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from storage import database
from storage._fates import Again, fate
from storage.errors import StorageError, StorageNewer, StorageOutdated, from_os

HEAD = "0005"
_ADVISORY = 0x6469637461  # any constant of ours: names the lock in PostgreSQL


def upgrade(
    url: str, *, objects: Path | None = None, revision: str = HEAD, busy_timeout: float = 60.0
) -> None:
    """Create or upgrade the database at `url`; at once done if it is up to date.

    Safe to call at every start, by several processes at once. objects: the folder of received
    images; none is made beside images that it does not know. revision: only tests name one.
    Raises StorageNewer, StorageCorrupt, StorageBusy and their like.
    """
    made = database.engine(make_url(url), busy_timeout)
    name = database.name(made.url)
    try:
        if objects is not None and _holds_files(objects) and _is_new(made):
            raise StorageError(
                f"{name} is new, but {objects} holds received images: it is not their database.",
                then="Mount or restore theirs (`dictamen db restore`). If it is lost for good: "
                "`dictamen db upgrade --adopt` begins anew, and they are judged and sent again.",
            )
        with _alone(made), made.execution_options(immediate=True).begin() as connection:
            _migrate(connection, revision, name)
    except (DBAPIError, sqlite3.Error) as error:
        met = error if isinstance(error, DBAPIError) else DBAPIError("", None, error)
        found = fate(met, name)
        raise (found.lasting if isinstance(found, Again) else found) from error
    finally:
        made.dispose()


def _holds_files(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _is_new(made: Engine) -> bool:
    """Whether there is no schema yet. Makes nothing."""
    if made.dialect.name == "sqlite":
        file = Path(str(made.url.database))
        if not file.exists() or not file.stat().st_size:
            return True
    with made.connect() as connection:
        return current(connection) is None


def current(connection: Connection) -> str | None:
    """The revision of the schema; None if there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def check(connection: Connection, name: str) -> None:
    """Raises StorageOutdated unless the schema is the one this program knows."""
    found = current(connection)
    if found == HEAD:
        return
    _refuse_newer(found, name)
    what = "has no tables yet" if found is None else f"has schema {found}, older than {HEAD}"
    raise StorageOutdated(f"{name} {what}.", then="Run `dictamen db upgrade`.")


def _refuse_newer(found: str | None, name: str) -> None:
    if found is not None and found > HEAD:
        raise StorageNewer(
            f"{name} has schema {found}, newer than this program's {HEAD}.",
            then="Install the newer dictamen, or restore the backup made before its upgrade.",
        )


def _migrate(connection: Connection, revision: str, name: str) -> None:
    found = current(connection)
    if found == revision:
        return
    _refuse_newer(found, name)
    from alembic import command  # not at every start
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@contextmanager
def _alone(made: Engine) -> Iterator[None]:
    if made.dialect.name == "sqlite":
        with _file_lock(Path(str(made.url.database))):
            _create(Path(str(made.url.database)))
            _write_ahead(made)
            yield
        return
    with made.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY})


@contextmanager
def _file_lock(database_file: Path) -> Iterator[None]:
    lock = database_file.with_name(database_file.name + ".upgrade-lock")
    try:
        database_file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise from_os(error, lock) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _create(database_file: Path) -> None:
    """The file names patients: not for all to read, and SQLite gives its mode to -wal and -shm."""
    try:
        os.close(os.open(database_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    except OSError as error:
        raise from_os(error, database_file) from error


def _write_ahead(made: Engine) -> None:
    connection = made.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()
    finally:
        connection.close()
