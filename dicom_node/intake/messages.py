"""DIMSE messages without the wire: fragments in, messages out, answers as bytes.

Decides what a run of presentation data values means (PS3.7 9.3 and annex E, PS3.8 annex E): which
message is open, how long a command may be, when fragments are nonsense. It knows no socket, no
library and no data set: what a C-STORE carries is handed on piece by piece and never collected.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dicom_node.admission import is_uid

MAX_COMMAND = 1 << 14  # bytes of a command set; real ones stay below 400
MAX_EMPTY = 64  # fragments in a row without a byte

C_STORE, C_ECHO, C_CANCEL = 0x0001, 0x0030, 0x0FFF
N_EVENT_REPORT, N_ACTION = 0x0100, 0x0130
UNRECOGNISED_OPERATION = 0x0211
NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_CLASS, _FIELD, _ID, _ANSWERED_ID, _DATA_SET, _STATUS, _UID = (
    0x0002, 0x0100, 0x0110, 0x0120, 0x0800, 0x0900, 0x1000,
)  # fmt: skip
_REQUESTED_CLASS, _REQUESTED_UID = 0x0003, 0x1001


class ProtocolError(Exception):
    """The peer does not speak DIMSE; the association is aborted (PS3.8 9.3.8)."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command set (group 0000, implicit VR little endian): element number -> value."""

    context_id: int
    values: Mapping[int, bytes]

    @property
    def kind(self) -> int:
        return self.number(_FIELD)

    @property
    def message_id(self) -> int:
        return self.number(_ID)

    @property
    def is_request(self) -> bool:
        return not self.kind & _RESPONSE and self.kind != C_CANCEL

    @property
    def has_data_set(self) -> bool:
        return self.number(_DATA_SET) != NO_DATA_SET

    @property
    def sop_class(self) -> str:
        return self._uid(_CLASS) or self._uid(_REQUESTED_CLASS)

    @property
    def sop_uid(self) -> str:
        return self._uid(_UID) or self._uid(_REQUESTED_UID)

    def number(self, element: int) -> int:
        value = self.values.get(element, b"")
        return int.from_bytes(value[:2], "little")

    def _uid(self, element: int) -> str:
        return self.values.get(element, b"").rstrip(b"\0 ").decode("latin-1")


class Sink(Protocol):
    """Where the data set of a C-STORE goes while it comes in. None of these may raise."""

    def write(self, chunk: bytes | memoryview) -> None: ...
    def discard(self) -> None: ...


@dataclass(slots=True)
class Message:
    """A complete message; `sink` holds what a C-STORE carried."""

    command: Command
    sink: Sink | None = None


class Desk(Protocol):
    """Opens a sink for a message whose command has come and whose data set is wanted."""

    def open(self, command: Command) -> Sink: ...


@dataclass(slots=True)
class Assembler:
    """Puts fragments of one association together. Not for two threads at once."""

    desk: Desk
    max_instance: int
    _raw: bytearray = field(default_factory=bytearray)
    _context: int | None = None
    _command: Command | None = None
    _sink: Sink | None = None
    _empty: int = 0
    _size: int = 0

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._context is not None

    def feed(self, context_id: int, fragment: bytes | memoryview) -> Message | None:
        """One presentation data value, its control header first; the message it completes."""
        if not fragment:
            raise ProtocolError("a fragment without its control header")
        if self._context not in (None, context_id):
            raise ProtocolError("fragments of two contexts interleaved")
        flags, data = fragment[0], memoryview(fragment)[1:]
        is_command, last = bool(flags & 1), bool(flags & 2)
        if is_command == (self._command is not None):
            raise ProtocolError("command and data set out of order")
        self._context = context_id
        if self._command is not None:
            return self._in_data(self._command, data, last)
        return self._in_command(context_id, data, last)

    def discard(self) -> None:
        """Forget the open message (association over)."""
        if self._sink:
            self._sink.discard()
        self._reset()

    def _in_command(self, context_id: int, data: memoryview, last: bool) -> Message | None:
        if len(self._raw) + len(data) > MAX_COMMAND or not (data or last):
            raise ProtocolError("a command set without end")
        self._raw += data
        if not last:
            return None
        command = self._command = parse(context_id, bytes(self._raw))
        self._raw.clear()
        if not command.has_data_set:
            return self._complete(command)
        if command.kind in (C_STORE, N_ACTION, N_EVENT_REPORT):
            self._sink = self.desk.open(command)
        return None

    def _in_data(self, command: Command, data: memoryview, last: bool) -> Message | None:
        self._size += len(data)
        self._empty = 0 if data else self._empty + 1
        if self._empty > MAX_EMPTY:
            raise ProtocolError("data set fragments without a byte")
        if self._size > self.max_instance:
            raise ProtocolError("a data set longer than limits.instance")
        if data and self._sink:
            self._sink.write(data)
        return self._complete(command) if last else None

    def _complete(self, command: Command) -> Message:
        message = Message(command, self._sink)
        self._reset()
        return message

    def _reset(self) -> None:
        self._raw.clear()
        self._context, self._command, self._sink = None, None, None
        self._empty = self._size = 0


def parse(context_id: int, raw: bytes) -> Command:
    """A command set from its bytes."""
    values, at = {}, 0
    while at + 8 <= len(raw):
        group, element, length = struct.unpack_from("<HHL", raw, at)
        if group != 0 or at + 8 + length > len(raw):
            raise ProtocolError("a command set that does not add up")
        values[element] = raw[at + 8 : at + 8 + length]
        at += 8 + length
    if at != len(raw) or len(values.get(_FIELD, b"")) != 2:
        raise ProtocolError("a command set that does not add up")
    return Command(context_id, values)


def answer(command: Command, status: int) -> bytes:
    """The response to a request, as a command set."""
    pairs = [
        (_CLASS, command.sop_class.encode("latin-1")),
        (_FIELD, struct.pack("<H", command.kind | _RESPONSE)),
        (_ANSWERED_ID, struct.pack("<H", command.message_id)),
        (_DATA_SET, struct.pack("<H", NO_DATA_SET)),
        (_STATUS, struct.pack("<H", status)),
    ]
    if command.kind != C_ECHO and is_uid(command.sop_uid):  # a bad one would upset the sender
        pairs.append((_UID, command.sop_uid.encode()))
    body = b"".join(
        struct.pack("<HHL", 0, element, len(value) + len(value) % 2)
        + value
        + b"\0" * (len(value) % 2)
        for element, value in pairs
    )
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def fragments(body: bytes, longest_pdu: int) -> Iterator[bytes]:
    """A command set as presentation data values (control header first) for this PDU length.

    longest_pdu: what the peer announced; 0 means no limit (PS3.8 D.1.1).
    """
    room = max(longest_pdu - 6, 1) if longest_pdu else len(body)
    for at in range(0, len(body), room):
        last = at + room >= len(body)
        yield bytes([1 | last << 1]) + body[at : at + room]


def p_data(context_id: int, fragment: bytes) -> bytes:
    """A P-DATA-TF of one presentation data value (PS3.8 9.3.5)."""
    size = len(fragment)
    return struct.pack(">BxLLB", 4, size + 5, size + 1, context_id) + fragment
