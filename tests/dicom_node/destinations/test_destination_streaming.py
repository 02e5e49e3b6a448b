"""Bytes that go out as they are, over an association that stays open for a while."""

from __future__ import annotations

import hashlib
import time

import pytest
from destination_peers import (
    SC,
    SC_RGB,
    SR,
    VERIFICATION,
    dicom_bytes,
    dicom_settings,
    never,
    pacs,
    parcel,
    wait_until,
)
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from dicom_node.destinations import Fate, streaming
from dicom_node.destinations.dicom import DicomSender

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
UID = "2.25.90001"


def sender(port: int, **changes: object) -> DicomSender:
    return DicomSender("pacs", dicom_settings(port, **changes), "DICTAMEN")


def sent(to: DicomSender, number: int = 1, **changes: object) -> Fate:
    (outcome,) = to.send([parcel(number, **changes)], never)
    return outcome.fate


@pytest.mark.parametrize("pdu", [4096, 16382, 0])
@pytest.mark.parametrize("size", [64, 4090 * 3 - 420, 1 << 20, 3_000_001])
def test_what_the_peer_gets_is_what_was_written(pdu: int, size: int) -> None:
    payload = dicom_bytes(UID, size=size)
    with pacs(maximum_pdu_size=pdu) as seen:
        to = sender(seen.port)
        assert sent(to, payload=payload, uid=UID) is Fate.DELIVERED
        to.close()
    assert hashlib.sha256(payload[-len(seen.data[0]) :]).digest() == (
        hashlib.sha256(seen.data[0]).digest()
    )
    assert len(seen.data[0]) > size


def test_a_data_set_that_ends_with_a_pdu() -> None:
    """For every length around a multiple of the room in a PDU the last fragment is the last."""
    with pacs(maximum_pdu_size=4096) as seen:
        to = sender(seen.port)
        for number, size in enumerate(range(7600, 7800, 2), 1):
            assert sent(to, number, payload=dicom_bytes(UID, size=size), uid=UID) is Fate.DELIVERED
        to.close()
    assert len(seen.data) == 100


def test_batches_share_an_association_until_it_was_silent_for_long_enough() -> None:
    with pacs() as seen:
        to = sender(seen.port, keep_open="400ms")
        assert sent(to, 1) is sent(to, 2, kind="structured_report") is Fate.DELIVERED
        assert seen.associations == 1
        wait_until(lambda: not seen.entity.active_associations)
        assert sent(to, 3) is Fate.DELIVERED
        assert seen.associations == 2
        to.close()
        wait_until(lambda: not seen.entity.active_associations)


def test_without_keep_open_each_batch_has_its_own_with_just_its_classes() -> None:
    with pacs() as seen:
        to = sender(seen.port, keep_open="0s")
        assert sent(to, 1) is sent(to, 2) is Fate.DELIVERED
    assert seen.offered == [[SC], [SC]]


def test_a_peer_that_let_go_of_it_meanwhile_gets_a_new_one_at_once() -> None:
    with pacs() as seen:
        to = sender(seen.port, keep_open="60s")
        assert sent(to, 1) is Fate.DELIVERED
        for link in seen.entity.active_associations:
            link.abort()
        began = time.monotonic()
        assert sent(to, 2) is Fate.DELIVERED
        assert time.monotonic() - began < 10
        assert seen.associations == 2
        to.close()


def test_a_peer_that_dies_inside_the_kept_association_gets_the_same_uid_again() -> None:
    def answer(_uid: str, count: int) -> int:
        if len(seen.stored) == 2:  # the second study's first try
            for link in seen.entity.active_associations:
                link.abort()
        return 0x0000

    with pacs(answer) as seen:
        to = sender(seen.port, keep_open="60s")
        assert sent(to, 1) is Fate.DELIVERED
        assert sent(to, 2) is Fate.DELIVERED
        assert seen.stored == ["2.25.90001", "2.25.90002", "2.25.90002"]
        to.close()


def test_a_class_that_the_kept_association_was_not_opened_for() -> None:
    other = "1.2.840.10008.5.1.4.1.1.104.1"  # no report of ours is an encapsulated PDF
    takes = {each: [ExplicitVRLittleEndian] for each in (SC, other)}
    with pacs(takes=takes) as seen:
        to = sender(seen.port, keep_open="60s")
        assert sent(to, 1) is Fate.DELIVERED
        payload = dicom_bytes(UID, other)
        assert sent(to, 2, payload=payload, uid=UID, sop_class=other) is Fate.DELIVERED
        assert seen.associations == 2
        to.close()


def test_a_peer_that_takes_implicit_alone_gets_it_encoded_anew() -> None:
    with pacs(takes={SC: [ImplicitVRLittleEndian]}) as seen:
        to = sender(seen.port)
        assert sent(to) is Fate.DELIVERED
        to.close()
    assert seen.syntaxes == [ImplicitVRLittleEndian]


def test_with_another_pynetdicom_nothing_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TRIED", ("0.0.0",))
    monkeypatch.setattr(streaming, "store", None)
    with pacs() as seen:
        to = sender(seen.port)
        assert sent(to) is Fate.DELIVERED
        to.close()


def test_only_who_waits_for_an_answer_takes_it() -> None:
    """pynetdicom's reactor, which believes that it is paused, must not find the answer first."""
    with pacs(handlers=[(evt.EVT_RELEASED, lambda _: None)]) as seen:
        entity = AE("TEST")
        entity.add_requested_context(VERIFICATION)
        link = entity.associate("127.0.0.1", seen.port, ae_title="PACS")
        link._reactor_checkpoint.clear()
        wait_until(lambda: link._is_paused)
        with streaming.answers_for_us(link):
            link.dimse.msg_queue.put((1, "an answer"))
            assert link.dimse.get_msg(block=False) == (None, None)
            assert link.dimse.get_msg(block=True) == (1, "an answer")
        link._reactor_checkpoint.set()
        assert link.send_c_echo().Status == 0
        link.release()


def test_an_association_that_nobody_uses_hardly_wakes_the_process() -> None:
    with pacs() as seen:
        entity = AE("TEST")
        entity.add_requested_context(VERIFICATION)
        link = entity.associate("127.0.0.1", seen.port, ae_title="PACS")
        looks, stock = [], link.dimse.get_msg

        def counted(block: bool = False) -> object:
            looks.append(block)
            return stock(block)

        link.dimse.get_msg = counted
        streaming.rest(link, True)
        time.sleep(0.1)
        looks.clear()
        time.sleep(0.5)
        assert 1 <= len(looks) <= 10
        for _ in range(2):
            streaming.rest(link, False)
            assert link.send_c_echo().Status == 0  # a nap that began before steals no answer
            streaming.rest(link, True)
        seen.entity.shutdown()
        wait_until(lambda: not link.is_established)


def test_the_classes_of_our_reports_are_proposed_together() -> None:
    with pacs() as seen:
        to = sender(seen.port)
        assert sent(to) is Fate.DELIVERED
        to.close()
    assert {SC, SC_RGB, SR} <= set(seen.offered[0])
