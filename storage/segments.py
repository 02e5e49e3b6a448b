"""One segment of the log of arrivals: its bytes on disk, and what counts as a record there.

A segment is a file of fixed size, written once before its first use and then over and over, so that
a flush moves data and no metadata. Block 0 holds the epoch, drawn anew at each use: what an earlier
use left behind, and what a sender may have written into its data, is no record. Block 1 holds the
marks of records that are filed (believed while this boot lasts), block 2 those whose files and rows
are known to be on disk. Records begin at the start of a block, so a flush never touches one that
was answered before, and a scan gets past the holes of those that never were finished.

In: records at their places. Out: whole records, in the order of their places. Never: a record that
is torn (length, CRC-32 of the head, SHA-256 of the payload), DICOM, a database.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError, from_flush, from_os

BLOCK = 4096
LARGEST_META = (1 << 20) + (1 << 16)
_MAGIC = b"dctmnarr"
_FIRST = 3 * BLOCK
_ZEROS = 1 << 20
# magic, epoch, stamp, lengths of meta and payload, number of extents, length of the payload's
# unhashed beginning, CRC-32 of that, SHA-256 of the rest; then CRC-32 of all before and of the meta
_HEAD = struct.Struct("<8s16sQIQIII32s")
_CRC = struct.Struct("<I")
_EXTENT = struct.Struct("<QI")
_MARKS = struct.Struct("<8s16s16s")
_OPENING = struct.Struct("<8s16s")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins. segment: the file's name."""

    segment: str
    offset: int


