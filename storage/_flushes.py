"""One flush for all who wait for it.

Whoever finds nobody flushing does it for everybody who has written by then; who comes meanwhile
waits for the next one. No timer: what queues up during one flush is the next group.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from storage.errors import StorageError
from storage.segments import Segment


@dataclass(slots=True)
class _Group:
    """Those who wait for one flush."""

    segments: set[Segment] = field(default_factory=set)
    done: bool = False
    error: StorageError | None = None


class Flushes:
    """Of the segments of one process; any thread may wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._forming, self._busy = _Group(), False

    def wait(self, segment: Segment) -> None:
        """Until all that was put into `segment` so far is on disk.

        Raises StorageError to everybody of the group: the kernel may have dropped their pages.
        """
        with self._changed:
            group = self._forming
            group.segments.add(segment)
            while not group.done and self._busy:
                self._changed.wait()
            mine = not group.done
            if mine:
                self._busy, self._forming = True, _Group()
        if mine:
            self._flush(group)
        if group.error is not None:
            raise group.error

    def _flush(self, group: _Group) -> None:
        try:
            for segment in group.segments:
                segment.flush()
        except StorageError as failed:
            group.error = failed
        except BaseException as failed:  # a bug must not look like a flush to those who wait
            group.error = StorageError(f"The log could not be flushed: {type(failed).__name__}.")
            raise
        finally:
            with self._changed:
                group.done, self._busy = True, False
                self._changed.notify_all()
