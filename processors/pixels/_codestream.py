"""Reads from a compressed frame the size that its decoder would allocate, without decoding.

A JPEG, JPEG-LS or JPEG 2000 stream carries its own width and height, and a decoder believes them
rather than Rows and Columns: a stream of a hundred bytes may ask for gigabytes. Frame header
segments: ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1 (SIZ). Also decides whether the
stream ends with its end marker; some decoders show one that lost its end and say nothing.
"""

from __future__ import annotations

SOI, EOI = b"\xff\xd8", b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
CODESTREAM = b"\xff\x4f\xff\x51"  # SOC then SIZ, the fixed start of JPEG 2000
FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xF7})
ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
PADDING = 64  # bytes searched for the end marker; a frame is padded to an even length, seldom more


def declared_size(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that the stream itself declares; None when it declares none."""
    if stream.startswith(SOI):
        return _jpeg(stream)
    start = stream.find(CODESTREAM, 0, 4096)  # JP2 boxes may stand before the codestream
    return None if start < 0 else _jpeg2000(stream[start : start + 32])


def is_complete(stream: bytes) -> bool:
    """Whether the end marker stands at the end."""
    return EOI in stream[-PADDING:]


def _jpeg(stream: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in FRAME_HEADERS:
            high, wide = stream[at + 5 : at + 7], stream[at + 7 : at + 9]
            return int.from_bytes(high, "big"), int.from_bytes(wide, "big")
        elif marker in ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _jpeg2000(siz: bytes) -> tuple[int, int] | None:
    if len(siz) < 24:
        return None
    right, bottom, left, top = (
        int.from_bytes(siz[start : start + 4], "big") for start in (8, 12, 16, 20)
    )
    return bottom - top, right - left