def lane_of(place: Place) -> int:
    """The number of the lane that wrote there."""
    return int(place.segment.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Seal:
    """What makes a payload recognisable: its first `skip` bytes by CRC-32, the rest by SHA-256."""

    size: int
    skip: int
    crc: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """meta: the writer's words. extents: (offset, length) of the payload's pieces in the segment.

    end: where the next block after the record begins. The payload itself may still be torn:
    `Segment.whole` tells.
    """

    place: Place
    stamp: int
    meta: bytes
    seal: Seal
    extents: tuple[tuple[int, int], ...]
    end: int


def blocks(length: int) -> int:
    """`length` bytes rounded up to whole blocks."""
    return -(-length // BLOCK) * BLOCK


def boot() -> bytes:
    """What tells this boot of the machine from any other, 16 bytes."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return bytes.fromhex(text.replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


class Segment:
    """An open segment. Its writer and the one who files may be two processes."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size
        self.epoch = b""
        self.distrusted: OSError | None = None  # why no flush of it is believed any more
        try:
            self.look()
        except StorageError:
            self.close()
            raise

    @classmethod
    def make(cls, path: Path, size: int) -> Segment:
        """A new segment, written from end to end: what was never written flushes slowly."""
        fresh = path.with_suffix(".new")
        try:
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                for at in range(0, size, _ZEROS):
                    if os.write(file, zeros := bytes(min(size - at, _ZEROS))) < len(zeros):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
            fresh.replace(path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            return cls(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise from_os(error, path) from error

    def close(self) -> None:
        os.close(self._file)

    @property
    def replaced(self) -> bool:
        """Whether another file bears the name by now."""
        return os.fstat(self._file).st_nlink == 0

    # ---- writing ----------------------------------------------------------------------------
    def renew(self) -> int:
        """Begin anew with another epoch; where the first record goes. Durable with that record."""
        self.epoch = os.urandom(16)
        self.put(_OPENING.pack(_MAGIC, self.epoch), 0)
        for block in (1, 2):
            self.put(bytes(BLOCK), block * BLOCK)
        return _FIRST

    def put(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                done = os.pwrite(self._file, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            raise from_os(error, self.path) from error

    def put_all(self, pieces: list[bytes | bytearray | memoryview], offset: int) -> None:
        """Write the pieces one behind the other from `offset` on."""
        length = sum(len(piece) for piece in pieces)
        try:
            done = os.pwritev(self._file, pieces, offset)
        except OSError as error:
            raise from_os(error, self.path) from error
        if done < length:
            self.put(b"".join(pieces)[done:], offset + done)

    def get(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        try:
            return os.pread(self._file, length, offset)
        except OSError as error:
            raise from_os(error, self.path) from error

    def flush(self) -> None:
        """All that was put is on disk when this returns.

        Once it failed it fails for ever: the kernel may have dropped what others had put by then,
        and would call the next flush a success.
        """
        try:
            if self.distrusted is None:
                os.fdatasync(self._file)
        except OSError as error:
            self.distrusted = error
        if self.distrusted is not None:
            raise from_flush(self.distrusted, self.path) from self.distrusted

    def pack(
        self,
        offset: int,
        stamp: int,
        meta: bytes,
        seal: Seal,
        extents: list[tuple[int, int]],
    ) -> bytes:
        """A record for this place, without the end of the payload that lies in no extent."""
        head = _HEAD.pack(
            _MAGIC, self.epoch, stamp, len(meta), seal.size, len(extents), seal.skip, seal.crc,
            seal.digest,
        )  # fmt: skip
        head += b"".join(_EXTENT.pack(*extent) for extent in extents)
        return head + _CRC.pack(_crc(offset, head, meta)) + meta

    # ---- reading ----------------------------------------------------------------------------
    def look(self) -> bool:
        """Read the epoch again; whether it is another one than before."""
        before, opening = self.epoch, self.get(_OPENING.size, 0)
        self.epoch = b""
        if len(opening) == _OPENING.size and opening[:8] == _MAGIC:
            self.epoch = opening[8:]
        return before != self.epoch

    def read(self, offset: int) -> Record | None:
        """The record at `offset`, or None if none begins there."""
        head = self.get(BLOCK, offset)
        if not self.epoch or len(head) < BLOCK or head[:24] != _MAGIC + self.epoch:
            return None
        _, _, stamp, length, size, count, skip, crc, digest = _HEAD.unpack_from(head)
        at = _HEAD.size + count * _EXTENT.size
        whole = at + _CRC.size + length
        if length > LARGEST_META or offset + whole > self.size:
            return None
        if whole > len(head):
            head = self.get(whole, offset)
        extents = [_EXTENT.unpack_from(head, _HEAD.size + n * _EXTENT.size) for n in range(count)]
        meta = head[at + _CRC.size : whole]
        if (_crc(offset, head[:at], meta),) != _CRC.unpack_from(head, at):
            return None
        rest = size - sum(length for _, length in extents)
        if rest:
            extents.append((offset + whole, rest))
        if rest < 0 or any(start + length > self.size for start, length in extents):
            return None
        place, seal = Place(self.name, offset), Seal(size, skip, crc, digest)
        return Record(place, stamp, meta, seal, tuple(extents), offset + blocks(whole + rest))

    def records(self) -> Iterator[Record]:
        """Every record of this epoch whose head is sound."""
        at, begins = _FIRST, _MAGIC + self.epoch
        while self.epoch and at < self.size:
            start, many = at, self.get(_ZEROS, at)
            while at < start + len(many):  # a MiB at a time: most blocks begin no record
                found = None
                if many.startswith(begins, at - start):
                    found = self.read(at)
                if found is not None:
                    yield found
                at = found.end if found is not None else at + BLOCK
            if not many:
                return

    def whole(self, record: Record) -> bool:
        """Whether the payload is what the head promises."""
        crc, found, left = 0, hashlib.sha256(), record.seal.skip
        for piece in self.pieces(record):
            unhashed = piece[: min(left, len(piece))]
            left -= len(unhashed)
            crc = zlib.crc32(unhashed, crc)
            found.update(piece[len(unhashed) :])
        empty = not record.extents
        return empty or (crc == record.seal.crc and found.digest() == record.seal.digest)

    def pieces(self, record: Record) -> Iterator[bytes]:
        """The payload, piece by piece."""
        for start, length in record.extents:
            for at in range(start, start + length, _ZEROS):
                yield self.get(min(_ZEROS, start + length - at), at)

    def copy(self, record: Record, file: int) -> None:
        """Write the payload to the open `file`. Raises OSError."""
        for start, length in record.extents:
            while length:
                done = os.sendfile(file, self._file, start, length)
                if not done:
                    raise EOFError(f"{self.path} ends inside a record")
                start, length = start + done, length - done

    # ---- marks ------------------------------------------------------------------------------
    def marks(self, block: int) -> bytearray:
        """The bit map of block 1 (filed) or 2 (safe); empty of another epoch or, for 1, boot."""
        raw = self.get(BLOCK, block * BLOCK)
        magic, epoch, booted = _MARKS.unpack_from(raw)
        empty = bytearray(self.size // BLOCK // 8 + 1)
        if magic != _MAGIC or epoch != self.epoch or (block == 1 and booted != boot()):
            return empty
        return bytearray(raw[_MARKS.size : _MARKS.size + len(empty)])

    def set_marks(self, block: int, marks: bytearray) -> None:
        self.put(_MARKS.pack(_MAGIC, self.epoch, boot()) + marks, block * BLOCK)


def packed_size(meta: bytes, extents: list[tuple[int, int]]) -> int:
    """Bytes that `Segment.pack` makes."""
    return _HEAD.size + len(extents) * _EXTENT.size + _CRC.size + len(meta)


def _crc(offset: int, head: bytes, meta: bytes) -> int:
    """With its place: a copy elsewhere is no record."""
    return zlib.crc32(meta, zlib.crc32(head, offset & 0xFFFFFFFF))


def marked(marks: bytearray, offset: int) -> bool:
    bit = offset // BLOCK
    return bool(marks[bit >> 3] >> (bit & 7) & 1)


def mark(marks: bytearray, offset: int) -> None:
    bit = offset // BLOCK
    marks[bit >> 3] |= 1 << (bit & 7)
