"""Requests and reports as data sets, and what is said of what we hold."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from config.settings import Peer
from dicom_node.commitment import words
from dicom_node.commitment.hearing import LONGEST, Paper, address_of
from dicom_node.commitment.words import BadWords, Report, Request

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def _over_the_wire(made: Dataset, syntax: str) -> Dataset:
    raw = encode(made, syntax == IMPLICIT, True)
    assert raw is not None
    return words.decoded(bytes(raw), syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_what_is_written_is_read(syntax: str) -> None:
    asked = Request("2.25.1", ((CT, "1.2"), (DX, "1.3")))
    assert words.request_of(_over_the_wire(words.as_request(asked), syntax)) == asked
    for told in (
        Report("2.25.1", ((CT, "1.2"),), {}),
        Report("2.25.1", ((CT, "1.2"),), {(DX, "1.3"): 0x0112}),
        Report("2.25.1", (), {(DX, "1.3"): 0x0119}),
    ):
        assert words.report_of(_over_the_wire(words.as_report(told), syntax)) == told


def test_the_event_says_whether_anything_failed() -> None:
    assert Report("2.25.1", ((CT, "1.2"),), {}).event_type == 1
    assert Report("2.25.1", (), {(CT, "1.2"): 0x0112}).event_type == 2


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("transaction", "instances"),
    [("", ((CT, "1.2"),)), ("../x", ((CT, "1.2"),)), ("2.25.1", ()), ("2.25.1", ((CT, "x"),))],
)
def test_what_is_no_request(transaction: str, instances: tuple[tuple[str, str], ...]) -> None:
    made = words.as_request(Request(transaction, instances))
    with pytest.raises(BadWords):
        words.request_of(made)


@pytest.mark.parametrize("keyword", ["ReferencedSOPSequence", "FailedSOPSequence"])
def test_a_sequence_that_is_a_text_is_no_report(keyword: str) -> None:
    made = Dataset()
    made.TransactionUID = "2.25.1"
    made.add_new(keyword, "LO", "1.2")
    with pytest.raises(BadWords):
        words.report_of(_over_the_wire(made, EXPLICIT))


def test_a_failure_without_one_reason_is_a_failure() -> None:
    made = words.as_report(Report("2.25.1", (), {(DX, "1.3"): 0x0112}))
    made.FailedSOPSequence[0].add_new("FailureReason", "US", [0x0112, 0x0119])
    told = words.report_of(_over_the_wire(made, EXPLICIT))
    assert told.failed == {(DX, "1.3"): 0x0110}


@given(st.binary(max_size=200), st.sampled_from([IMPLICIT, EXPLICIT]))
def test_any_bytes_are_words_or_none(raw: bytes, syntax: str) -> None:
    for read in (words.request_of, words.report_of):
        with suppress(BadWords):
            read(words.decoded(raw, syntax))


def test_we_commit_to_what_has_its_row_its_file_and_its_class() -> None:
    wanted = tuple((CT, uid) for uid in ("1.1", "1.2", "1.3", "1.4"))
    held = {"1.1": ((CT, "a"),), "1.2": ((DX, "b"),), "1.3": ((CT, "gone"),)}
    report = words.judged(Request("2.25.1", wanted), held, lambda path: path != "gone")
    assert report.kept == ((CT, "1.1"),)
    assert report.failed == {(CT, "1.2"): 0x0119, (CT, "1.3"): 0x0112, (CT, "1.4"): 0x0112}


def test_a_paper_is_not_endless() -> None:
    paper = Paper()
    for _ in range(LONGEST // (1 << 20) + 2):
        paper.write(bytes(1 << 20))
    assert paper.too_long
    assert len(paper.raw) <= 1 << 20


def test_of_two_peers_with_one_title_the_one_that_asked_hears() -> None:
    peers = [Peer(ae_title="CT", host=f"10.0.0.{n}", port=104) for n in (1, 2)]
    assert address_of("CT", "10.0.0.2", peers) == ("10.0.0.2", 104)
    assert address_of("CT", "10.0.0.1", peers) == ("10.0.0.1", 104)
    assert address_of("CT", "10.0.0.3", peers) is None


def test_reports_go_where_the_peer_says() -> None:
    peers = [
        Peer(ae_title="CT", host="10.0.0.1"),
        Peer(ae_title="PACS", host="10.0.0.2", port=104),
        Peer(ae_title="ANY"),
    ]
    asked = "10.0.0.9"  # behind a router, say
    assert address_of("PACS", asked, peers) == ("10.0.0.2", 104)
    assert address_of("CT", asked, peers) is None
    assert address_of("ANY", asked, peers) is None
    assert address_of("PACS", asked, "anyone") is None
    with pytest.raises(ValueError, match="port needs host"):
        Peer(ae_title="PACS", port=104)
