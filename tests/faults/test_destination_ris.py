"""An HL7 receiver that is down, silent, unhappy, refusing, confused or talking garbage."""

from __future__ import annotations

from pathlib import Path

import pytest
from courier_bench import all_delivered, audit, carry_until, file_study, of, states, storage_in
from courier_bench import running as running_courier
from destination_peers import (
    Answer,
    ack,
    closed_port,
    framed,
    free_port,
    mllp_settings,
    ris,
    wait_until,
)
from structlog.testing import capture_logs

from dicom_node.courier import Event
from dicom_node.destinations import Destination
from dicom_node.destinations.build import build
from dicom_node.destinations.mllp import MAX_ACK_BYTES

ONE = (("hl7_oru", ["ris"]),)
ORDER = [f"ORU2257{number:03d}" for number in range(1, 6)]


def peer(port: int, **changes: object) -> dict[str, Destination]:
    return {"ris": build("ris", mllp_settings(port, **changes), "DICTAMEN")}


def test_mllp_down(tmp_path: Path) -> None:
    """Closed at first, over a restart of the courier; then in order, each with its MSH-10."""
    with storage_in(tmp_path) as storage:
        with closed_port() as port:
            for number in range(1, 6):
                file_study(storage, number, ONE)
            with running_courier(storage, peer(port)) as beside:
                wait_until(lambda: beside.count(Event.DOWN) >= 2)
            assert states(storage) == {"waiting": 5}
        with ris(port=port) as office:
            carry_until(storage, peer(port), lambda: all_delivered(storage))
            assert office.controls == ORDER


def test_mllp_down_then_up_under_a_running_courier(tmp_path: Path) -> None:
    port = free_port()
    with storage_in(tmp_path) as storage:
        for number in range(1, 6):
            file_study(storage, number, ONE)
        with running_courier(storage, peer(port)) as beside:
            wait_until(lambda: beside.count(Event.DOWN) >= 1)
            with ris(port=port) as office:
                wait_until(lambda: all_delivered(storage))
                assert office.controls == ORDER


def test_mllp_silent(tmp_path: Path) -> None:
    """No answer: time-out, a new connection, the same bytes; the others stay behind it."""
    with (
        storage_in(tmp_path) as storage,
        ris(lambda message, count: None if count <= 2 else ack(message)) as office,
    ):
        for number in range(1, 4):
            file_study(storage, number, ONE)
        carry_until(storage, peer(office.port, timeout="300ms"), lambda: all_delivered(storage))
        assert office.controls == [ORDER[0], ORDER[0], *ORDER[:3]]
        assert len(office.digests) == 3
        assert office.connections >= 3


def test_mllp_ae(tmp_path: Path) -> None:
    """Retried a few times, then held with the words of MSA-3 and ERR; later messages go."""

    def answer(message: bytes, _count: int) -> bytes:
        refused = ORDER[0].encode() in message
        return ack(message, "AE", text="order unknown") if refused else ack(message)

    with storage_in(tmp_path) as storage, ris(answer) as office:
        for number in range(1, 4):
            file_study(storage, number, ONE)
        with capture_logs() as lines:
            done = {"held": 1, "delivered": 2}
            carry_until(storage, peer(office.port, ae_retries=2), lambda: states(storage) == done)
        assert office.controls == [ORDER[0]] * 3 + ORDER[1:3]
        words = of(storage, ORDER[0]).answer
        assert words.startswith("AE: order unknown; PID^1^3")
        assert "patient not on file" in words
        held = [row.entry for row in audit(storage, "110106") if row.entry.outcome == 8]
        assert [each.details["answer"] for each in held] == [words]
        (said,) = [line for line in lines if line["event"] == Event.HELD]
        assert said["alarm"]
        assert "order unknown" not in str(lines)


def test_mllp_ae_counts_refusals_and_not_an_outage(tmp_path: Path) -> None:
    """Hours of silence before the first AE must not use up its retries."""

    def answer(message: bytes, count: int) -> bytes | None:
        return None if count <= 2 else ack(message, "AE" if count <= 3 else "AA")

    with storage_in(tmp_path) as storage, ris(answer) as office:
        file_study(storage, 1, ONE)
        slow = peer(office.port, ae_retries=1, timeout="200ms")
        carry_until(storage, slow, lambda: all_delivered(storage), seconds=60)
        assert len(office.messages) == 4


def test_mllp_ar(tmp_path: Path) -> None:
    """Refused for good: no retry, held, alarm; the next one goes at once."""
    with (
        storage_in(tmp_path) as storage,
        ris(lambda message, count: ack(message, "AR" if count == 1 else "AA")) as office,
    ):
        for number in range(1, 3):
            file_study(storage, number, ONE)
        with capture_logs() as lines:
            done = {"held": 1, "delivered": 1}
            carry_until(storage, peer(office.port), lambda: states(storage) == done)
        assert office.controls == ORDER[:2]
        (said,) = [line for line in lines if line["event"] == Event.HELD]
        assert said["alarm"]


def test_mllp_wrong_id(tmp_path: Path) -> None:
    """An AA for another message delivers nothing."""
    with (
        storage_in(tmp_path) as storage,
        ris(lambda message, count: ack(message, control="X1" if count == 1 else None)) as office,
    ):
        file_study(storage, 1, ONE)
        with running_courier(storage, peer(office.port, timeout="400ms")):
            wait_until(lambda: "another message" in storage.outbox.list()[0].answer)
            wait_until(lambda: all_delivered(storage))
        assert office.controls == [ORDER[0]] * 2
        assert len(office.digests) == 1


BOUND = f"sent {MAX_ACK_BYTES} bytes and no acknowledgement"
NONSENSE = "answered with something that is no acknowledgement"


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        pytest.param(
            lambda m: b"HTTP/1.1 400 Bad Request\r\n\r\n", "no acknowledgement", id="no frame"
        ),
        pytest.param(lambda m: b"\x0b" + b"x" * (2 * MAX_ACK_BYTES), BOUND, id="unending frame"),
        pytest.param(lambda m: b"x" * (2 * MAX_ACK_BYTES), BOUND, id="unending, no frame"),
        pytest.param(lambda m: framed(b"\x00\xff not HL7 \xfe"), NONSENSE, id="frame of garbage"),
        pytest.param(lambda m: ack(m, "ZZ"), NONSENSE, id="unknown code"),
    ],
)
def test_mllp_garbage(tmp_path: Path, garbage: Answer, said: str) -> None:
    """Bounded, closed, and treated as silence: the same message again."""
    with (
        storage_in(tmp_path) as storage,
        ris(lambda m, n: garbage(m) if n == 1 else ack(m)) as office,  # type: ignore[call-arg]
    ):
        file_study(storage, 1, ONE)
        carry_until(storage, peer(office.port, timeout="500ms"), lambda: all_delivered(storage))
        assert office.controls == [ORDER[0]] * 2
        assert office.connections == 2
        answers = [str(row.entry.details.get("answer")) for row in storage.audit.list(limit=1000)]
        assert any(said in answer for answer in answers), answers


def test_callback_dns_of_a_ris(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage:
        file_study(storage, 1, ONE)
        nowhere = peer(2575, host="ris.hospital.invalid")
        with running_courier(storage, nowhere) as beside:
            wait_until(lambda: beside.count(Event.DOWN) >= 1, 60)
        assert "does not resolve" in storage.outbox.list()[0].answer
