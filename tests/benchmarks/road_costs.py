"""What a node costs while it works: CPU seconds and memory of it and all processes below it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(word) for word in thread.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    total = 0
    for one in tree(pid):
        words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(word) for word in words[11:15])
    return total / TICK


def memory_mb(pid: int) -> tuple[float, float]:
    """Of the whole tree: resident, and with shared pages counted once (PSS)."""
    resident = once = 0
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        lines = {line.split()[0]: line.split()[1] for line in text.splitlines()[1:]}
        resident += int(lines["Rss:"])
        once += int(lines["Pss:"])
    return resident / 1024, once / 1024


class Scales:
    """The most memory that a node had while this was open. `most`: as `memory_mb` tells it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self._over = pid, (0.0, 0.0), threading.Event()
        self._thread = threading.Thread(target=self._weigh, daemon=True)

    def __enter__(self) -> Scales:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _weigh(self) -> None:
        while not self._over.wait(0.5):
            self.most = max(self.most, memory_mb(self.pid))
