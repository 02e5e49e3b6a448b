"""Walks over a data set once, without recursion, and keeps what is short.

Decides whether the bytes are a data set at all (PS3.5 section 7): element headers that add up to
exactly the bytes received, closed sequences, bounded nesting, no group that does not belong there.
Pixel data and other long values are skipped, never read, so memory is bounded by `HEAD`. What is
kept is a small data set in the same encoding, fit for any parser.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

HEAD = 1 << 20  # bytes of short elements kept altogether
SHORT = 1 << 10  # longest single value kept
TAPE = 1 << 16  # longest sequence kept
DEEPEST = 64  # nesting; real structured reports stay below 20, parsers recurse on every level
AT_ONCE = 1 << 14  # bytes of everyday elements that are read and looked at in one go
INFLATED = 1 << 28  # a deflated data set is looked at up to here (deflate bombs)

CONTRIBUTING_EQUIPMENT = 0x0018A001
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
UIDS = frozenset({SOP_CLASS, SOP_INSTANCE, STUDY, SERIES})
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_KEPT_SEQUENCES = frozenset({CONTRIBUTING_EQUIPMENT})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_OPEN = 0xFFFFFFFF  # undefined length
LONG_HEADERS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 12-byte headers
SHORT_HEADERS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # 8-byte headers
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")


@dataclass(frozen=True, slots=True)
class Encoding:
    implicit: bool
    little: bool
    deflated: bool

    @classmethod
    def of(cls, transfer_syntax: str) -> Encoding:
        return cls(
            implicit=transfer_syntax == "1.2.840.10008.1.2",
            little=transfer_syntax != "1.2.840.10008.1.2.2",
            deflated=transfer_syntax in _DEFLATED,
        )


@dataclass(slots=True)
class Walked:
    """head: the short top-level elements as bytes. fault: why this is no data set, or "".

    uids: values of the UIDs that an instance is filed by, as far as they were met; whole says
    whether all elements were everyday ones, so that no other can be among the rest.
    """

    encoding: Encoding
    head: bytearray = field(default_factory=bytearray)
    tags: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    fault: str = ""
    uids: dict[int, bytes] = field(default_factory=dict)
    whole: bool = False

    @property
    def has_pixels(self) -> bool:
        return not self.tags.isdisjoint(PIXELS)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Fault(Exception):
    """The walk ends here; args[0] says why."""


class _TooMuch(Exception):
    """A deflated data set is longer than we care to look at."""


class _Source(Protocol):
    def take(self, count: int) -> bytes: ...
    def skip(self, count: int) -> None: ...
    def rest(self, most: int) -> bytes: ...


class _Plain:
    """A file from its present position to `size` bytes further on."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise _Fault("truncated: a value is longer than the data set")
        self._left -= count
        return self._file.read(count)

    def skip(self, count: int) -> None:
        if count > self._left:
            raise _Fault("truncated: a value is longer than the data set")
        self._left -= count
        self._file.seek(count, 1)

    def rest(self, most: int) -> bytes:
        return self.take(min(most, self._left))


class _Inflated:
    """The same over a deflated file (PS3.5 A.5), piece by piece and with an end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._plain = _Plain(file, size)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._buffer, self._total = b"", 0

    def _fill(self) -> bool:
        while not self._buffer and not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._plain.rest(1 << 16)
            if not pending:
                raise _Fault("truncated: the deflated data set ends early")
            try:
                self._buffer = self._inflate.decompress(pending, 1 << 16)
            except zlib.error:
                raise _Fault("the data set does not inflate") from None
        self._total += len(self._buffer)
        if self._total > INFLATED:
            raise _TooMuch
        return bool(self._buffer)

    def _pieces(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._buffer and not self._fill():
                raise _Fault("truncated: a value is longer than the data set")
            piece, self._buffer = self._buffer[:count], self._buffer[count:]
            count -= len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        return b"".join(self._pieces(count))

    def skip(self, count: int) -> None:
        for _ in self._pieces(count):
            pass

    def rest(self, most: int) -> bytes:
        out = b""
        while len(out) < most and (self._buffer or self._fill()):
            piece, self._buffer = self._buffer[: most - len(out)], self._buffer[most - len(out) :]
            out += piece
        return out


def walk(file: BinaryIO, size: int, transfer_syntax: str) -> Walked:
    """Look at the data set of `size` bytes that begins at the file's position."""
    walked = Walked(Encoding.of(transfer_syntax))
    source: _Source
    if walked.encoding.deflated:
        source = _Inflated(file, size)
    else:
        begins = file.read(min(size, AT_ONCE))
        passed = _everyday(begins, size, walked)
        file.seek(passed - len(begins), 1)
        walked.whole = passed == size
        source = _Plain(file, size - passed)
    try:
        _Walk(source, walked).run()
    except _Fault as fault:
        walked.fault = str(fault.args[0])
    except _TooMuch:
        walked.note(f"inflates to more than {INFLATED >> 20} MiB, not looked at further")
    return walked


