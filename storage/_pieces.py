"""Reads a payload that lies in pieces in a segment, as if it were a file."""

from __future__ import annotations

from io import SEEK_CUR, SEEK_SET, RawIOBase
from typing import Any

from storage.segments import Segment


class Pieces(RawIOBase):
    """The pieces of a draft one behind the other, read only."""

    def __init__(self, segment: Segment, extents: list[tuple[int, int]], rest: bytearray) -> None:
        self._segment, self._extents, self._rest, self._at = segment, extents, rest, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence not in (SEEK_SET, SEEK_CUR):
            raise ValueError("a draft has no end to seek from")
        self._at = offset + (self._at if whence == SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        found = self._get(len(into))
        into[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _get(self, most: int) -> bytes:
        at = self._at
        for start, length in self._extents:
            if at < length:
                return self._segment.get(min(most, length - at), start + at)
            at -= length
        return bytes(self._rest[at : at + most])
