"""MLLP sender: what each answer of a receiver becomes, over real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from destination_peers import (
    Answer,
    ack,
    closed_port,
    framed,
    mllp_settings,
    never,
    parcel,
    ris,
    wait_until,
)

from dicom_node.destinations import Fate
from dicom_node.destinations.mllp import (
    MAX_ACK_BYTES,
    Acknowledgement,
    MllpSender,
    control_id,
    judge,
    parse_acknowledgement,
    split_frames,
)


def sender(port: int, **changes: object) -> MllpSender:
    return MllpSender("ris", mllp_settings(port, **changes))


def batch(count: int = 3) -> list:
    return [parcel(number, "hl7_oru") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("code", "refusals", "fate"),
    [
        pytest.param("AA", 0, Fate.DELIVERED, id="accepted"),
        pytest.param("CA", 0, Fate.DELIVERED, id="commit accepted"),
        pytest.param("AE", 0, Fate.TRY_LATER, id="first error"),
        pytest.param("CE", 2, Fate.TRY_LATER, id="third error"),
        pytest.param("AE", 3, Fate.HELD, id="error after three retries"),
        pytest.param("AR", 0, Fate.HELD, id="refused"),
        pytest.param("CR", 0, Fate.HELD, id="commit refused"),
    ],
)
def test_judge_of_an_acknowledgement(code: str, refusals: int, fate: Fate) -> None:
    item = parcel(1, "hl7_oru", refusals=refusals)
    outcome = judge(item, Acknowledgement(code, item.uid, "why"), ae_retries=3)
    assert (outcome.fate, outcome.answer, outcome.status) == (fate, f"{code}: why", code)
    assert outcome.alarm == (fate is Fate.HELD)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(
            b"MSH|^~\\&|a\rMSA|AA|X1\r", Acknowledgement("AA", "X1", ""), id="shortest good one"
        ),
        pytest.param(b"MSH|^~\\&|a\nMSA|AA|X1\n", Acknowledgement("AA", "X1", ""), id="line feeds"),
        pytest.param(
            b"MSH#^~\\&#a\rMSA#AE#X1#no\r", Acknowledgement("AE", "X1", "no"), id="own separator"
        ),
        pytest.param(
            b"MSH|^~\\&|a\rMSA|AE|X1|a\\F\\b\rERR||PID^1|204^Unknown|E||||say \x1b[31mso\r",
            Acknowledgement("AE", "X1", "a|b; PID^1 204^Unknown say  [31mso"),
            id="MSA-3 and ERR, unescaped, without terminal codes",
        ),
        pytest.param(b"MSH|^~\\&|a\rMSA|OK|X1\r", None, id="unknown code"),
        pytest.param(b"MSH|^~\\&|a\r", None, id="no MSA"),
        pytest.param(b"MSA|AA|X1\r", None, id="no MSH"),
        pytest.param(b"MSH", None, id="cut"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\xff\xfe\x00", None, id="not text"),
    ],
)
def test_parse_acknowledgement(frame: bytes, expected: Acknowledgement | None) -> None:
    assert parse_acknowledgement(frame) == expected


@pytest.mark.parametrize(
    ("data", "frames", "rest"),
    [
        pytest.param(b"\x0bA\x1c\r", [b"A"], b"", id="one"),
        pytest.param(b"\x0bA\x1c\r\x0bB", [b"A"], b"\x0bB", id="one and a half"),
        pytest.param(b"\r\n\x0bA\x1c\r", [b"A"], b"", id="bytes before"),
        pytest.param(b"A\x1c\r", [], b"", id="no start"),
        pytest.param(b"\x0bA\x1c", [b"A"], b"", id="no CR after the end, or not yet"),
        pytest.param(b"\r\x0bB\x1c\n", [b"B"], b"\n", id="the CR of the one before, LF for CR"),
    ],
)
def test_split_frames(data: bytes, frames: list[bytes], rest: bytes) -> None:
    assert split_frames(data) == (frames, rest)


@pytest.mark.parametrize(
    ("message", "control"),
    [
        pytest.param(parcel(7, "hl7_oru").payload, "ORU00007", id="ours"),
        pytest.param(b"MSH|^~\\&|a\r", "", id="too short"),
        pytest.param(b"PID|1\r", "", id="no MSH"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_control_id(message: bytes, control: str) -> None:
    assert control_id(message) == control


def test_messages_go_in_order_on_one_connection() -> None:
    with ris() as peer:
        outcomes = sender(peer.port).send(batch(), never)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED] * 3
    assert peer.controls == ["ORU00001", "ORU00002", "ORU00003"]
    assert peer.messages[0] == parcel(1, "hl7_oru").payload
    assert peer.connections == 1


def test_receiver_that_hangs_up_after_each_answer() -> None:
    with ris(once=True) as peer:
        outcomes = sender(peer.port).send(batch(), never)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED] * 3
    assert peer.controls == ["ORU00001", "ORU00002", "ORU00003"]


def late_answer(message: bytes, count: int) -> bytes:
    """The acknowledgement of an earlier message first, then the right one."""
    return ack(message, control="OLD") + ack(message)


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        pytest.param(late_answer, Fate.DELIVERED, id="a late one for another message first"),
        pytest.param(lambda m, n: b"\r\n" + ack(m), Fate.DELIVERED, id="line ends before it"),
        pytest.param(lambda m, n: ack(m)[:-1], Fate.DELIVERED, id="forgets the CR of its frame"),
        pytest.param(lambda m, n: ack(m)[:-1] + b"\n", Fate.DELIVERED, id="LF instead of it"),
        pytest.param(lambda m, n: b"", Fate.TRY_LATER, id="hangs up"),
        pytest.param(lambda m, n: ack(m)[:-2], Fate.TRY_LATER, id="frame never ends"),
        pytest.param(lambda m, n: framed(b"hello"), Fate.TRY_LATER, id="frame without HL7"),
    ],
)
def test_odd_answers(answer: Answer, fate: Fate) -> None:
    with ris(answer) as peer:
        outcomes = sender(peer.port, timeout="400ms").send(batch(1), never)
    assert outcomes[0].fate is fate
    assert outcomes[0].peer_wide == (fate is Fate.TRY_LATER)


def test_unending_frame_is_left_after_its_bound() -> None:
    with ris(lambda m, n: b"\x0b" + b"x" * (MAX_ACK_BYTES + 8192)) as peer:
        started = time.monotonic()
        outcomes = sender(peer.port, timeout="20s").send(batch(1), never)
        assert time.monotonic() - started < 10
    assert outcomes[0].fate is Fate.TRY_LATER
    assert "65536 bytes" in outcomes[0].answer


def test_a_message_that_waits_makes_the_rest_wait() -> None:
    with ris(lambda m, n: ack(m, "AE" if n == 2 else "AA")) as peer:
        outcomes = sender(peer.port).send(batch(), never)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED, Fate.TRY_LATER, Fate.TRY_LATER]
    assert [each.refused for each in outcomes] == [False, True, False]
    assert outcomes[2].peer_wide
    assert len(peer.messages) == 2


def test_what_waits_behind_many_says_why_once() -> None:
    with ris(lambda m, n: ack(m, "AE")) as peer:
        outcomes = sender(peer.port).send(batch(), never)
    first, *rest = (each.answer for each in outcomes)
    assert rest == [f"waits: {first}"] * 2


def test_held_message_lets_the_next_go() -> None:
    with ris(lambda m, n: ack(m, "AR" if n == 1 else "AA")) as peer:
        outcomes = sender(peer.port).send(batch(), never)
    assert [each.fate for each in outcomes] == [Fate.HELD, Fate.DELIVERED, Fate.DELIVERED]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"PID|1\r", id="no MSH-10"),
        pytest.param(parcel(1, "hl7_oru").payload + b"NTE|\x1c\r", id="end of frame inside"),
        pytest.param(parcel(1, "hl7_oru").payload + b"NTE|\x0b\r", id="start of frame inside"),
    ],
)
def test_message_that_would_break_the_frame_never_goes(payload: bytes) -> None:
    with ris() as peer:
        outcomes = sender(peer.port).send([parcel(1, "hl7_oru", payload=payload)], never)
    assert outcomes[0].fate is Fate.REJECTED
    assert peer.messages == []


def test_stop_leaves_the_rest_untried() -> None:
    with ris() as peer:
        outcomes = sender(peer.port).send(batch(), lambda: len(peer.messages) >= 1)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED, Fate.TRY_LATER, Fate.TRY_LATER]
    assert [each.answer for each in outcomes[1:]] == ["", ""]


def test_probe() -> None:
    with ris() as peer:
        assert sender(peer.port).probe() == ""
    with closed_port() as port:
        answer = sender(port).probe()
    assert answer == f"no connection to 127.0.0.1:{port}: connection refused"


def test_carries_hl7_only() -> None:
    assert sender(1).carries("hl7_oru")
    assert not sender(1).carries("overlay")


# ---- the trial RIS --------------------------------------------------------------------------


@contextmanager
def trial_ris(shared: Path, out: Path, *options: str) -> Iterator[int]:
    command = [sys.executable, shared / "tools" / "mllp_lab.py", "serve", "--port", "0"]
    log = out.with_suffix(".log")
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [*map(str, command), "--out", str(out), *options],
            stdout=sink,
            stderr=sink,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        try:
            wait_until(lambda: "listening on" in log.read_text())
            yield int(log.read_text().split("127.0.0.1:")[1].split()[0])
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("mode", "fate", "status"),
    [
        pytest.param("auto", Fate.DELIVERED, "AA", id="auto"),
        pytest.param("aa", Fate.DELIVERED, "AA", id="aa"),
        pytest.param("ae", Fate.TRY_LATER, "AE", id="ae"),
        pytest.param("ar", Fate.HELD, "AR", id="ar"),
        pytest.param("silent", Fate.TRY_LATER, "no acknowledgement", id="silent"),
        pytest.param("garbage", Fate.TRY_LATER, "no acknowledgement", id="garbage"),
        pytest.param("slow", Fate.DELIVERED, "AA", id="slow"),
        pytest.param("split", Fate.DELIVERED, "AA", id="split"),
        pytest.param("wrongid", Fate.TRY_LATER, "no acknowledgement", id="wrongid"),
        pytest.param("drop", Fate.TRY_LATER, "no acknowledgement", id="drop"),
    ],
)
def test_every_mode_of_the_trial_ris(
    shared: Path, tmp_path: Path, mode: str, fate: Fate, status: str
) -> None:
    text = (shared / "examples" / "oru_r01.hl7").read_bytes()
    message = text.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    item = parcel(1, "hl7_oru", payload=message, uid=control_id(message))
    with trial_ris(shared, tmp_path / "ris", "--mode", mode, "--delay", "0.3") as port:
        outcomes = sender(port, timeout="1500ms").send([item], never)
    assert (outcomes[0].fate, outcomes[0].status) == (fate, status)