def _everyday(begins: bytes, size: int, walked: Walked) -> int:
    """What `_Walk` does with top-level elements of defined length, as far as they are everyday.

    Returns how many bytes of the data set that were; everything else is left to `_Walk`.
    """
    order = "<" if walked.encoding.little else ">"
    implicit, long = struct.Struct(order + "HHL"), struct.Struct(order + "L")
    explicit, at, end = struct.Struct(order + "HH2sH"), 0, len(begins)
    while at + 12 <= end:
        header = 8
        if walked.encoding.implicit:
            group, element, length = implicit.unpack_from(begins, at)
        else:
            group, element, vr, length = explicit.unpack_from(begins, at)
            if vr in LONG_HEADERS:
                header, (length,) = 12, long.unpack_from(begins, at + 8)
            elif vr not in SHORT_HEADERS:
                break
        tag, after = group << 16 | element, at + header + length
        if length == _OPEN or length % 2 or after > size or group < 8 or group == _ITEM >> 16:
            break
        if skipped := tag in PIXELS or length > (TAPE if tag in _KEPT_SEQUENCES else SHORT):
            pass
        elif after > end or len(walked.head) + after - at > HEAD:
            break
        if tag in walked.tags:
            walked.repeated.add(tag)
        walked.tags.add(tag)
        if not skipped:
            walked.head += begins[at:after]
        if tag in UIDS:
            walked.uids[tag] = begins[at + header : after]
        at = after
    return at


@dataclass(slots=True)
class _Level:
    """An open sequence or an open item; `implicit` as its elements are encoded."""

    items: bool
    implicit: bool
    tag: int = 0


class _Walk:
    def __init__(self, source: _Source, walked: Walked) -> None:
        self._source, self._walked = source, walked
        self._levels: list[_Level] = []
        self._tape: bytearray | None = None
        order = "<" if walked.encoding.little else ">"
        self._tag = struct.Struct(order + "HHL")
        self._explicit = struct.Struct(order + "HH2sH")
        self._length = struct.Struct(order + "L")

    def run(self) -> None:
        while True:
            head = self._source.rest(8) if not self._levels else self._source.take(8)
            if not self._levels and self._at_end(head):
                return
            if self._levels:
                self._record(head)
            if self._levels and self._levels[-1].items:
                self._item(head)
            else:
                self._element(head)

    def _at_end(self, head: bytes) -> bool:
        if any(head) and len(head) == 8:
            return False
        if any(head):
            raise _Fault("truncated: the data set ends inside an element")
        while padding := self._source.rest(4096):
            if any(padding):
                raise _Fault("zeros where an element should begin")
            head += padding
        if head:
            self._walked.note("zeros after the last element")
        return True

    def _record(self, data: bytes) -> None:
        if self._tape is not None:
            self._tape += data
            if len(self._tape) > TAPE:
                self._tape = None

    def _pass(self, count: int) -> None:
        """Skip a value, or keep it while a sequence is being kept."""
        if self._tape is not None and count <= TAPE:
            self._record(self._source.take(count))
        else:
            self._tape = None
            self._source.skip(count)

    def _item(self, head: bytes) -> None:
        group, element, length = self._tag.unpack(head)
        tag, level = group << 16 | element, self._levels[-1]
        if tag == _SEQUENCE_END:
            self._levels.pop()
            if not self._levels and self._tape is not None:
                self._keep(bytes(self._tape))
                self._tape = None
        elif tag != _ITEM:
            raise _Fault("a sequence holds something that is no item")
        elif length == _OPEN:
            self._descend(_Level(items=False, implicit=level.implicit))
        else:
            self._pass(length)

    def _descend(self, level: _Level) -> None:
        if len(self._levels) >= 2 * DEEPEST:
            raise _Fault(f"nested deeper than {DEEPEST} sequences")
        self._levels.append(level)

    def _element(self, head: bytes) -> None:
        inside = bool(self._levels)
        implicit = self._levels[-1].implicit if inside else self._walked.encoding.implicit
        group, element, length = self._tag.unpack(head)
        tag, vr = group << 16 | element, b""
        if tag == _ITEM_END and inside:
            self._levels.pop()
            return
        if not implicit and head[4:6].isalpha() and head[4:6].isupper():
            _, _, vr, length = self._explicit.unpack(head)
            if vr in LONG_HEADERS:
                more = self._source.take(4)
                self._record(more)
                head += more
                (length,) = self._length.unpack(more)
        if not inside:
            self._top(tag, group)
        if length == _OPEN:
            self._open(tag, vr, implicit, head)
        elif inside:
            self._pass(length)
        else:
            self._value(tag, length, head)

    def _top(self, tag: int, group: int) -> None:
        if group < 8:
            raise _Fault(f"group {group:04X} inside the data set")
        if group == 0xFFFE:
            raise _Fault("an item outside of a sequence")
        if tag in self._walked.tags:
            self._walked.repeated.add(tag)
        self._walked.tags.add(tag)

    def _open(self, tag: int, vr: bytes, implicit: bool, head: bytes) -> None:
        if vr not in (b"", b"SQ", b"UN", b"OB", b"OW"):
            raise _Fault("undefined length where none may be")
        if not self._levels and tag in _KEPT_SEQUENCES:
            self._tape = bytearray(head)
        # PS3.5 6.2.2: what stands in UN of undefined length is implicit little endian
        inner = implicit or vr in (b"UN", b"")
        self._descend(_Level(items=True, implicit=inner, tag=tag))

    def _value(self, tag: int, length: int, head: bytes) -> None:
        if length % 2:
            self._walked.note("a value of odd length")
        most = TAPE if tag in _KEPT_SEQUENCES else SHORT
        if length > most or tag in PIXELS:
            self._source.skip(length)
        else:
            self._keep(head + self._source.take(length))

    def _keep(self, element: bytes) -> None:
        if len(self._walked.head) + len(element) <= HEAD:
            self._walked.head += element
        else:
            self._walked.note("more short elements than are looked at")
