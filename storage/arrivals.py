"""The reading side of the log of arrivals: what is to be filed, is filed, may be forgotten.

One reader a node: it holds the folder's lock. It reads records at the places that writers
(`storage.lane`) name, marks those that are filed, and says `safe` when their files and rows are on
disk; only then is a segment written again. After a crash `left` finds what nobody filed.
Marks of another boot are not believed: what was in memory then may be lost, so all that is not safe
is left, and filing it twice must do no harm. Never: DICOM, SQL, a final file.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from storage.errors import StorageBusy, StorageError, StorageIOError, from_flush, from_os
from storage.segments import Place, Record, Segment, mark, marked


class Arrivals:
    """The log in `folder`, which is made if it is not there. Not for two threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: dict[str, Segment] = {}
        self._filed: dict[str, bytearray] = {}
        self._unsafe: set[str] = set()
        self.unsafe_bytes = 0  # filed, and not known to be on disk
        self.distrusted = False  # after an I/O error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise from_os(error, folder) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StorageBusy(
                f"{folder} is in use by another process.", then="End the other intake first."
            ) from error

    def close(self) -> None:
        for segment in self._segments.values():
            segment.close()
        os.close(self._lock)

    def read(self, place: Place) -> Record | None:
        """The record at `place`; None if there is none that is sound."""
        segment = self._segment(place.segment)
        return segment.read(place.offset)

    def whole(self, record: Record) -> bool:
        """Whether the payload of `record` is all there; reads it from end to end."""
        return self._segment(record.place.segment).whole(record)

    def copy(self, record: Record, file: int) -> None:
        """Write the payload of `record` to an open file. Raises OSError."""
        self._segment(record.place.segment).copy(record, file)

    def left(self, lane: int | None = None) -> list[Record]:
        """Whole records that are not filed (after another boot: not safe), oldest first.

        lane: of this one alone.
        """
        found = [record for segment in self._all(lane) for record in _left(segment)]
        torn = [record for record in found if not self.whole(record)]
        self.filed(torn)  # nobody was told that these are kept: their place is free again
        return sorted((one for one in found if one not in torn), key=lambda one: one.stamp)

    def is_filed(self, record: Record) -> bool:
        """Whether `record` is marked already."""
        self._segment(record.place.segment)
        return marked(self._filed[record.place.segment], record.place.offset)

    def filed(self, records: Iterable[Record]) -> None:
        """Mark records: they need not be filed again while this boot lasts."""
        touched = set()
        for record in records:
            name = record.place.segment
            self._segment(name)
            mark(self._filed[name], record.place.offset)
            self.unsafe_bytes += record.seal.size
            touched.add(name)
        for name in () if self.distrusted else touched:  # the next process believes these marks
            self._segments[name].set_marks(1, self._filed[name])
        self._unsafe |= touched

    def safe(self) -> None:
        """Put all that was filed on disk, files of the spool too, and let full segments go.

        Raises StorageError; then nothing is let go. After an I/O error nothing ever is: the kernel
        may call the next flush a success. What was filed and is not safe is filed again by the next
        process.
        """
        if not self._unsafe or self.distrusted:
            return
        try:
            for disk in _disks(self._folder.parent):
                sync_disk(disk)
            for name in self._unsafe:
                self._segments[name].set_marks(2, self._filed[name])
                self._segments[name].flush()
        except StorageIOError:
            self.distrusted = True
            for name in self._unsafe:
                self._segments[name].set_marks(1, self._segments[name].marks(2))
            raise
        self._unsafe.clear()
        self.unsafe_bytes = 0

    def drop_lanes(self, first: int) -> None:
        """Remove the segments of lanes from `first` on, where all is safe."""
        for path in sorted(self._folder.glob("*.log")):
            if int(path.name.partition("-")[0]) < first:
                continue
            if not _left(self._segment(path.name)) and path.name not in self._unsafe:
                self._segments.pop(path.name).close()
                with suppress(OSError):
                    path.unlink()

    def _all(self, lane: int | None) -> list[Segment]:
        some = "*" if lane is None else f"{lane:02d}"
        return [self._segment(path.name) for path in sorted(self._folder.glob(f"{some}-*.log"))]

    def _segment(self, name: str) -> Segment:
        segment = self._segments.get(name)
        if segment is not None and segment.replaced:  # its lane made one of another size
            segment.close()
            segment = None
        if segment is None:
            try:
                segment = self._segments[name] = Segment(self._folder / name)
            except OSError as error:
                raise from_os(error, self._folder / name) from error
            self._filed[name] = _both(segment)
            if self._filed[name] != segment.marks(2):  # another process filed, and went before
                self._unsafe.add(name)
        elif segment.look():  # its lane began anew
            self._filed[name] = _both(segment)
        return segment


def pending(folder: Path) -> int:
    """How many records nobody has filed yet; from any process, at any moment."""
    count = 0
    for path in folder.glob("*.log"):
        with suppress(OSError, StorageError):
            segment = Segment(path)
            count += len(_left(segment))
            segment.close()
    return count


def _both(segment: Segment) -> bytearray:
    """Marks of what need not be filed: safe for ever, filed in this boot."""
    return bytearray(a | b for a, b in zip(segment.marks(1), segment.marks(2), strict=True))


def _left(segment: Segment) -> list[Record]:
    marks = _both(segment)
    return [record for record in segment.records() if not marked(marks, record.place.offset)]


def _disks(spool: Path) -> list[Path]:
    """One folder of each disk that the spool lies on: its folders may be mounts of their own.

    Raises StorageError.
    """
    try:
        folders = [spool, *(path for path in spool.iterdir() if path.is_dir())]
        return list({path.stat().st_dev: path for path in reversed(folders)}.values())
    except OSError as error:
        raise from_os(error, spool) from error


def sync_disk(folder: Path) -> None:
    """syncfs(2): one flush for all files of this disk, however many. Raises StorageError."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os(error, folder) from error
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle):
            number = ctypes.get_errno() or errno.EIO
            raise from_flush(OSError(number, os.strerror(number)), folder)
    finally:
        os.close(handle)
