"""The C library's memory of a worker: kept while there is work, given back when there is none.

A film passes through arrays of 20 MB. Given back one by one and asked for anew, their pages are
filled with zeros each time, which costs every study 12 ms; the most that is held stays the same.
Elsewhere than with glibc all of this does nothing.
"""

from __future__ import annotations

import ctypes

KEPT = {  # environment of a worker; what is larger than the first is given back at once, as before
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


def give_back() -> None:
    """Return what is free to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
