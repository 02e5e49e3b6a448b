"""How long the parts of one run take, by name; nothing is decided by it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from processors import Study
from processors.analysis import Pixels


@dataclass(slots=True)
class Stopwatch:
    """Adds up seconds by the name of what they were spent on."""

    _seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        since = time.perf_counter()
        yield
        self.add(name, since)

    def add(self, name: str, since: float) -> float:
        """Count what has passed since then (time.perf_counter); returns the time now."""
        now = time.perf_counter()
        self._seconds[name] += now - since
        return now

    def over_pixels(self, study: Study) -> Study:
        """The same study; what reading its pixels takes counts as decode."""

        def pixels(instance_uid: str, frame: int) -> Pixels:
            with self("decode"):
                return study.pixels(instance_uid, frame)

        def film(instance_uid: str, frame: int) -> tuple[Pixels, tuple[int, int]]:
            with self("decode"):
                return study.film(instance_uid, frame)

        return replace(study, pixels=pixels, reduced=film)

    def milliseconds(self) -> Mapping[str, float]:
        return {name: round(seconds * 1e3, 1) for name, seconds in self._seconds.items()}
