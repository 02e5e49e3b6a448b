"""The processes below a supervisor: started, started again when they end, stopped.

Knows processes and settings, no database and no study; what an end means is told to `on_end`.
A child gets the settings in force on standard input (see `dicom_node.child`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from config import Settings
from dicom_node import interpreter, memory, notices
from dicom_node.child import PARENT
from dicom_node.events import Event
from dicom_node.roles import Role

log = structlog.get_logger()
RESTART_FIRST, RESTART_MOST, PROVEN = 0.2, 10.0, 30.0  # back-off of a process that keeps ending


@dataclass(slots=True)
class Child:
    """One place for a process; `process` is None while it waits to be started again."""

    role: Role
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def owner(self) -> str:
        """As whom the process claims runs (see `dicom_node.worker.owner`)."""
        return f"{socket.gethostname()}:{self.process.pid if self.process else 0}"

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tell(self, number: int) -> None:
        if self.process is not None and self.runs():
            self.process.send_signal(number)


@dataclass(slots=True)
class Children:
    """All processes of a node. on_end: a child ended, and how in words."""

    on_end: Callable[[Child, str], None]
    _all: list[Child] = field(default_factory=list)
    _leaving: list[Child] = field(default_factory=list)

    def want(self, places: Sequence[tuple[Role, int]]) -> None:
        """Have exactly these processes; what is too many is asked to end."""
        kept = [child for child in self._all if (child.role, child.number) in places]
        gone = [child for child in self._all if child not in kept]
        there = {(child.role, child.number) for child in kept}
        new = [Child(role, number) for role, number in places if (role, number) not in there]
        self._all, self._leaving = [*kept, *new], [*self._leaving, *gone]
        for child in gone:
            child.tell(signal.SIGTERM)

    def renew(self, roles: Sequence[Role]) -> None:
        """Ask the processes of these roles to end; they are started again with new settings."""
        for child in self._all:
            if child.role in roles:
                child.tell(signal.SIGTERM)

    def tend(self, settings: Settings) -> None:
        """One look: what has ended is told and, after a pause that grows, started again."""
        now = time.monotonic()
        for child in [*self._all, *self._leaving]:
            if child.process is not None and not child.runs():
                self._ended(child, now)
        self._leaving = [child for child in self._leaving if child.process is not None]
        for child in self._all:
            if child.process is None and now >= child.not_before:
                _spawn(child, settings)

    def missing(self) -> list[str]:
        """The processes that do not run, in words, with the last of their own."""
        return [
            f"{c.role} {c.number} is not running" + _colon(c) for c in self._all if not c.runs()
        ]

    def hindered(self) -> list[str]:
        """What the processes that run say they go on without."""
        found = [(child, _colon(child)) for child in self._all if child.runs()]
        return [f"{child.role} {child.number}{words}" for child, words in found if words]

    def kill(self, owner: str) -> bool:
        """End the worker that claims runs under this name; False if it is none of ours."""
        for child in [*self._all, *self._leaving]:
            if child.role == "worker" and child.process is not None and child.owner == owner:
                child.process.kill()
                child.process.wait()
                return True
        return False

    def kill_all(self) -> None:
        for child in [*self._all, *self._leaving]:
            child.tell(signal.SIGKILL)

    def stop(self, seconds: float) -> int:
        """Ask all to end, wait, kill the late ones; how many had to be killed."""
        everyone = [child for child in [*self._all, *self._leaving] if child.process is not None]
        for child in everyone:
            child.tell(signal.SIGTERM)
        deadline, late = time.monotonic() + seconds, 0
        for child in everyone:
            late += _waited(child, deadline)
            self._ended(child, time.monotonic())
        return late

    def _ended(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process else 0
        how = f"ended with signal {-code}" if code < 0 else f"ended with status {code}"
        log.warning(Event.PROCESS_ENDED, role=child.role, number=child.number, how=how)
        child.failures = 0 if now - child.started > PROVEN else child.failures + 1
        wait = min(RESTART_MOST, RESTART_FIRST * 2 ** (child.failures - 1)) if child.failures else 0
        child.not_before = now + wait
        try:
            self.on_end(child, how)
        finally:
            child.process = None


def _colon(child: Child) -> str:
    words = notices.said(notices.place(child.role, child.number))
    return f": {words}" if words else ""


def _spawn(child: Child, settings: Settings) -> None:
    process = subprocess.Popen(
        interpreter.module("dicom_node.child", child.role),
        stdin=subprocess.PIPE,
        env={
            **(memory.KEPT if child.role == "worker" else {}),
            **os.environ,
            "OMP_NUM_THREADS": "1",  # one core a worker, or they take each other's
            "TCP_NODELAY": "1",
            PARENT: str(os.getpid()),
            notices.PLACE: notices.place(child.role, child.number),
        },
    )
    child.process, child.started = process, time.monotonic()
    if process.stdin is not None:
        try:
            process.stdin.write(settings.model_dump_json().encode())
            process.stdin.close()
        except BrokenPipeError:  # it ended at once; the next look sees it
            log.warning(Event.PROCESS_ENDED, role=child.role, number=child.number, how="at once")
    log.info(Event.PROCESS_STARTED, role=child.role, number=child.number, pid=process.pid)


def _waited(child: Child, deadline: float) -> bool:
    if child.process is None:
        return False
    try:
        child.process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
        return True
    return False
