"""When to look for studies that have settled: on a ring, or when the next wait runs out.

The decision is `clock.settle`'s and rests on the database; here stands only when it is asked. What
is heard of releases and since when somebody listens lives in this process alone: a restart forgets
it, and then the waits begin anew. Never: a timer per study, a plan of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from config import Settings
from dicom_node import bell, clock, routing
from dicom_node.bell import Bell, Topic
from storage import Storage

LOST = 1.0  # seconds until a look without a ring: one may be lost, or come from another machine
SHARE = 0.2  # most of this process' time that looks may take while instances keep coming
MOST = 10_000  # releases that are remembered


@dataclass(slots=True)
class Settling:
    """Looks again and again until `stopping`; `look` is one of them.

    settings: those in force now.
    """

    storage: Storage
    settings: Callable[[], Settings]
    stopping: threading.Event
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _released: dict[str, datetime] = field(default_factory=dict)
    _looked: datetime | None = None
    _asleep: clock.Asleep = field(default_factory=dict)
    _settings: Settings | None = None

    def run(self, guarded: Callable[[str, Callable[[], object]], Callable[[], None]]) -> None:
        """guarded: makes a look that logs what fails and returns."""
        heard = Bell(self.settings().node.data_dir, Topic.ARRIVED, self.released)
        wait = [0.0]

        def look() -> None:
            wait[0] = LOST
            wait[0] = self.look()

        tick = guarded("settle", look)
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                tick()
                now = time.monotonic()
                heard.wait(wait[0])
                self.stopping.wait(max(0.0, now + (now - began) / SHARE - time.monotonic()))
        finally:
            heard.close()

    def look(self) -> float:
        """Plan what has settled, wake the workers; seconds until the next look."""
        settings, now = self.settings(), datetime.now(UTC)
        self._mind_the_clock(now)
        texts = clock.read_texts(self.storage, settings, now)
        if settings is not self._settings:  # other rules: other waits
            self._settings = settings
            self._asleep.clear()
        looked = clock.settle(self.storage, settings, now, self._heard, self._asleep)
        if looked.new or texts:
            bell.ring(settings.node.data_dir, Topic.PLANNED)
        return LOST if looked.wait is None else min(LOST, looked.wait)

    def _mind_the_clock(self, now: datetime) -> None:
        """When it goes back, what was heard lies ahead, and every study would count as quiet."""
        self.since = min(self.since, now)
        if self._looked is not None and now < self._looked:
            self._released.clear()
            self._asleep.clear()
        self._looked = now

    def released(self, study_uid: str) -> None:
        """The association that brought this study was released ("": nothing to know)."""
        if study_uid:
            while len(self._released) >= MOST:
                self._released.pop(next(iter(self._released)), None)
            self._released[study_uid] = datetime.now(UTC)

    def _heard(self, study_uid: str) -> routing.Heard:
        return routing.Heard(self.since, self._released.get(study_uid))
