"""Whether instances can be stored now, and if not, why: kept in a small file for the supervisor.

`data_dir/intake.status` is JSON, replaced atomically whenever something changes:
{"ready", "restart": bool, "reasons": [text], "at": time, "pid": number}.
Since a read-only
disk keeps the file from being written, `status` looks at the disk itself too.
Trouble heals by itself, found out by a trial file, except for an I/O error: then what the kernel
says about later writes is not believed and a restart is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from config.settings import Settings
from dicom_node.intake.board import Board
from dicom_node.intake.events import EventName
from dicom_node.intake.post import Trouble
from storage import (
    LogFull,
    Spool,
    StorageError,
    StorageFull,
    StorageIOError,
    StorageReadOnly,
)

if TYPE_CHECKING:  # SQL: a receiving process has none
    from storage import Storage

FILE = "intake.status"
DISK_LOW = "free disk space is below intake.disk_reserve"
DISK_FULL = "the disk is full"
READ_ONLY = "the disk is read-only"
IO_ERROR = "the disk reported an I/O error; restart the intake and look at the disk"
FILES = "no file can be made; look at the folder and at the limit of open files"
DATABASE = "the database cannot be written"
LOG_FULL = "the log of arrivals is full: filing is behind"
CREW = "a receiving process is not running"
STOPPING = "stopping"
STARTING = "the intake has not started"

_OF_FILES = (DISK_FULL, READ_ONLY, FILES)
_STALLS = (DATABASE, DISK_FULL, READ_ONLY, IO_ERROR, LOG_FULL)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IntakeStatus:
    """reasons: why no instance is taken now. restart: only a new process can help."""

    ready: bool
    reasons: tuple[str, ...] = ()
    restart: bool = False


def status(data_dir: Path) -> IntakeStatus:
    """What the intake of this data_dir says of itself; from any process."""
    try:
        said = json.loads((data_dir / FILE).read_text())
        reasons = [str(reason) for reason in said["reasons"]]
        restart = bool(said["restart"])
    except (OSError, ValueError, KeyError, TypeError):
        return IntakeStatus(False, (STARTING,))
    with contextlib.suppress(OSError):
        if os.statvfs(data_dir).f_flag & os.ST_RDONLY and READ_ONLY not in reasons:
            reasons.append(READ_ONLY)
    return IntakeStatus(not reasons, tuple(reasons), restart)


def not_ready(data_dir: Path) -> list[str]:
    """The reasons for readiness to say no; empty if the intake takes instances."""
    return [f"intake: {reason}" for reason in status(data_dir).reasons]


class Room:
    """Whether an instance may be begun now, as one receiving process sees it."""

    def __init__(
        self, settings: Settings, spool: Spool, board: Board, tell: Callable[[Trouble], None]
    ) -> None:
        self._reserve = settings.intake.disk_reserve
        self._spool, self._board, self._tell = spool, board, tell

    def why_not(self) -> str:
        """Why no instance may be begun now, or ""."""
        try:
            low = self._spool.free_bytes() < self._reserve
        except (OSError, StorageError):
            return IO_ERROR
        if low:
            return DISK_LOW
        stalled = self._board.stalled  # nothing more while what was answered cannot be filed
        return _STALLS[stalled - 1] if stalled else ""

    def trouble(self, error: StorageError) -> str:
        """Take note of a failure; the reason that readiness will name. Nothing here is a row."""
        reason = FILES if (reason := _reason(error)) == DATABASE else reason
        self._tell(Trouble(reason))
        return reason


def _reason(error: StorageError) -> str:
    reasons = {StorageFull: DISK_FULL, StorageReadOnly: READ_ONLY, StorageIOError: IO_ERROR}
    return LOG_FULL if isinstance(error, LogFull) else reasons.get(type(error), DATABASE)


class Readiness:
    """Remembers trouble, tries whether it is over, and keeps the status file true."""

    def __init__(
        self, settings: Settings, storage: Storage, board: Board, on_event: Callable[[str], None]
    ) -> None:
        self._board = board
        self._folder: Path = settings.node.data_dir
        self._reserve = settings.intake.disk_reserve
        self._storage, self._on_event = storage, on_event
        self._lock = threading.Lock()
        self._reasons: dict[str, None] = {}
        self._written: tuple[str, ...] | None = None

    def heard(self, trouble: Trouble) -> None:
        """What a receiving process said."""
        self._set(trouble.reason, True)

    def stalled(self, error: StorageError) -> None:
        """What was answered cannot be filed now."""
        reason = _reason(error)
        self._board.stalled = _STALLS.index(reason) + 1
        self._set(reason, True)

    def filed(self) -> None:
        """Instances were filed: whatever was wrong with the disk or the database is over."""
        self._board.stalled = 0
        if self._reasons:
            for reason in (DISK_FULL, READ_ONLY, FILES, DATABASE, LOG_FULL):
                self._set(reason, False)

    def crew(self, complete: bool) -> None:
        """Whether all receiving processes run."""
        self._set(CREW, not complete)

    def stopping(self) -> None:
        self._set(STOPPING, True)

    def look(self) -> None:
        """Try whether trouble is over; called now and then, and may block on a slow disk."""
        with contextlib.suppress(OSError, StorageError):
            self._set(DISK_LOW, self._storage.spool.free_bytes() < self._reserve)
        if not self._board.stalled:  # else the next try to file tells
            self._set(LOG_FULL, False)
            if DATABASE in self._reasons:
                with contextlib.suppress(StorageError):
                    self._storage.studies.is_ours("0.0")
                    self._set(DATABASE, False)
            if not self._reasons.keys().isdisjoint(_OF_FILES):
                self._try_disk()
        self._write()

    def _try_disk(self) -> None:
        try:
            trial = self._storage.spool.incoming()
        except StorageError:
            return
        try:
            trial.write(bytes(1 << 16))
        except StorageError:
            return
        finally:
            trial.discard()
        for reason in _OF_FILES:
            self._set(reason, False)

    def _set(self, reason: str, present: bool) -> None:
        with self._lock:
            if present == (reason in self._reasons):
                return
            if present:
                self._reasons[reason] = None
            else:
                del self._reasons[reason]
            now = tuple(self._reasons)
        if now:
            log.error(EventName.NOT_READY, reasons=now)
            self._on_event(EventName.NOT_READY)
        else:
            log.info(EventName.READY)
            self._on_event(EventName.READY)
        self._write()

    def _write(self) -> None:
        with self._lock:
            now = tuple(self._reasons)
            if now == self._written:
                return
            said = {
                "ready": not now,
                "reasons": now,
                "restart": IO_ERROR in now,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "pid": os.getpid(),
            }
            fresh = self._folder / f"{FILE}.{os.getpid()}"
            try:  # on a full disk the file cannot be replaced; `status` sees that for itself
                fresh.write_text(json.dumps(said) + "\n")
                fresh.replace(self._folder / FILE)
                self._written = now
            except OSError:
                with contextlib.suppress(OSError):
                    fresh.unlink(missing_ok=True)
