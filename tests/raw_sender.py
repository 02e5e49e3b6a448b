"""A small, fast C-STORE sender of ready-made bytes; independent of pynetdicom and of our own code.

For benchmarks, kills and soaks: it must not be the slow side. TCP_NODELAY is set. The data sets are
made from the UID alone, so that what was sent needs no remembering.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import struct

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
_count = itertools.count(1)


def new_uid() -> str:
    """44 characters; no two alike in this run or another."""
    tail = (
        f"{os.getpid() % 1000000:06d}{next(_count):09d}{int.from_bytes(os.urandom(4)) % 10**9:09d}"
    )
    return f"1.2.826.0.1.3680043.9.1{tail}"[:44].ljust(44, "1")


def data_set(uid: str, pixels: int, study: str = "1.2.3.4.5.6", sop_class: str = CT) -> bytes:
    """An image in explicit VR little endian; its pixels are a function of the UID."""

    def element(tag: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr in (b"UI", b"OW") else b" ") * (len(value) % 2)
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
        return head + struct.pack("<xxL" if vr == b"OW" else "<H", len(value)) + value

    noise = hashlib.sha256(uid.encode()).digest() * (pixels // 32 + 1)
    pairs = [
        (0x00080016, b"UI", sop_class.encode()), (0x00080018, b"UI", uid.encode()),
        (0x00080020, b"DA", b"20260101"), (0x00080060, b"CS", b"CT"),
        (0x00100010, b"PN", b"TEST^RAW"), (0x00100020, b"LO", b"RAW-1"),
        (0x0020000D, b"UI", study.encode()), (0x0020000E, b"UI", study.encode() + b".1"),
        (0x00200013, b"IS", b"1"), (0x00280002, b"US", b"\1\0"),
        (0x00280010, b"US", b"\x10\0"), (0x00280011, b"US", b"\x10\0"),
        (0x00280100, b"US", b"\x10\0"), (0x7FE00010, b"OW", noise[: pixels // 2 * 2]),
    ]  # fmt: skip
    return b"".join(element(*pair) for pair in pairs)


class Refused(Exception):
    """The peer did not open the association."""


class Sender:
    """One association. Raises OSError when the peer is gone."""

    def __init__(
        self, port: int, called: str = "DICTAMEN", calling: str = "PACS", patience: float = 30.0,
        sop_class: str = CT,
    ) -> None:  # fmt: skip
        self._class, self._message = sop_class, 0
        self._socket = socket.create_connection(("127.0.0.1", port), patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        try:
            self._socket.sendall(association_request(called, calling, sop_class))
            kind, body = self._pdu()
            if kind != 2:
                raise Refused(f"PDU {kind}: {body[:4].hex()}")
            self.longest = _longest(body) or 1 << 17
        except BaseException:
            self.close()
            raise

    def store(self, uid: str, raw: bytes) -> int:
        """C-STORE; the status."""
        self._socket.sendall(self.packed(uid, raw))
        return self.answer()

    def packed(self, uid: str, raw: bytes) -> bytes:
        """The PDUs of one C-STORE."""
        self._message = self._message % 65535 + 1
        command = _command(self._class, uid, self._message)
        pieces = [_p_data(b"\3" + command)]
        room = min(self.longest, 1 << 17) - 6
        for at in range(0, len(raw), room):
            last = at + room >= len(raw)
            pieces.append(_p_data(bytes([last << 1]) + raw[at : at + room]))
        return b"".join(pieces)

    def send(self, packed: bytes | bytearray) -> int:
        """Send ready-made PDUs of one C-STORE; the status."""
        self.push(packed)
        return self.answer()

    def push(self, packed: bytes | bytearray) -> None:
        """Send ready-made PDUs; returns when the last byte has left."""
        self._socket.sendall(packed)

    def answer(self) -> int:
        kind, body = self._pdu()
        if kind != 4:
            raise ConnectionAbortedError(f"PDU {kind} instead of an answer")
        at, raw = 6, body
        while at + 8 <= len(raw):
            _, element, length = struct.unpack_from("<HHL", raw, at)
            if element == 0x0900:
                return int.from_bytes(raw[at + 8 : at + 10], "little")
            at += 8 + length
        raise ConnectionAbortedError("an answer without a status")

    def release(self) -> None:
        self._socket.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        self._pdu()
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _pdu(self) -> tuple[int, bytes]:
        head = self._file.read(6)
        if len(head) < 6:
            raise ConnectionResetError("the peer hung up")
        kind, length = struct.unpack(">BxL", head)
        return kind, self._file.read(length)


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def association_request(called: str, calling: str, sop_class: str = CT) -> bytes:
    """An A-ASSOCIATE-RQ for this class and Verification."""
    body = struct.pack(">HH16s16s32x", 1, 0, called.encode().ljust(16), calling.encode().ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract in ((1, sop_class), (3, VERIFICATION)):
        syntax = _item(0x40, EXPLICIT.encode())
        body += _item(0x20, struct.pack(">Bxxx", number) + _item(0x30, abstract.encode()) + syntax)
    user = _item(0x51, struct.pack(">L", 1 << 17)) + _item(0x52, b"1.2.826.0.1.3680043.9.1")
    body += _item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def _longest(accepted: bytes) -> int:
    at = accepted.find(b"\x51\0\0\4")
    return int.from_bytes(accepted[at + 4 : at + 8]) if at >= 0 else 0


def _command(sop_class: str, uid: str, message: int) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value

    body = b"".join(
        element(number, value)
        for number, value in (
            (0x0002, sop_class.encode()), (0x0100, b"\1\0"), (0x0110, struct.pack("<H", message)),
            (0x0700, b"\0\0"), (0x0800, b"\0\0"), (0x1000, uid.encode()),
        )
    )  # fmt: skip
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _p_data(fragment: bytes) -> bytes:
    size = len(fragment) + 1
    return struct.pack(">BxLLB", 4, size + 4, size, 1) + fragment
