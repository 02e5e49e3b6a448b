"""C-STORE sender: what each answer of a PACS becomes, against real associations."""

from __future__ import annotations

import socket
import time
from io import BytesIO
from pathlib import Path

import pytest
from destination_peers import (
    SC,
    SR,
    all_syntaxes,
    closed_port,
    cut_line,
    dicom_bytes,
    dicom_settings,
    never,
    pacs,
    parcel,
    storescp,
)
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt

from dicom_node.destinations import Fate, dicom
from dicom_node.destinations.dicom import DicomSender, judge

# pynetdicom 3.0 forgets to close its own socket when a connection is refused
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def sender(port: int, **changes: object) -> DicomSender:
    return DicomSender("pacs", dicom_settings(port, **changes), "DICTAMEN")


@pytest.mark.parametrize(
    ("status", "refusals", "fate", "alarm"),
    [
        pytest.param(0x0000, 0, Fate.DELIVERED, False, id="stored"),
        pytest.param(0xB000, 0, Fate.DELIVERED_WITH_WARNING, False, id="coerced"),
        pytest.param(0xB006, 0, Fate.DELIVERED_WITH_WARNING, False, id="elements discarded"),
        pytest.param(0xB007, 0, Fate.DELIVERED_WITH_WARNING, False, id="does not match class"),
        pytest.param(0x0111, 0, Fate.DELIVERED_WITH_WARNING, False, id="our own earlier send"),
        pytest.param(0xA700, 9, Fate.TRY_LATER, False, id="full is never final"),
        pytest.param(0xA7FF, 9, Fate.TRY_LATER, False, id="full, end of range"),
        pytest.param(0xA900, 0, Fate.TRY_LATER, False, id="first A900"),
        pytest.param(0xA900, 2, Fate.REJECTED, True, id="third A900"),
        pytest.param(0xC000, 1, Fate.TRY_LATER, False, id="second C000"),
        pytest.param(0xC123, 2, Fate.REJECTED, True, id="third C123"),
        pytest.param(0x0122, 2, Fate.REJECTED, True, id="class not supported"),
        pytest.param(0x0117, 2, Fate.REJECTED, True, id="invalid instance"),
        pytest.param(0x0110, 2, Fate.REJECTED, True, id="processing failure"),
        pytest.param(0x0124, 5, Fate.TRY_LATER, True, id="not authorised is for a person"),
    ],
)
def test_judge_of_a_status(status: int, refusals: int, fate: Fate, alarm: bool) -> None:
    outcome = judge(parcel(refusals=refusals), status)
    assert (outcome.fate, outcome.alarm, outcome.status) == (fate, alarm, f"0x{status:04X}")


def test_comment_of_the_peer_is_cleaned() -> None:
    outcome = judge(parcel(), 0xC000, "bad\x1b[31m\nthing")
    assert outcome.answer == "0xC000: bad [31m thing"
    assert outcome.status == "0xC000"


def test_one_association_for_a_batch_with_just_its_classes() -> None:
    batch = [parcel(1), parcel(2, "structured_report"), parcel(3)]
    with pacs() as peer:
        outcomes = sender(peer.port, keep_open="0s").send(batch, never)
    assert [each.delivery_id for each in outcomes] == [1, 2, 3]
    assert {each.fate for each in outcomes} == {Fate.DELIVERED}
    assert peer.stored == [each.uid for each in batch]
    assert (peer.associations, peer.offered) == (1, [[SC, SR]])


def test_bytes_arrive_unchanged_when_explicit_is_taken() -> None:
    item = parcel()
    with pacs() as peer:
        sender(peer.port).send([item], never)
    assert peer.syntaxes == [ExplicitVRLittleEndian]
    assert item.payload.endswith(peer.data[0])


def test_implicit_only_peer_gets_the_same_values() -> None:
    item = parcel()
    with pacs(takes={SC: [ImplicitVRLittleEndian]}) as peer:
        outcomes = sender(peer.port).send([item], never)
    assert outcomes[0].fate is Fate.DELIVERED
    assert peer.syntaxes == [ImplicitVRLittleEndian]
    got, sent = dcmread(BytesIO(peer.data[0]), force=True), dcmread(BytesIO(item.payload))
    assert {each.tag: each.value for each in got} == {each.tag: each.value for each in sent}


def test_nagle_is_off() -> None:
    seen: list[int] = []
    original = dicom._tune

    def spy(connection: socket.socket, timeout: float) -> None:
        original(connection, timeout)
        seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    dicom._tune = spy
    try:
        with pacs() as peer:
            sender(peer.port).send([parcel()], never)
    finally:
        dicom._tune = original
    assert seen
    assert all(seen)


