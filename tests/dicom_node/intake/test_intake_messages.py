"""DIMSE without a wire: legal and illegal runs of fragments, and the bytes of answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import intake_lab as lab
import pytest
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.intake import messages
from dicom_node.intake.messages import Assembler, Command, Message, ProtocolError

STORE = lab.store_rq(lab.CT, "1.2.3")
ECHO = lab.command((2, lab.VERIFICATION), (0x100, 0x30), (0x110, 7), (0x800, 0x0101))
FIND = lab.command((2, lab.CT), (0x100, 0x20), (0x110, 1), (0x800, 1))


@dataclass
class Bucket:
    data: bytearray = field(default_factory=bytearray)
    dropped: bool = False

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def discard(self) -> None:
        self.dropped = True


@dataclass
class Desk:
    opened: list[Bucket] = field(default_factory=list)

    def open(self, command: Command) -> Bucket:
        self.opened.append(Bucket())
        return self.opened[-1]


def feed(*fragments: bytes, context_id: int = 1, most: int = 1000) -> list[Message]:
    assembler = Assembler(Desk(), most)
    found = [assembler.feed(context_id, fragment) for fragment in fragments]
    return [message for message in found if message]


@pytest.mark.parametrize(
    ("fragments", "kinds", "data"),
    [
        pytest.param([b"\3" + ECHO], [0x30], [None], id="no data set"),
        pytest.param([b"\3" + STORE, b"\2abc"], [1], [b"abc"], id="one fragment each"),
        pytest.param(
            [b"\1" + STORE[:9], b"\3" + STORE[9:], b"\0ab", b"\0", b"\2c"], [1], [b"abc"], id="many"
        ),
        pytest.param([b"\3" + STORE, b"\2"], [1], [b""], id="empty data set"),
        pytest.param([b"\3" + STORE, b"\2a", b"\3" + ECHO], [1, 0x30], [b"a", None], id="two"),
        pytest.param([b"\3" + FIND, b"\0ab", b"\2c"], [0x20], [None], id="data of others dropped"),
        pytest.param([b"\xff" + ECHO], [0x30], [None], id="only two bits of the header count"),
    ],
)
def test_legal_runs(fragments: list[bytes], kinds: list[int], data: list[bytes | None]) -> None:
    found = feed(*fragments)
    assert [message.command.kind for message in found] == kinds
    sinks = [message.sink for message in found]
    assert [sink and bytes(sink.data) for sink in sinks] == data


@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param([b""], id="no control header"),
        pytest.param([b"\2abc"], id="data set first"),
        pytest.param([b"\3" + STORE, b"\3" + ECHO], id="command instead of data set"),
        pytest.param([b"\3" + STORE, *[b"\0"] * 100], id="fragments without a byte"),
        pytest.param([b"\1"], id="command fragment without a byte"),
        pytest.param([b"\1" + bytes(9000)] * 2, id="command without end"),
        pytest.param([b"\3" + STORE, *[b"\0" + bytes(600)] * 2], id="longer than limits.instance"),
        pytest.param([b"\3" + STORE[:-1]], id="command cut"),
        pytest.param([b"\3"], id="empty command"),
        pytest.param([b"\3" + bytes([8, 0]) + ECHO[2:]], id="element of another group"),
    ],
)
def test_illegal_runs(fragments: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        feed(*fragments)


def test_contexts_may_not_be_interleaved() -> None:
    assembler = Assembler(Desk(), 1000)
    assembler.feed(1, b"\3" + STORE)
    with pytest.raises(ProtocolError):
        assembler.feed(3, b"\2abc")


def test_an_open_message_is_discarded_once() -> None:
    desk = Desk()
    assembler = Assembler(desk, 1000)
    assembler.feed(1, b"\3" + STORE)
    assert assembler.inside
    assembler.discard()
    assert desk.opened[0].dropped
    assert not assembler.inside


@pytest.mark.parametrize("longest", [0, 16382, 128, 8], ids=str)
@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xC000], ids=hex)
def test_answers_are_read_by_others(status: int, longest: int) -> None:
    (asked,) = feed(b"\3" + STORE, b"\2a")
    primitive = P_DATA()
    pieces = list(messages.fragments(messages.answer(asked.command, status), longest))
    assert not longest or max(map(len, pieces)) + 5 <= longest
    primitive.presentation_data_value_list = [[1, piece] for piece in pieces]
    read = DIMSEMessage()
    assert read.decode_msg(primitive)
    answer = read.message_to_primitive()
    assert (answer.Status, answer.MessageIDBeingRespondedTo) == (status, 1)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (lab.CT, "1.2.3")


def test_an_invalid_uid_is_not_sent_back() -> None:
    (asked,) = feed(b"\3" + lab.store_rq(lab.CT, "../x"), b"\2a")
    assert b"../x" not in messages.answer(asked.command, 0x0117)
