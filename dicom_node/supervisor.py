"""Starts, watches and stops the processes of a node; health; the clock.

Crash-only: the supervisor may be killed too; its children end with it and the next start takes up
what was in hand. It never touches a study itself: settling, leases and retention are functions of
`dicom_node.clock` that APScheduler calls.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

import storage as storage_room
from config import Settings, SettingsError, load
from dicom_node import clock, intake, ports, product, rooms, rules, status
from dicom_node.events import Event
from dicom_node.roles import Role
from storage import AuditEntry, Storage, StorageError

log = structlog.get_logger()
SETTLE_EVERY = 0.25  # seconds; a study's quiet time is longer
WATCH_EVERY = 1.0
RESTART_FIRST, RESTART_MOST, PROVEN = 0.2, 10.0, 30.0  # back-off of a process that keeps ending


class StartError(Exception):
    """The node cannot start; nothing was left half-started."""


@dataclass(slots=True)
class _Child:
    role: Role
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def owner(self) -> str:
        return f"{socket.gethostname()}:{self.process.pid if self.process else 0}"


@dataclass(slots=True)
class Supervisor:
    """One node. `load` reads node.yaml again when a HUP comes."""

    settings: Settings
    load: Callable[[], Settings]
    stopping: threading.Event = field(default_factory=threading.Event)
    _reload: threading.Event = field(default_factory=threading.Event)
    _children: list[_Child] = field(default_factory=list)
    _storage: Storage = field(init=False)
    _watch: clock.LeaseWatch = field(init=False)

    def serve(self) -> int:
        """Run the node until TERM; 0 if everything drained in time."""
        check_ports(self.settings)
        node = self.settings.node
        node.data_dir.mkdir(parents=True, exist_ok=True)
        storage_room.upgrade(node.database_url)
        self._storage = rooms.storage(self.settings, "supervisor", check=True)
        self._watch = _lease_watch(self.settings)
        self._take_up()
        with tempfile.TemporaryDirectory(prefix="dictamen-metrics-") as metrics_dir:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
            server = status.serve(node.status, self._storage, self.reasons, metrics_dir)
            scheduler = self._clock()
            self._hear()
            self._audit_activity("110120")
            self._spawn_all()
            try:
                while not self.stopping.wait(0.1):
                    self._tend()
                return self._stop_all()
            finally:
                scheduler.shutdown(wait=False)
                server.shutdown()
                self._audit_activity("110121")
                self._storage.close()

    def reasons(self) -> list[str]:
        """Why the node is not ready; empty if it is."""
        found = [
            f"{child.role} {child.number} is not running"
            for child in self._children
            if child.process is None or child.process.poll() is not None
        ]
        found += intake.not_ready(self.settings.node.data_dir)
        free, reserve = self._storage.spool.free_bytes(), self.settings.intake.disk_reserve
        if free < reserve:
            found.append(f"free disk {free} bytes is below intake.disk_reserve {reserve}")
        try:
            self._storage.runs.counts()
        except StorageError as error:
            found.append(f"database: {error}")
        return found

    # ---- start ------------------------------------------------------------------------------
    def _take_up(self) -> None:
        """What a node that ended without a word left behind (PS3.15 audit: recovered)."""
        recovered = intake.recover(self._storage)
        log.info(Event.NODE_RECOVERED, **{k: len(v) for k, v in recovered.as_lists().items()})
        me = socket.gethostname()
        for run in self._storage.runs.running():
            host, _, pid = run.owner.rpartition(":")
            if host == me and not _alive(int(pid)):
                self._watch.died(self._storage, run.owner, "the node ended while it ran")

    def _spawn_all(self) -> None:
        wanted: list[tuple[Role, int]] = [("intake", 1), ("courier", 1)]
        wanted += [("worker", n + 1) for n in range(worker_count(self.settings))]
        self._children = [_Child(role, number) for role, number in wanted]
        for child in self._children:
            self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicom_node.roles", child.role],
            stdin=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TCP_NODELAY": "1"},
        )
        if process.stdin is None:
            raise StartError("a process without standard input")
        process.stdin.write(self.settings.model_dump_json().encode())
        process.stdin.close()
        child.process, child.started = process, time.monotonic()
        log.info(Event.PROCESS_STARTED, role=child.role, number=child.number, pid=process.pid)

    # ---- watch ------------------------------------------------------------------------------
    def _tend(self) -> None:
        if self._reload.is_set():
            self._reload.clear()
            self._take_new_settings()
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, now)
            if child.process is None and now >= child.not_before:
                self._spawn(child)

    def _ended(self, child: _Child, now: float) -> None:
        code = child.process.returncode if child.process else 0
        how = f"ended with signal {-code}" if code < 0 else f"ended with status {code}"
        log.warning(Event.PROCESS_ENDED, role=child.role, number=child.number, how=how)
        if child.role == "worker":
            self._watch.died(self._storage, child.owner, f"its worker {how}")
        child.failures = 0 if now - child.started > PROVEN else child.failures + 1
        wait = min(RESTART_MOST, RESTART_FIRST * 2 ** (child.failures - 1)) if child.failures else 0
        child.process, child.not_before = None, now + wait

    def _kill(self, owner: str) -> bool:
        """End a worker from outside, whatever it does."""
        for child in self._children:
            if child.role == "worker" and child.process and child.owner == owner:
                child.process.kill()
                child.process.wait()
                return True
        return False

    def _take_new_settings(self) -> None:
        """HUP: a broken file leaves the old settings in force."""
        try:
            new = self.load()
        except SettingsError as error:
            self._refuse_settings(str(error))
            return
        fixed = ("data_dir", "database", "audit_key_file", "status")
        moved = [n for n in fixed if getattr(new.node, n) != getattr(self.settings.node, n)]
        if moved:
            self._refuse_settings(f"node.{', node.'.join(moved)} can change only at a restart")
            return
        old, self.settings = self.settings, new
        self._watch = _lease_watch(new)
        self._audit_settings(0, "taken over")
        log.info(Event.SETTINGS_RELOADED)
        same_door = (old.node, old.intake) == (new.node, new.intake)
        for child in self._children:
            if child.process and not (child.role == "intake" and same_door):
                child.process.send_signal(signal.SIGTERM)

    def _refuse_settings(self, why: str) -> None:
        log.error(Event.SETTINGS_REFUSED, problems=why)
        self._audit_settings(8, why)

    # ---- stop -------------------------------------------------------------------------------
    def _stop_all(self) -> int:
        log.info(Event.NODE_STOPPING)
        for child in self._children:
            if child.process:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.settings.intake.limits.stop
        late = 0
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                late += 1
                child.process.kill()
                child.process.wait()
            if child.role == "worker":
                self._give_back(child.owner)
        log.info(Event.NODE_STOPPED, killed=late)
        return 0

    def _give_back(self, owner: str) -> None:
        for run in self._storage.runs.running():
            if run.owner == owner:
                self._storage.runs.give_back(run)

    # ---- clock, signals, audit --------------------------------------------------------------
    def _clock(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 60},
            timezone=UTC,
        )
        ticks: list[tuple[str, Callable[[], object], float]] = [
            ("settle", self._settle, SETTLE_EVERY),
            ("leases", lambda: self._watch.look(self._storage, self._kill), WATCH_EVERY),
            ("retention", self._purge, 3600.0),
        ]
        for name, tick, seconds in ticks:
            scheduler.add_job(_guarded(name, tick), "interval", seconds=seconds, id=name)
        scheduler.start()
        return scheduler

    def _settle(self) -> None:
        clock.settle(self._storage, self.settings, datetime.now(UTC))

    def _purge(self) -> None:
        clock.purge(self._storage, self.settings, datetime.now(UTC))

    def _hear(self) -> None:
        def stop(number: int, _: object) -> None:
            if self.stopping.is_set():
                for child in self._children:
                    if child.process:
                        child.process.kill()
                os._exit(128 + number)
            self.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, lambda *_: self._reload.set())

    def _audit_activity(self, kind: str) -> None:
        self._storage.audit.append(
            AuditEntry("110100", "E", kind=kind, details={"version": product.VERSION})
        )

    def _audit_settings(self, outcome: int, what: str) -> None:
        self._storage.audit.append(
            AuditEntry("110113", "E", outcome, kind="110131", details={"settings": what})
        )


def check_ports(settings: Settings, keys: Sequence[str] = ("listen", "status")) -> None:
    """Raises StartError naming the port if another program listens where we must."""
    for key in keys:
        address = getattr(settings.node, key)
        if why := ports.why_taken(address):
            raise StartError(
                f"node.{key}: cannot listen on {address} ({why}). "
                "End the other program, or choose another port."
            )


def worker_count(settings: Settings) -> int:
    """auto: all cores but one, which stays for intake, courier and database."""
    wanted = settings.workers.processes
    return max(1, (os.cpu_count() or 2) - 1) if wanted == "auto" else wanted


def _lease_watch(settings: Settings) -> clock.LeaseWatch:
    workers = settings.workers
    return clock.LeaseWatch(workers.lease, workers.timeout, workers.max_attempts)


def _guarded(name: str, tick: Callable[[], object]) -> Callable[[], None]:
    """A tick that fails is logged and comes again: edge of the clock's loop."""

    def run() -> None:
        try:
            tick()
        except StorageError as error:
            log.warning(Event.CLOCK_STORAGE, tick=name, error=type(error).__name__)
        except Exception:
            log.exception(Event.CLOCK_CRASHED, tick=name)

    return run


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reread(path: Path) -> Settings:
    """node.yaml as it is now; raises SettingsError with every problem."""
    return load(path, os.environ, check_rule=rules.faults)
