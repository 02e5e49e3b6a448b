"""The node under test: the real `dictamen serve` in its own process, on loopback.

Writes node.yaml with free ports and short settle times, starts and stops the node, names its
processes and kills them with SIGKILL. It knows nothing of the node's inside but its contract:
node.yaml, /readyz, log lines, the command line, and the gateways of `storage`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config import load
from dicom_node import rooms
from dicom_node.demo.peers import free_port
from storage import Books, DeliveryState, Storage

ROOT = Path(__file__).resolve().parents[2]
KEY = "5b" * 32
UNSENT = (DeliveryState.WAITING, DeliveryState.SENDING)


class Gone(Exception):
    """The node ended although it should run, or did not become ready."""


def wait_for(true: Callable[[], Any], seconds: float, what: str, every: float = 0.1) -> Any:
    """The first true value; fails the test with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return found


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the mappings of `changes` laid over it, key by key."""
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        found[key] = merged(old, value) if both else value
    return found


class NodeUnderTest:
    """One node of a test; use it as a context manager, or start() and stop() it."""

    def __init__(
        self, folder: Path, *, database: str = "sqlite", changes: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.status_port = free_port(), free_port()
        self.log = folder / "node.log"
        self.file = folder / "node.yaml"
        self.key_file = folder / "audit.key"
        self.key_file.write_text(KEY)
        self.key_file.chmod(0o600)
        self.settings = merged(self._defaults(database), changes or {})
        self.environment: dict[str, str] = {}  # laid over the test's own
        self.write()
        self.process: subprocess.Popen[bytes] | None = None

    def _defaults(self, database: str) -> dict[str, Any]:
        return {
            "node": {
                "ae_title": "DICTAMEN",
                "listen": f"127.0.0.1:{self.port}",
                "status": f"127.0.0.1:{self.status_port}",
                "data_dir": str(self.folder / "data"),
                "database": database,
                "audit_key_file": str(self.key_file),
                "language": "en",
            },
            "intake": {
                "accept_from": [{"ae_title": "TRIALPACS", "host": "127.0.0.1"}],
                "disk_reserve": "10MiB",
                "log": "16MiB",
                "limits": {"stop": "15s"},
            },
            "processors": [
                {
                    "name": "chest",
                    "bundle": "chest",
                    "when": {"Modality": ["CR", "DX"], "BodyPartExamined": ["CHEST", None]},
                    "settle": {"quiet": "500ms", "longest": "20s"},
                    "send_to": [],
                }
            ],
            "workers": {"processes": 1, "device": "cpu", "lease": "4s", "timeout": "60s"},
            "destinations": {},
        }

    def write(self, **changes: Any) -> None:
        """Write node.yaml; `changes` are laid over the settings first (JSON is YAML)."""
        self.settings = merged(self.settings, changes)
        self.file.write_text(json.dumps(self.settings, indent=1, ensure_ascii=False))

    # ---- life ------------------------------------------------------------------------------
    def start(self, *, ready: bool = True) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node.cli", "serve", str(self.file)],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        if ready:
            self.until_ready()

    def until_ready(self, seconds: float = 60.0) -> None:
        def is_ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise Gone(f"the node ended at its start:\n{self.tail()}")
            return self.get("/readyz")[0] == 200

        try:
            wait_for(is_ready, seconds, "/readyz")
        except AssertionError as error:
            answer = self.get("/readyz")
            raise AssertionError(f"{error}: {answer}\n{self.tail()}") from None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the status port; (0, why) if nobody answers."""
        url = f"http://127.0.0.1:{self.status_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def stop(self, seconds: float = 30.0) -> int:
        """TERM; the exit status. Kills what does not end in time."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def kill_all(self) -> None:
        """SIGKILL to the supervisor; its processes must end with it."""
        assert self.process is not None
        children = list(self.pids())
        process, self.process = self.process, None
        process.kill()
        process.wait()
        wait_for(lambda: not any(map(alive, children)), 5, "the processes end with their node")

    def kill(self, role: str, number: int = 1) -> int:
        """SIGKILL to one process by its role; its pid."""
        pid = next(pid for pid, found in self.pids().items() if found == (role, number))
        os.kill(pid, signal.SIGKILL)
        return pid

    def pids(self) -> dict[int, tuple[str, int]]:
        """pid -> (role, number) of the processes that this start of the node has running."""
        started = {
            line["pid"]: (line["role"], line["number"]) for line in self.events("process.started")
        }
        return {pid: role for pid, role in started.items() if alive(pid)}

    def __enter__(self) -> NodeUnderTest:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- looking in ------------------------------------------------------------------------
    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The log lines, as far as they are JSON, of one event or of all."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if name is None or record.get("event") == name:
                    found.append(record)
        return found

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    @contextmanager
    def storage(self) -> Iterator[Storage]:
        """The node's memory, opened beside the node."""
        opened = rooms.storage(load(self.file, os.environ), "test")
        try:
            yield opened
        finally:
            opened.close()

    def books(self) -> Books:
        with self.storage() as storage:
            return storage.studies.books(None, None)

    def until_done(self, studies: int, seconds: float, *, sent: bool = True) -> Books:
        """Wait until so many studies have their result and (sent) nothing waits to be sent."""
        with self.storage() as storage:

            def done() -> Books | None:
                books = storage.studies.books(None, None)
                if books.received < studies or books.columns.get("waiting", 0):
                    return None
                unsent = [n for (_, s), n in storage.outbox.counts().items() if s in UNSENT]
                return None if sent and any(unsent) else books

            try:
                return wait_for(done, seconds, f"{studies} studies done")
            except AssertionError as error:
                state = (
                    storage.studies.books(None, None),
                    dict(storage.runs.counts()),
                    dict(storage.outbox.counts()),
                )
                raise AssertionError(f"{error}: {state}\n{self.tail()}") from None

    def cli(
        self, *words: str, check: int | None = 0, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """One command of the command line with this node's settings."""
        done = subprocess.run(
            [sys.executable, "-m", "dicom_node.cli", *words],
            cwd=ROOT,
            env={**os.environ, "DICTAMEN_CONFIG": str(self.file), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if check is not None:
            assert done.returncode == check, (
                f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
