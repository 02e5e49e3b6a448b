"""Starts, watches and stops the processes of a node; health; the clock.

Crash-only: the supervisor may be killed too; its children end with it and the next start takes up
what was in hand. It never touches a study itself: leases and retention are functions of
`dicom_node.clock` that APScheduler calls, settling has a thread of its own (`settling`). A database
that is away for a while must not end it: the intake goes on answering A700, and everything is tried
again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from config import Settings, SettingsError, load
from dicom_node import clock, intake, notices, ports, product, rooms, rules, status
from dicom_node.children import Child, Children
from dicom_node.events import Event
from dicom_node.intake import tls
from dicom_node.roles import Role
from dicom_node.settling import Settling
from processors import ProcessorError
from storage import AuditEntry, Storage, StorageError

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

log = structlog.get_logger()
WATCH_EVERY = 1.0
RETENTION_EVERY = 3600.0
ORPHANS_EVERY = 5.0
_FIXED = ("data_dir", "database", "audit_key_file", "status")  # of node: changed by a restart only


class StartError(Exception):
    """The node cannot start; nothing was left half-started."""


@dataclass(slots=True)
class Supervisor:
    """One node.

    load: reads node.yaml again when a HUP comes. verify: raises what a bundle's loader raises if
    the settings name a model that cannot be used; gives up when the event is set.
    """

    settings: Settings
    load: Callable[[], Settings]
    verify: Callable[[Settings, threading.Event], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    _reload: threading.Event = field(default_factory=threading.Event)
    _children: Children = field(init=False)
    _storage: Storage = field(init=False)
    _watch: clock.LeaseWatch = field(init=False)

    def serve(self) -> int:
        """Run the node until TERM; 0 if everything drained in time, 1 if something was killed."""
        check_ports(self.settings)
        check_mllp_port(self.settings)
        check_tls_port(self.settings)
        check_stow(self.settings)
        node = self.settings.node
        rooms.make_data_dir(self.settings)
        _alone(node.data_dir)
        rooms.make_database(self.settings)
        self._storage = rooms.storage(self.settings, "supervisor", check=True)
        self._watch = _lease_watch(self.settings)
        self._children = Children(self._child_ended)
        with (
            tempfile.TemporaryDirectory(prefix="dictamen-metrics-") as metrics_dir,
            tempfile.TemporaryDirectory(prefix="dictamen-notices-") as notices_dir,
        ):
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
            os.environ[notices.FOLDER] = notices_dir
            self._hear()
            self._open_the_door()
            if self.stopping.is_set():  # TERM came while the models were looked at
                late = self._stop_all()
                self._storage.close()
                return late
            self._children.want(_places(self.settings))  # before readiness can be asked
            health = status.Health(self.reasons, self.hindrances)
            server = status.serve(node.status, self._storage, health, metrics_dir)
            scheduler = self._clock()
            settling = Settling(self._storage, lambda: self.settings, self.stopping)
            settles = threading.Thread(target=settling.run, args=(_guarded,), name="settling")
            settles.start()
            self._audit("110100", kind="110120", version=product.VERSION)
            tend = _guarded("tend", self._tend)
            try:
                tend()
                while not self.stopping.wait(0.1):
                    tend()
                return self._stop_all()
            finally:
                scheduler.shutdown(wait=False)
                self.stopping.set()
                settles.join()
                server.shutdown()
                self._audit("110100", kind="110121", version=product.VERSION)
                self._storage.close()

    def reasons(self) -> list[str]:
        """Why the node is not ready; empty if it is."""
        found = self._children.missing() + intake.not_ready(self.settings.node.data_dir)
        reports_door = _mllp_port(self.settings)
        if reports_door and not ports.why_taken(reports_door):
            found.append(f"inbox: nobody listens on {reports_door} yet")
        reserve = self.settings.intake.disk_reserve
        try:
            free = self._storage.spool.free_bytes()
            if free < reserve:
                found.append(f"free disk {free} bytes is below intake.disk_reserve {reserve}")
        except StorageError as error:
            found.append(f"disk: {error}")
        try:
            self._storage.runs.counts()
        except StorageError as error:
            found.append(f"database: {error}")
        return found

    def hindrances(self) -> list[str]:
        """What the node goes on without, though it does its work."""
        return self._children.hindered()

    # ---- start and watch --------------------------------------------------------------------
    def _open_the_door(self) -> None:
        """Start the intake, and look at all else while it starts: senders wait for it alone.

        Raises what `verify` raises; then nothing is left running, and what came is durable.
        """
        self._children.want([("intake", 1)])
        self._children.tend(self.settings)
        try:
            self._take_up()
            self.verify(self.settings, self.stopping)
        except BaseException:
            self._children.stop(self.settings.intake.limits.stop)
            self._storage.close()
            raise

    def _take_up(self) -> None:
        """What a node that ended without a word left behind."""
        door = self.settings.intake
        recovered = intake.recover(
            self._storage, on_conflict=door.on_conflict, quarantine=door.quarantine
        )
        log.info(Event.NODE_RECOVERED, **{k: len(v) for k, v in recovered.as_lists().items()})
        me = socket.gethostname()
        for run in self._storage.runs.running():
            host, _, pid = run.owner.rpartition(":")
            if host == me and not _alive(int(pid)):
                self._watch.died(self._storage, run.owner, "the node ended while it ran")

    def _tend(self) -> None:
        if self._reload.is_set():
            self._reload.clear()
            self._take_new_settings()
        self._children.tend(self.settings)

    def _child_ended(self, child: Child, how: str) -> None:
        if child.role == "worker" and self.stopping.is_set():
            self._give_back(child.owner)
        elif child.role == "worker":
            self._watch.died(self._storage, child.owner, f"its worker {how}")

    def _take_new_settings(self) -> None:
        """HUP: settings that cannot be used leave the old ones in force."""
        try:
            new = self.load()
            moved = [n for n in _FIXED if getattr(new.node, n) != getattr(self.settings.node, n)]
            if moved:
                raise StartError(f"node.{', node.'.join(moved)} can change only at a restart")
            check_ports(new, ("listen",), self.settings)
            check_mllp_port(new, _mllp_port(self.settings))
            check_tls_port(new, _tls_port(self.settings))
            check_stow(new, _stow_port(self.settings))
            self.verify(new, self.stopping)
        except (SettingsError, StartError, ProcessorError) as error:
            log.error(Event.SETTINGS_REFUSED, problems=str(error))
            self._audit("110113", 8, "110131", settings=str(error))
            return
        old, self.settings = self.settings, new
        self._watch = replace(  # what it has seen of workers and runs still holds
            self._watch,
            lease=new.workers.lease,
            timeout=new.workers.timeout,
            max_attempts=new.workers.max_attempts,
        )
        self._audit("110113", kind="110131", settings="taken over")
        log.info(Event.SETTINGS_RELOADED)
        self._children.want(_places(new))
        # certificates and tokens may have been renewed below the same name
        files = new.intake.tls or new.intake.stow
        same_door = (old.node, old.intake) == (new.node, new.intake) and not files
        doors: tuple[Role, ...] = () if same_door else ("intake", "inbox")
        self._children.renew(("worker", "courier", *doors))

    # ---- stop -------------------------------------------------------------------------------
    def _stop_all(self) -> int:
        log.info(Event.NODE_STOPPING)
        late = self._children.stop(self.settings.intake.limits.stop)
        log.info(Event.NODE_STOPPED, killed=late)
        return 1 if late else 0

    def _give_back(self, owner: str) -> None:
        try:
            for run in self._storage.runs.running():
                if run.owner == owner:
                    self._storage.runs.give_back(run)
        except StorageError as error:  # its lease runs out after the next start
            log.warning(Event.CLOCK_STORAGE, tick="give back", error=type(error).__name__)

    # ---- clock, signals, audit --------------------------------------------------------------
    def _clock(self) -> BackgroundScheduler:
        # here: it looks for plug-ins in all that is installed, and the door is open by now
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 60},
            timezone=UTC,
        )
        ticks: list[tuple[str, Callable[[], object], float]] = [
            ("leases", self._look_at_leases, WATCH_EVERY),
            ("retention", self._purge, RETENTION_EVERY),
            ("unknown processors", self._set_aside, ORPHANS_EVERY),
        ]
        for name, tick, seconds in ticks:
            scheduler.add_job(_guarded(name, tick), "interval", seconds=seconds, id=name)
        scheduler.start()
        return scheduler

    def _look_at_leases(self) -> None:
        self._watch.look(self._storage, self._children.kill)

    def _set_aside(self) -> None:
        clock.set_aside_unknown(self._storage, self.settings)

    def _purge(self) -> None:
        clock.purge(self._storage, self.settings, datetime.now(UTC))

    def _hear(self) -> None:
        def stop(number: int, _: object) -> None:
            if self.stopping.is_set():
                self._children.kill_all()
                os._exit(128 + number)
            self.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, lambda *_: self._reload.set())

    def _audit(self, event: str, outcome: int = 0, kind: str = "", **details: str) -> None:
        try:
            self._storage.audit.append(AuditEntry(event, "E", outcome, kind, details=details))
        except StorageError as error:
            log.warning(Event.CLOCK_STORAGE, tick="audit", error=type(error).__name__)


def _alone(data_dir: Path) -> int:
    """Take the lock of this data_dir until the process ends. Raises StartError.

    Two nodes would take each other's runs and log of arrivals.
    """
    place = data_dir / "node.lock"
    try:
        lock = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StartError(f"node.data_dir: {place}: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise StartError(f"node.data_dir: {place}: {error.strerror}.") from error
        raise StartError(
            f"node.data_dir: another node works in {data_dir}. "
            "End it first, or give this one a folder and a database of its own."
        ) from error
    return lock


def check_ports(
    settings: Settings,
    keys: Sequence[str] = ("listen", "status"),
    running: Settings | None = None,
) -> None:
    """Raises StartError naming the port if another program listens where we must.

    running: the settings in force; here and below, where we listen now is ours.
    """
    for key in keys:
        ours = getattr(running.node, key) if running else ""
        _check_door(f"node.{key}", getattr(settings.node, key), ours)


def check_mllp_port(settings: Settings, running: str = "") -> None:
    """Raises StartError naming the port of the door for reports if another program has it."""
    if address := _mllp_port(settings):
        _check_door("intake.mllp.listen", address, running)


def check_tls_port(settings: Settings, running: str = "") -> None:
    """Raises StartError naming the port for DICOM with TLS if another program has it, or why its
    certificate cannot be used.
    """
    if settings.intake.tls is None:
        return
    _check_door("intake.tls.listen", settings.intake.tls.listen, running)
    try:
        tls.context(settings.intake.tls)
    except tls.TlsUnusable as error:
        raise StartError(str(error)) from error


def _check_door(key: str, address: str, running: str) -> None:
    if why := ports.why_taken(address, running):
        raise StartError(f"{key}: cannot listen on {address} ({why}). {ports.way_out(why)}")


def _tls_port(settings: Settings) -> str:
    return settings.intake.tls.listen if settings.intake.tls else ""


def check_stow(settings: Settings, running: str = "") -> None:
    """Raises StartError if the door for images by web cannot open: its port, or its files."""
    door = settings.intake.stow
    if door is None:
        return
    from dicom_node import stow  # a web server: only where there is this door

    try:
        stow.open_keys(door)
    except stow.KeysError as error:
        raise StartError(str(error)) from error
    _check_door("intake.stow.listen", door.listen, running)


def _stow_port(settings: Settings) -> str:
    return settings.intake.stow.listen if settings.intake.stow else ""


def _mllp_port(settings: Settings) -> str:
    return settings.intake.mllp.listen if settings.intake.mllp else ""


def _places(settings: Settings) -> list[tuple[Role, int]]:
    workers: list[tuple[Role, int]] = [
        ("worker", number + 1) for number in range(worker_count(settings))
    ]
    doors: list[tuple[Role, int]] = [("inbox", 1)] if settings.intake.mllp else []
    return [("intake", 1), *doors, ("courier", 1), *workers]


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
