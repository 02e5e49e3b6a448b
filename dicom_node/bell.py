"""Wakes other processes of this node: a datagram on a local socket below data_dir.

Whoever has put something into the database rings; who waits for it looks at once and need not poll.
A ring says "look", and may name a study; what is true stands in the database alone. So a lost ring
(nobody listens yet, a full socket, another machine) costs the time until the next look by the
clock, and never work. Never: a wait for the other side, an error for the one who rings.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import structlog

from dicom_node.events import Event

log = structlog.get_logger()
_LONGEST = 256  # bytes of a ring: a UID has 64
_AGAIN = 0.5  # seconds in which a listener whose node ends notices it


class Topic(StrEnum):
    """What a ring is about, from the one who made it to the one who waits."""

    ARRIVED = "arrived"  # intake -> clock: instances were filed, or an association was released
    PLANNED = "planned"  # clock -> workers: runs wait
    FILED = "filed"  # workers -> courier: reports wait


def ring(data_dir: Path, topic: Topic, word: str = "") -> None:
    """Wake all who listen for `topic`. word: a Study Instance UID, if the ring is about one."""
    folder = _folder(data_dir)
    try:
        names = [one.name for one in folder.iterdir() if one.name.startswith(f"{topic}.")]
        if not names:
            return
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            for name in names:
                try:
                    out.sendto(word.encode()[:_LONGEST], _address(place, name))
                except ConnectionRefusedError:  # left by a process that was killed
                    with suppress(OSError):
                        (folder / name).unlink()
                except OSError:
                    continue
    finally:
        os.close(place)


class Bell:
    """Hears the rings of one topic until `close`. Where no socket can be had, nothing is heard.

    on_ring: called with each ring's word, in a thread of this bell.
    """

    def __init__(
        self, data_dir: Path, topic: Topic, on_ring: Callable[[str], None] = lambda _: None
    ) -> None:
        self._news = threading.Event()
        self._on_ring = on_ring
        self._over = False
        self._path = _folder(data_dir) / f"{topic}.{os.getpid()}.{id(self):x}"
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            place = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._path.unlink(missing_ok=True)
                heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                heard.bind(_address(place, self._path.name))
            finally:
                os.close(place)
        except OSError as error:
            log.warning(Event.BELL_MISSING, topic=topic.value, error=type(error).__name__)
            return
        heard.settimeout(_AGAIN)
        threading.Thread(
            target=self._hear, args=(heard,), name=f"bell {topic}", daemon=True
        ).start()

    def wait(self, seconds: float) -> bool:
        """Until the next ring, or so long; whether one came. Rings before the wait count."""
        heard = self._news.wait(seconds)
        self._news.clear()
        return heard

    def close(self) -> None:
        """Hear no more."""
        self._over = True
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _hear(self, heard: socket.socket) -> None:
        with heard:
            while not self._over:
                try:
                    word = heard.recv(_LONGEST).decode(errors="replace")
                except TimeoutError:
                    continue
                except OSError:
                    return
                self._on_ring(word)
                self._news.set()


def _folder(data_dir: Path) -> Path:
    return data_dir / "bells"


def _address(folder: int, name: str) -> str:
    """A path that is short enough for a socket whatever data_dir is (the limit is 108 bytes)."""
    return f"/proc/self/fd/{folder}/{name}"
