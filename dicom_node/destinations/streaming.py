"""Sends an instance's bytes as they are, inside a pynetdicom association that we opened.

pynetdicom decodes an instance, encodes it anew and hands each PDU through two threads: 0.3 s for a
strip of 18 MB. Here `send_c_store` gets the header alone, and where it would send its message the
file's own bytes go out, PDU by PDU, many in one write. Negotiation, message numbers, answers and
time-outs stay the library's. Only for bytes whose transfer syntax the peer accepted.
Private names of pynetdicom: `Association.dimse`, `_reactor_checkpoint`,
`DIMSEServiceProvider.send_msg`, `get_msg`, `DULServiceProvider.socket`, `_idle_timer`,
`_run_loop_delay`. With a version that nobody tried nothing is streamed.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any

import pynetdicom
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

TRIED = ("3.0.4",)
AT_ONCE = 1 << 20  # bytes of one write
_LONGEST = 1 << 17  # bytes of a PDU, whatever more the peer would take
_OFTEN, _SELDOM = 0.001, 0.05  # seconds between two looks of the library at its socket
_GONE = 0.5  # seconds that the answer to a message gets which could not be sent
_META = 132  # preamble and DICM; then (0002,0000) UL, the length of the file meta information


def usable() -> bool:
    """Whether this pynetdicom is one that streaming was tried with."""
    return pynetdicom.__version__ in TRIED


def can_stream(association: Association, header: Dataset) -> bool:
    """Whether the peer takes the instance in the syntax that it is written in."""
    return usable() and any(
        cx.abstract_syntax == header.SOPClassUID
        and cx.transfer_syntax[0] == header.file_meta.TransferSyntaxUID
        for cx in association.accepted_contexts
    )


def read_header(payload: bytes) -> Dataset:
    """All but the pixels. Raises what dcmread raises."""
    return dcmread(BytesIO(payload), stop_before_pixels=True)


def store(association: Association, header: Dataset, payload: bytes) -> Dataset:
    """C-STORE of a Part 10 file's bytes; the answer as `send_c_store` returns it.

    Raises what `send_c_store` raises; ValueError for bytes without a length of their file meta.
    """
    body = memoryview(payload)[_data_set_at(payload) :]
    dimse = association.dimse
    stock = dimse.send_msg

    def send(primitive: Any, context_id: int) -> None:
        if not isinstance(primitive, C_STORE):
            raise TypeError(f"{type(primitive).__name__} instead of a C-STORE request")
        message = C_STORE_RQ()
        message.primitive_to_message(primitive)
        command = encode(message.command_set, True, True) or b""
        line, timer = association.dul.socket, association.dul._idle_timer
        if line is None or line.socket is None:
            return  # lost meanwhile: the wait for an answer ends the same way
        room = min(dimse.maximum_pdu_size or _LONGEST, _LONGEST) - 6
        try:
            for piece in _batched(context_id, command, body, room):
                line.socket.sendall(piece)
                timer.restart()
        except OSError:  # the library notices it too; a peer that stopped reading, only now
            association.dimse_timeout = _GONE

    dimse.send_msg = send
    try:
        answer: Dataset = association.send_c_store(header)
        return answer
    finally:
        dimse.send_msg = stock


@contextmanager
def answers_for_us(association: Association) -> Iterator[None]:
    """While this is open, only those who wait for a message take one.

    pynetdicom's reactor says that it is paused just before it pauses. Between the two it may still
    look for a message, find the answer to our request and drop it; we would wait for our time-out.
    """
    dimse, stock = association.dimse, association.dimse.get_msg
    dimse.get_msg = lambda block=False: stock(block) if block else (None, None)
    try:
        yield
    finally:
        dimse.get_msg = stock


def rest(association: Association, resting: bool) -> None:
    """Let the library look less often for what comes over an association that nobody uses."""
    if not usable():
        return
    association.dul._run_loop_delay = _SELDOM if resting else _OFTEN
    # The association's own loop has no such delay, yet passes this point in each turn.
    passed = association._reactor_checkpoint
    passed.wait = partial(_slowly, passed) if resting else partial(threading.Event.wait, passed)


def _slowly(passed: threading.Event) -> bool:
    time.sleep(_SELDOM)
    return threading.Event.wait(passed)


def _data_set_at(payload: bytes) -> int:
    """Where the data set begins (PS3.10 7.1)."""
    tag = payload[_META : _META + 8]
    if payload[_META - 4 : _META] != b"DICM" or tag != b"\2\0\0\0UL\4\0":
        raise ValueError("no length of the file meta information")
    return _META + 12 + int.from_bytes(payload[_META + 8 : _META + 12], "little")


def _batched(context_id: int, command: bytes, body: memoryview, room: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs of one value each (PS3.8 9.3.5), about AT_ONCE bytes together."""
    batch: list[bytes | memoryview] = []
    for value, first in ((memoryview(command), 1), (body, 0)):
        for at in range(0, len(value), room):
            part = value[at : at + room]
            control = first | (2 if at + room >= len(value) else 0)
            head = struct.pack(">BxLLBB", 4, len(part) + 6, len(part) + 2, context_id, control)
            batch += (head, part)
            if len(batch) * room >= 2 * AT_ONCE:
                yield b"".join(batch)
                batch = []
    if batch:
        yield b"".join(batch)
