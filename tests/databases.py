"""A private PostgreSQL server for tests: made from nothing, on loopback, gone afterwards.

Not a fixture, so that tests of any room can use it: `with private_postgres() as server`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from storage import upgrade

_INSTALLED = Path("/usr/lib/postgresql")
_USER = "dictamen"
PASSWORD = "an ordinary pass/word"  # must be quoted in a URL: tests that it is


@dataclass(frozen=True)
class Server:
    """A running cluster. `url()` makes a new, empty database of it."""

    port: int
    programs: Path
    _ready: list[str] = field(default_factory=list)

    def url(self, *, upgraded: bool = False) -> str:
        """The SQLAlchemy URL of a new database: empty, or with the newest tables."""
        name = f"t{uuid.uuid4().hex}"
        if not upgraded:
            self.run("createdb", name)
            return self._url(name)
        if not self._ready:
            self.run("createdb", "ready")
            upgrade(self._url("ready"))
            self._ready.append("ready")
        self.run("createdb", "--template=ready", name)
        return self._url(name)

    def _url(self, name: str) -> str:
        password = quote(PASSWORD, safe="")
        return f"postgresql+psycopg://{_USER}:{password}@127.0.0.1:{self.port}/{name}"

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """One of the client tools against this server."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", _USER]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(
            [self.programs / program, *where, *arguments],
            env=environment,
            check=True,
            capture_output=True,
        )


def missing() -> str:
    """Why no server can be started here; '' if one can."""
    programs = _programs()
    if programs is None:
        return f"PostgreSQL's server is not installed under {_INSTALLED} (Debian: postgresql)"
    if os.geteuid() == 0 and not _has_postgres_user():
        return "PostgreSQL does not run as root, and there is no user postgres to run it"
    return ""


@contextmanager
def private_postgres() -> Iterator[Server]:
    """Start a cluster in a temporary folder on a free port; stop and remove it at the end."""
    why = missing()
    programs = _programs()
    if why or programs is None:
        raise RuntimeError(why)
    folder = Path(tempfile.mkdtemp(prefix="dictamen-postgres-"))
    try:
        port = _free_port()
        _initialise(programs, folder)
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            "-c max_connections=60 -c shared_buffers=16MB"
        )
        control = [programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
        _as_postgres([*control, "-o", options, "start"])
        try:
            yield Server(port, programs)
        finally:
            _as_postgres([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(programs: Path, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, "postgres")
    initdb = [programs / "initdb", "-D", folder / "data", "-U", _USER, f"--pwfile={password}"]
    _as_postgres([*initdb, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])


def _as_postgres(command: list[str | Path]) -> None:
    whole = [str(part) for part in command]
    if os.geteuid() == 0:
        whole = ["runuser", "-u", "postgres", "--", *whole]
    # output to nowhere: the server inherits it, and a pipe that it holds would never end
    done = subprocess.run(
        whole, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False, cwd="/", timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{whole} ended with {done.returncode}")


def _programs() -> Path | None:
    found = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _has_postgres_user() -> bool:
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