def test_peer_that_stops_reading_is_left() -> None:
    """Without a time-out on the socket a full TCP window would hold the thread for ever."""
    big = parcel(payload=dicom_bytes("2.25.90001", size=40 * 2**20))

    def stall(event: evt.Event) -> None:
        if len(event.data) > 4096:
            time.sleep(6)

    started = time.monotonic()
    with pacs(handlers=[(evt.EVT_DATA_RECV, stall)]) as peer:
        outcomes = sender(peer.port, timeout="1s").send([big], never)
        took = time.monotonic() - started
    assert outcomes[0].fate is Fate.TRY_LATER
    assert took < 15


def test_stop_leaves_the_rest_untried() -> None:
    with pacs() as peer:
        outcomes = sender(peer.port).send([parcel(1), parcel(2)], lambda: len(peer.stored) >= 1)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED, Fate.TRY_LATER]
    assert outcomes[1].answer == ""


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"not dicom at all", id="not DICOM"),
        pytest.param(b"", id="empty"),
        pytest.param(dicom_bytes("2.25.5"), id="another instance"),
    ],
)
def test_unsendable_file_does_not_stop_the_others(payload: bytes) -> None:
    with pacs() as peer:
        outcomes = sender(peer.port).send([parcel(1, payload=payload), parcel(2)], never)
    assert [each.fate for each in outcomes] == [Fate.REJECTED, Fate.DELIVERED]


def test_line_cut_midway_keeps_what_was_stored() -> None:
    with pacs() as peer, cut_line(peer.port, lambda: len(peer.stored) == 2) as line:
        outcomes = sender(line).send([parcel(1), parcel(2), parcel(3)], never)
    assert [each.fate for each in outcomes] == [Fate.DELIVERED, Fate.TRY_LATER, Fate.TRY_LATER]
    # The one on the way waits by itself: were it the culprit, it must not hold up the others.
    assert [each.peer_wide for each in outcomes] == [False, False, True]


def test_carries_everything_but_hl7() -> None:
    assert sender(1).carries("overlay")
    assert sender(1).carries("text_report")
    assert not sender(1).carries("hl7_oru")


# ---- probe: the words an administrator reads first -------------------------------------------


def test_probe_of_a_good_peer() -> None:
    with pacs() as peer:
        assert sender(peer.port).probe() == ""


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        pytest.param(
            {"require_called_aet": True, "title": "OTHER"},
            ["RJ 1/1/7", "called AE title not recognised", "PACS at 127.0.0.1", "ae_title"],
            id="wrong called title",
        ),
        pytest.param(
            {"require_calling_aet": ["SOMEBODY"]},
            ["RJ 1/1/3", "calling AE title not recognised", "DICTAMEN", "enter DICTAMEN"],
            id="we are not known",
        ),
        pytest.param({"echo": 0x0122}, ["C-ECHO", "0x0122"], id="bad status"),
        pytest.param({"takes": all_syntaxes([SC])}, ["Verification"], id="no Verification"),
    ],
)
def test_probe_says_what_is_wrong(attributes: dict[str, object], words: list[str]) -> None:
    with pacs(**attributes) as peer:  # type: ignore[arg-type]
        answer = sender(peer.port).probe()
    for word in words:
        assert word in answer


def test_probe_of_a_closed_port() -> None:
    with closed_port() as port:
        answer = sender(port).probe()
    assert answer == f"no connection to PACS at 127.0.0.1:{port}: connection refused"


def test_probe_of_a_listener_that_is_no_pacs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = sender(listener.getsockname()[1], timeout="500ms").probe()
    assert "accepted no association" in answer


@pytest.mark.system
def test_dcmtk_stores_what_we_send(tmp_path: Path) -> None:
    batch = [parcel(1), parcel(2, "structured_report"), parcel(3, "strip")]
    with storescp(tmp_path) as port:
        outcomes = sender(port).send(batch, never)
        assert sender(port).probe() == ""
    assert {each.fate for each in outcomes} == {Fate.DELIVERED}
    found = {dcmread(path).SOPInstanceUID: dcmread(path) for path in tmp_path.iterdir()}
    assert set(found) == {each.uid for each in batch}
    assert {str(each.PatientName) for each in found.values()} == {"Peña^José"}


@pytest.mark.system
def test_dcmtk_that_takes_implicit_only(tmp_path: Path) -> None:
    with storescp(tmp_path, "+xi") as port:
        outcomes = sender(port).send([parcel()], never)
    assert outcomes[0].fate is Fate.DELIVERED
    (path,) = tmp_path.iterdir()
    assert dcmread(path).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
