"""The writing side of the log of arrivals: one flush, shared by all who wait, makes it durable.

A `Lane` belongs to one process: it streams payloads (`Draft`) into segments of its own and appends
a record that says what to make of them. `seal` and `append` return when the record is on disk;
those who wait at the same time share a flush. A segment is written again once everything in it is
marked safe by the reader (`storage.arrivals`), which may be another process.
In: bytes and words. Out: places. Never: DICOM, SQL, a final file, a wait for a free segment.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from storage._flushes import Flushes
from storage._pieces import Pieces
from storage.errors import StorageError, StorageFull, from_os
from storage.segments import Place, Seal, Segment, blocks, marked, packed_size

CHUNK = 1 << 17  # bytes that a draft collects before it writes them
LONG = 1 << 15  # bytes that are written at once: collecting them costs a copy
LEAST = 1 << 21  # bytes of a segment: the longest words of a record fit twice
LARGEST = 1 << 20  # bytes of a payload in a segment: beyond, copying it costs more than it saves
_AHEAD = 4  # one part in so many of a segment is kept for drafts that are under way


class LogFull(StorageFull):
    """No segment is free: what arrives now needs a file of its own, or must wait."""


def _stamp(last: int) -> int:
    """Grows from record to record, also where the clock goes back."""
    return max(time.time_ns(), last + 1)


@dataclass(slots=True)
class _Page:
    """A segment as its lane sees it. written: records of this use; -1: not known, look."""

    segment: Segment
    used: int = 0
    drafts: int = 0
    written: int = -1
    bad: bool = False


class Lane:
    """The segments that one process writes. All methods may be called from any thread.

    size: of one segment in bytes. largest: bytes of a payload that goes into one. Opening makes one
    segment, if the disk lets it; `widen` makes the others.
    """

    SEGMENTS = 4  # one is written, the others are being filed or free

    def __init__(self, folder: Path, number: int, size: int) -> None:
        self._folder, self.number = folder, number
        self._size = max(blocks(size), LEAST)
        self.largest = min(self._size // 8, LARGEST)
        self._lock = threading.Lock()
        self._flushes = Flushes()
        self._last = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._pages: list[_Page] = []
        self._missing = [n for n in range(self.SEGMENTS) if n and not self._path(n).exists()]
        for number in range(self.SEGMENTS):
            if number not in self._missing:
                self._try(number)
        self._page: _Page | None = None
        self._short = False  # no segment was free when one was needed

    def widen(self) -> None:
        """Make the segments that are still missing; takes a moment, so not at the door.

        Raises StorageError; then it may be tried again.
        """
        while self._missing:
            self._add(self._missing[0])
            del self._missing[0]

    def draft(self) -> Draft:
        """A payload that begins to arrive. Raises LogFull."""
        with self._lock:
            page = self._current()
            page.drafts += 1
        return Draft(self, page)

    def append(self, meta: bytes) -> Place:
        """A record without a payload, durable when this returns. Raises LogFull, StorageError."""
        nothing = Seal(0, 0, 0, bytes(32))
        with self._lock:
            page = self._current()
            page.drafts += 1
        try:
            return self._seal(page, meta, nothing, [], bytearray())
        except LogFull:
            with self._lock:
                page.used = page.segment.size  # nothing else of this size fits, either
                page = self._current()
                page.drafts += 1
            return self._seal(page, meta, nothing, [], bytearray())

    def close(self) -> None:
        for page in self._pages:
            page.segment.close()

    # ---- segments ---------------------------------------------------------------------------
    def _try(self, number: int) -> None:
        try:
            self._add(number)
        except StorageError:  # a full or failing disk: senders hear so, `widen` tries again
            self._missing.insert(0, number)

    def _add(self, number: int) -> None:
        page = _Page(self._open(number), written=0)
        try:
            for record in page.segment.records():
                self._last = max(self._last, record.stamp)
                page.written += 1  # counted once: senders who wait for a segment ask all the time
        except StorageError:
            page.segment.close()
            raise
        self._pages.append(page)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self.number:02d}-{number}.log"

    def _open(self, number: int) -> Segment:
        path = self._path(number)
        try:
            if path.exists():
                found = Segment(path)
                if found.size == self._size or not _free(_Page(found)):
                    return found
                found.close()  # another size was configured meanwhile
        except OSError as error:
            raise from_os(error, path) from error
        return Segment.make(path, self._size)

    def _current(self) -> _Page:
        """The page that new drafts go to."""
        page = self._page
        if page is None or page.bad or page.used > self._room(page):
            page = self._page = self._fresh()
        return page

    def _room(self, page: _Page) -> int:
        return page.segment.size - page.segment.size // _AHEAD

    def _fresh(self) -> _Page:
        for page in self._pages:
            if page is not self._page and not page.drafts and not page.bad and _free(page):
                page.written = 0  # first: where the disk lets it not begin, it may be tried again
                page.used = page.segment.renew()
                self._short = False
                return page
        self._short = True
        raise LogFull(f"{self._folder}: all segments wait to be filed.", then="Look at the disk.")

    def _needs(self, page: _Page) -> bool:
        """Whether none but drafts keep this segment from being written again, and none is free."""
        return self._short and page is not self._page and _free(page)

    def _reserve(self, page: _Page, length: int) -> int:
        """Where `length` bytes may go, or -1."""
        with self._lock:
            at = page.used
            if page.bad or at + length > page.segment.size:
                return -1
            page.used = at + blocks(length)
            return at

    def _leave(self, page: _Page) -> None:
        with self._lock:
            page.drafts -= 1

    # ---- records ----------------------------------------------------------------------------
    def _seal(
        self, page: _Page, meta: bytes, seal: Seal, extents: list[tuple[int, int]], rest: bytearray
    ) -> Place:
        try:
            with self._lock:
                stamp = self._last = _stamp(self._last)
            at = self._reserve(page, packed_size(meta, extents) + len(rest))
            if at < 0:
                raise LogFull(f"{page.segment.path} has no room left.")
            page.segment.put_all([page.segment.pack(at, stamp, meta, seal, extents), rest], at)
            with self._lock:
                page.written += 1
            self._flushes.wait(page.segment)
            return Place(page.segment.name, at)
        except StorageFull:  # nothing was written, or nothing whole
            raise
        except StorageError:  # never trust this segment again
            page.bad = True
            raise
        finally:
            self._leave(page)


def _free(page: _Page) -> bool:
    """Whether nothing in it is needed any more: all that was written is marked safe."""
    page.segment.look()
    safe = page.segment.marks(2)
    if page.written >= 0:
        return sum(byte.bit_count() for byte in safe) >= page.written
    return all(marked(safe, record.place.offset) for record in page.segment.records())


class Draft:
    """A payload while it arrives. `seal` or `discard` ends it; `reader` looks at what came."""

    def __init__(self, lane: Lane, page: _Page) -> None:
        self._lane, self._page = lane, page
        self._extents: list[tuple[int, int]] = []
        self._rest = bytearray()
        self._open = True
        self.size = self.skip = self._crc = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview, *, hashed: bool = False) -> None:
        """Append; hashed: it counts into `sha256`, so write what is not hashed first.

        Raises LogFull when it outgrows its segment, or is so slow that others need that segment:
        `take_over` then has all that came before.
        """
        if self.size + len(data) > self._lane.largest:
            raise LogFull("larger than what goes into a segment")
        if self._lane._needs(self._page):
            raise LogFull("its segment is needed")
        if len(data) >= LONG or len(self._rest) + len(data) > CHUNK:
            self._put(self._rest, data)
            self._rest = bytearray()
        else:
            self._rest += data
        self.size += len(data)
        if hashed:
            self._hash.update(data)
        else:
            self._crc = zlib.crc32(data, self._crc)
            self.skip += len(data)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def seal(self, meta: bytes) -> Place:
        """Make payload and `meta` durable together. Ends the draft."""
        self._open = False
        seal = Seal(self.size, self.skip, self._crc, self._hash.digest())
        return self._lane._seal(self._page, meta, seal, self._extents, self._rest)

    def discard(self) -> None:
        """Forget it; harmless when done twice, or after `seal`."""
        if self._open:
            self._open = False
            self._lane._leave(self._page)

    def pieces(self) -> Iterator[bytes]:
        """All that came, to be written elsewhere."""
        for start, length in self._extents:
            yield self._page.segment.get(length, start)
        yield bytes(self._rest)

    def hashing(self) -> Any:
        """The hash as it stands."""
        return self._hash.copy()

    def reader(self) -> BinaryIO:
        """What came, as a file to read from."""
        if not self._extents:
            return BytesIO(self._rest)
        return BufferedReader(Pieces(self._page.segment, self._extents, self._rest))

    def _put(self, rest: bytearray, data: bytes | memoryview) -> None:
        length = len(rest) + len(data)
        at = self._lane._reserve(self._page, length)
        if at < 0:
            raise LogFull("no room left in the segment")
        self._page.segment.put_all([rest, data], at)
        self._extents.append((at, length))
