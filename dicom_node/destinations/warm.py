"""Keeps an association open between two batches, for a while, so that the next need not begin anew.

It may be gone at any moment, and then the next batch opens one of its own. Never: two users at a
time, a message.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pynetdicom.association import Association

from dicom_node.destinations import streaming


@dataclass(frozen=True, slots=True)
class _Held:
    association: Association
    classes: frozenset[str]
    timer: threading.Timer


class Warm:
    """At most one association that nobody uses now. seconds: after which it is released."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._held: _Held | None = None
        self._lock = threading.Lock()  # the timer has a thread of its own

    def take(self, classes: frozenset[str]) -> tuple[Association, frozenset[str]] | None:
        """What is kept, if it stands and was opened for all of these; with its own classes."""
        held = self._out()
        if held is None:
            return None
        if held.association.is_established and classes <= held.classes:
            return held.association, held.classes
        release(held.association)
        return None

    def keep(self, association: Association, classes: frozenset[str]) -> bool:
        """Keep it, if it still stands and anything is kept here; else it is the caller's to end."""
        if not self.seconds or not association.is_established:
            return False
        timer = threading.Timer(self.seconds, self.close)
        timer.daemon = True
        streaming.rest(association, True)
        with self._lock:
            self._held = _Held(association, classes, timer)
        timer.start()
        return True

    def close(self) -> None:
        """Release what is kept; harmless when nothing is."""
        held = self._out()
        if held is not None:
            release(held.association)

    def _out(self) -> _Held | None:
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            held.timer.cancel()
            streaming.rest(held.association, False)
        return held


def release(association: Association) -> None:
    """End it in order, if it stands."""
    if association.is_established:
        association.release()
