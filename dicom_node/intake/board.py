"""A page of memory that all processes of the intake see: why nothing is taken, and who is here.

The clerk writes the first byte, each receiving process its own row; nobody waits for anybody. Two
processes that admit at the same moment may together pass a limit by one. Not a file: it must work
when the disk is full. Never: anything that must outlive the processes.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Mapping

ROWS = 65  # as many as may receive, and the web door
_PLACES = 255  # addresses of one row
_ENTRY = struct.Struct("<8sH")
_HEAD = 64
_ROW = _HEAD + _PLACES * _ENTRY.size


class Board:
    """Made by the first process; the others open it by its descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        size = _HEAD + ROWS * _ROW
        self.descriptor = os.memfd_create("intake-board") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, size)
        self._page = mmap.mmap(self.descriptor, size)

    def close(self) -> None:
        self._page.close()
        os.close(self.descriptor)

    @property
    def stalled(self) -> int:
        """The number of the reason for which nothing is taken; 0 if there is none."""
        return self._page[0]

    @stalled.setter
    def stalled(self, reason: int) -> None:
        self._page[0] = reason

    def write(self, row: int, addresses: Mapping[str, int]) -> None:
        """Say how many associations are open here, by address."""
        at, count = _HEAD + row * _ROW, min(len(addresses), _PLACES)
        entries = b"".join(
            _ENTRY.pack(_hashed(address), here) for address, here in list(addresses.items())[:count]
        )
        self._page[at + _HEAD : at + _HEAD + len(entries)] = entries
        self._page[at : at + 8] = struct.pack("<LL", sum(addresses.values()), count)

    def count(self, address: str, besides: int) -> tuple[int, int]:
        """Associations of all processes but one: altogether, and from this address."""
        total = here = 0
        wanted = _hashed(address)
        for row in range(ROWS):
            at = _HEAD + row * _ROW
            everyone, count = struct.unpack_from("<LL", self._page, at)
            if row == besides or not everyone:
                continue
            total += everyone
            for n in range(min(count, _PLACES)):
                entry, open_here = _ENTRY.unpack_from(self._page, at + _HEAD + n * _ENTRY.size)
                here += open_here if entry == wanted else 0
        return total, here

    def clear(self, row: int) -> None:
        """The process of this row has ended."""
        self.write(row, Counter())


def _hashed(address: str) -> bytes:
    return hashlib.sha256(address.encode()).digest()[:8]
