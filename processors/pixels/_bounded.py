"""Opens a file without letting it grow in memory beyond a limit.

A data set in Deflated Explicit VR Little Endian (PS3.5 A.5) may inflate a thousandfold; dcmread
inflates it in one go. Here it is first inflated into nothing and counted, chunk by chunk.
"""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from processors.pixels._layout import Cause, RefusedPixels

INFLATED_LIMIT = 1 << 30  # 1 GiB; a deflated radiograph has tens of megabytes
CHUNK = 1 << 20
PREAMBLE = 132  # 128 bytes and "DICM"
GROUP_LENGTH = 12  # the element (0002,0000), explicit VR


def read_dataset(path: Path, *, limit: int = INFLATED_LIMIT, pixels: bool = True) -> Dataset:
    """The file's data set, with its pixel data or without; files without preamble are read too.

    Raises: RefusedPixels when it inflates beyond `limit` bytes or is no DICOM file.
    """
    with path.open("rb") as file:
        if _is_deflated(file):
            _count_inflated(file, limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break their VR are met where they are used
        try:
            return pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        except (InvalidDicomError, EOFError, ValueError, NotImplementedError, zlib.error) as error:
            raise RefusedPixels(
                Cause.DAMAGED, "The file cannot be read as a DICOM data set."
            ) from error


def _is_deflated(file: BinaryIO) -> bool:
    """Whether File Meta names the deflated syntax; leaves `file` at the data set if so."""
    start = file.read(PREAMBLE + GROUP_LENGTH)
    if start[128:PREAMBLE] != b"DICM" or start[PREAMBLE : PREAMBLE + 4] != b"\x02\x00\x00\x00":
        return False
    length = int.from_bytes(start[PREAMBLE + 8 :], "little")
    meta = file.read(min(length, CHUNK))
    uid = DeflatedExplicitVRLittleEndian.encode()
    at = meta.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return False
    size = int.from_bytes(meta[at + 6 : at + 8], "little")
    return meta[at + 8 : at + 8 + size].rstrip(b"\x00 ") == uid


def _count_inflated(file: BinaryIO, limit: int) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total, waiting = 0, file.read(CHUNK)
    while waiting and not inflater.eof:
        try:
            total += len(inflater.decompress(waiting, CHUNK))
        except zlib.error as error:
            raise RefusedPixels(Cause.DAMAGED, "The deflated data set is broken.") from error
        if total > limit:
            raise RefusedPixels(
                Cause.TOO_LARGE, f"The deflated data set inflates beyond {limit} bytes."
            )
        waiting = inflater.unconsumed_tail or file.read(CHUNK)
