"""The receiving processes: started, started again when they end, stopped.

They share one listening socket, which is open before the first of them and outlives each: what
waits in its backlog is lost with none, and whoever is free takes the next connection. Each has a
lane of the log of its own and no database. What a process that ended had made durable and not told
is found in its lane and filed before its place is taken again.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field

import structlog

from config.settings import Settings
from dicom_node import interpreter
from dicom_node.intake import post
from dicom_node.intake.board import ROWS, Board
from dicom_node.intake.clerk import Clerk
from dicom_node.intake.events import EventName
from storage import Lane

MODULE, PARENT = "dicom_node.receiver", "DICTAMEN_INTAKE"
BACK_OFF_FIRST, BACK_OFF_MOST, PROVEN = 0.2, 10.0, 30.0  # of a process that keeps ending
# of glibc: what many threads took is given back when their associations end
_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
GRACE = 5.0  # seconds beyond limits.stop until a process that does not end is killed

log = structlog.get_logger()
Listeners = tuple[socket.socket, socket.socket | None]  # the plain port's, and that of TLS


def count(settings: Settings) -> int:
    """How many processes receive. auto: one a core that we may use, at least two."""
    wanted = settings.intake.processes
    return min(ROWS - 1, max(2, len(os.sched_getaffinity(0)))) if wanted == "auto" else wanted


def lanes(settings: Settings) -> int:
    """How many lanes the log has: one each, and the last one for the web door."""
    return count(settings) + (settings.intake.stow is not None)


def segment_size(settings: Settings) -> int:
    """Of each segment in each lane, in bytes."""
    return settings.intake.log // (Lane.SEGMENTS * lanes(settings))


@dataclass(slots=True)
class _Hand:
    """One place for a process; `process` is None while it waits to be started again.

    door: which kind of receiver, as `dicom_node.receiver` knows it.
    """

    lane: int
    door: str
    listeners: Listeners
    answers: socket.socket
    theirs: socket.socket
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Crew:
    """All receiving processes of a node. Call it from the main thread: they end with the thread
    that started them. listeners: for DICOM; web: for STOW-RS, where it is configured.
    """

    settings: Settings
    listeners: Listeners
    web: socket.socket | None
    writes: socket.socket
    answers: dict[int, socket.socket]
    board: Board
    clerk: Clerk
    _hands: list[_Hand] = field(default_factory=list)

    def run(self, stopping: threading.Event) -> None:
        """Tend the processes and let the clerk file until `stopping` is set, then see them out."""
        doors = [("dicom", self.listeners)] * count(self.settings)
        doors += [("web", (self.web, None))] if self.web else []
        for lane, (door, listeners) in enumerate(doors):
            ours, theirs = post.pair()
            self.answers[lane] = ours
            self._hands.append(_Hand(lane, door, listeners, ours, theirs))
        try:
            while not stopping.is_set():
                self._tend()
                self.clerk.turn()
            self._see_out()
        finally:
            for hand in self._hands:
                if hand.process is not None and hand.process.poll() is None:
                    hand.process.kill()
                    hand.process.wait()
                hand.theirs.close()
        for hand in self._hands:
            self._found(hand)
        self.clerk.finish()

    def _tend(self) -> None:
        now = time.monotonic()
        for hand in self._hands:
            if hand.process is not None and hand.process.poll() is not None:
                self._ended(hand, now)
            if hand.process is None and now >= hand.not_before:
                self._start(hand)
        self.clerk.readiness.crew(all(hand.process is not None for hand in self._hands))

    def _start(self, hand: _Hand) -> None:
        both = [one for one in hand.listeners if one is not None]
        passed = (both[0], self.writes, hand.theirs)
        descriptors = [*(one.fileno() for one in passed), self.board.descriptor]
        descriptors += [one.fileno() for one in both[1:]]
        numbers = [str(one) for one in (hand.lane, *descriptors)]
        words = interpreter.module(MODULE, hand.door, *numbers)
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, pass_fds=descriptors,
            env={**os.environ, **_MEMORY, PARENT: str(os.getpid())},
        )  # fmt: skip
        hand.process, hand.started = process, time.monotonic()
        if process.stdin is not None:
            try:
                process.stdin.write(self.settings.model_dump_json().encode())
                process.stdin.close()
            except BrokenPipeError:  # it ended at once; the next look sees it
                log.warning(EventName.RECEIVER_ENDED, number=hand.lane, how="at once")
        log.info(EventName.RECEIVER_STARTED, number=hand.lane, pid=process.pid)

    def _ended(self, hand: _Hand, now: float) -> None:
        code = hand.process.returncode if hand.process else 0
        how = f"ended with signal {-code}" if code < 0 else f"ended with status {code}"
        log.warning(EventName.RECEIVER_ENDED, number=hand.lane, how=how)
        hand.failures = 0 if now - hand.started > PROVEN else hand.failures + 1
        wait = BACK_OFF_FIRST * 2 ** (hand.failures - 1) if hand.failures > 1 else 0.0
        hand.not_before = now + min(BACK_OFF_MOST, wait)
        hand.process = None
        self._found(hand)

    def _found(self, hand: _Hand) -> None:
        self.board.clear(hand.lane)
        self.clerk.lost(hand.lane)

    def _see_out(self) -> None:
        for hand in self._hands:
            if hand.process is not None:
                hand.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self.settings.intake.limits.stop + GRACE
        while time.monotonic() < until and any(_runs(hand) for hand in self._hands):
            self.clerk.turn()


def _runs(hand: _Hand) -> bool:
    return hand.process is not None and hand.process.poll() is None
