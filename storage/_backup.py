"""Copies the database into one folder while the node runs, and back while it does not.

The copy holds the database and a listing of the spool; with `files`, the spool's files too. A
restore writes only where nothing is, and says which listed files are missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from storage.database import utc_now
from storage.errors import StorageCorrupt, StorageError
from storage.spool import FOLDERS, Spool

_SQLITE, _POSTGRESQL = "dictamen.db", "dictamen.dump"
_LISTING, _LABEL = "spool.jsonl", "backup.json"


def backup(url: str, data_dir: Path, target: Path, *, files: bool = False) -> Path:
    """Copy the database at `url` into the new or empty folder `target`, which is returned.

    files: copy the spool's files too, not only their listing. Raises StorageError.
    """
    where = make_url(url)
    if where.get_backend_name() == "sqlite" and not Path(str(where.database)).exists():
        raise StorageError(f"{where.database} does not exist.", then="There is nothing to back up.")
    _fresh(target)
    if where.get_backend_name() == "sqlite":
        copy = target / _SQLITE
        _copy_sqlite(Path(str(where.database)), copy)
    else:
        copy = target / _POSTGRESQL
        _create(copy)
        _run("pg_dump", where, "--format=custom", f"--file={copy}")
    _list(Spool(Path(data_dir) / "spool"), target, files)
    label = {"database": copy.name, "sha256": _digest(copy), "made_at": utc_now().isoformat()}
    (target / _LABEL).write_text(json.dumps(label, indent=1) + "\n", encoding="utf-8")
    return target


def restore(source: Path, url: str, data_dir: Path) -> tuple[str, ...]:
    """Bring a backup back to `url` and `data_dir`; returns the listed files that are missing.

    Raises StorageError if anything is there already, StorageCorrupt if the copy is damaged.
    """
    label = _label(source)
    copy, where = source / label["database"], make_url(url)
    if _digest(copy) != label["sha256"]:
        raise StorageCorrupt(f"{copy} is not what was backed up.", then="Use another backup.")
    for relative, size in _listed(source):
        kept = source / "spool" / relative
        if kept.exists() and kept.stat().st_size != size:
            raise StorageCorrupt(f"{kept} is not what was backed up.", then="Use another backup.")
    sqlite = where.get_backend_name() == "sqlite"
    if sqlite != (copy.name == _SQLITE):
        raise StorageError(f"{copy} is of another kind of database than {where.drivername}.")
    if sqlite:
        _restore_sqlite(copy, Path(str(where.database)))
    else:
        _restore_postgresql(copy, where)
    return _restore_files(source, Spool(Path(data_dir) / "spool"))


def _fresh(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is not an empty folder.", then="Name a new one.")
    target.mkdir(mode=0o750, parents=True, exist_ok=True)


def _create(file: Path) -> None:
    """An empty file that is not for all to read: what goes into it names patients."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))


def _label(source: Path) -> Mapping[str, str]:
    try:
        label: Mapping[str, str] = json.loads((source / _LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{source} holds no backup: {error}.") from error
    if label.get("database") not in (_SQLITE, _POSTGRESQL):
        raise StorageError(f"{source / _LABEL} names no database of ours.")
    return label


def _copy_sqlite(source: Path, target: Path) -> None:
    """The online backup: a copy of one moment, while others write."""
    _create(target)
    try:
        with _opened(source) as from_, _opened(target) as to:
            from_.backup(to)
            found = to.execute("PRAGMA integrity_check(1)").fetchone()[0]
            to.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
    except sqlite3.Error as error:
        raise StorageCorrupt(f"{source} could not be copied: {error}.") from error
    if found != "ok":
        raise StorageCorrupt(f"{source} is damaged ({found}).", then="Use an older backup.")


class _opened:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _restore_sqlite(copy: Path, target: Path) -> None:
    leftovers = [target.with_name(target.name + end) for end in ("", "-wal", "-shm")]
    for file in leftovers:
        if file.exists() and (file.name != target.name or file.stat().st_size):
            raise StorageError(f"{file} exists.", then="Move it aside first; nothing was changed.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".restoring")
    temporary.unlink(missing_ok=True)
    _create(temporary)
    shutil.copyfile(copy, temporary)
    with _opened(temporary) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    with temporary.open("rb") as file_:
        os.fsync(file_.fileno())
    temporary.replace(target)


def _restore_postgresql(copy: Path, where: URL) -> None:
    answer = _run(
        "psql", where, "-XAtc", "SELECT count(*) FROM pg_tables WHERE schemaname='public'"
    )
    if answer.strip() != "0":
        raise StorageError(
            f"{where.render_as_string()} has tables.", then="Restore into an empty database."
        )
    _run("pg_restore", where, "--single-transaction", "--no-owner", "--exit-on-error", str(copy))


def _run(tool: str, where: URL, *arguments: str) -> str:
    """One of PostgreSQL's tools; the password goes by its environment, never by its arguments."""
    program = shutil.which(tool) or _installed(tool)
    if program is None:
        raise StorageError(f"{tool} is not installed.", then="Install PostgreSQL's client tools.")
    plain = URL.create(
        "postgresql", where.username, None, where.host, where.port, where.database, where.query
    ).render_as_string()
    environment = {**os.environ, "PGPASSWORD": where.password or ""}
    database = [] if tool == "psql" else [f"--dbname={plain}"]
    first = [plain] if tool == "psql" else []
    done = subprocess.run(
        [program, *first, *database, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StorageError(f"{tool}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _installed(tool: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"))
    return str(found[-1]) if found else None


def _list(spool: Spool, target: Path, files: bool) -> None:
    with (target / _LISTING).open("w", encoding="utf-8") as listing:
        for folder in FOLDERS:
            for relative in spool.listing(folder):
                path = spool.path(relative)
                try:
                    size = path.stat().st_size
                    if files:
                        copy = target / "spool" / relative
                        copy.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                        _create(copy)
                        shutil.copyfile(path, copy)
                except FileNotFoundError:
                    continue  # removed meanwhile by retention: no row names it any more
                listing.write(json.dumps({"path": relative, "size": size}) + "\n")


def _restore_files(source: Path, spool: Spool) -> tuple[str, ...]:
    missing = []
    for relative, _ in _listed(source):
        copy = source / "spool" / relative
        if copy.exists() and not spool.path(relative).exists():
            folder, _, name = relative.partition("/")
            spool.write(folder, name, copy.read_bytes())
        if not spool.path(relative).exists():
            missing.append(relative)
    return tuple(missing)


def _listed(source: Path) -> Iterator[tuple[str, int]]:
    """The files of the spool at the time of the backup, with their sizes."""
    try:
        with (source / _LISTING).open(encoding="utf-8") as listing:
            for line in listing:
                found = json.loads(line)
                yield found["path"], found["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageCorrupt(
            f"{source / _LISTING} cannot be read.", then="Use another backup."
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
