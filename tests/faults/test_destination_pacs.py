"""A PACS that is down, refuses, warns, fails, is silent or loses its answer."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from courier_bench import (
    all_delivered,
    audit,
    carry_until,
    file_study,
    of,
    running,
    states,
    storage_in,
)
from destination_peers import (
    SC,
    SR,
    VERIFICATION,
    all_syntaxes,
    closed_port,
    cut_line,
    dicom_settings,
    free_port,
    pacs,
    wait_until,
)
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from structlog.testing import capture_logs

from dicom_node import courier, verdict
from dicom_node.courier import Event
from dicom_node.destinations import Destination
from dicom_node.destinations.build import build
from storage import Storage

# pynetdicom 3.0 forgets to close its own socket when a connection is refused
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
ONE = (("overlay", ["pacs"]),)
TWO = (("overlay", ["pacs"]), ("structured_report", ["pacs"]))


def peer(port: int, **changes: object) -> dict[str, Destination]:
    return {"pacs": build("pacs", dicom_settings(port, **changes), "DICTAMEN")}


def in_order(storage: Storage) -> list[str]:
    return [each.report.uid for each in storage.outbox.list(limit=1000)]


def test_pacs_down(tmp_path: Path) -> None:
    """Down at first, over a restart of the courier too; then everything in order, same UIDs."""
    with storage_in(tmp_path) as storage, closed_port() as port:
        for number in range(1, 31):
            file_study(storage, number, TWO)
        expected = in_order(storage)
        for _restart in range(2):
            with running(storage, peer(port)) as beside:
                wait_until(lambda: beside.count(Event.DOWN) >= 2)
        assert states(storage) == {"waiting": 60}
        file_study(storage, 31, ONE)  # made while the peer is down: it goes last
    with storage_in(tmp_path) as storage, pacs(port=port) as archive:
        carry_until(storage, peer(port), lambda: all_delivered(storage))
        assert archive.stored == [*expected, "2.25.7031.9.0"]


def test_pacs_down_for_two_days_is_a_few_hundred_tries() -> None:
    rng, waited, tries = random.Random(1), 0.0, 0
    while waited < 2 * 86400:
        tries += 1
        waited += verdict.backoff(tries, False, rng)
    assert 576 < tries < 1160


def test_pacs_down_comes_back_while_the_courier_runs(tmp_path: Path) -> None:
    port = free_port()
    with storage_in(tmp_path) as storage:
        for number in range(1, 4):
            file_study(storage, number, TWO)
        expected = in_order(storage)
        with running(storage, peer(port)) as beside:
            wait_until(lambda: beside.count(Event.DOWN) >= 2)
            with pacs(port=port) as archive:
                wait_until(lambda: all_delivered(storage))
                assert archive.stored == expected
            assert beside.count(Event.ANSWERS) == 1


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        pytest.param({"require_called_aet": True, "title": "OTHER"}, "1/1/7", id="called title"),
        pytest.param({"require_calling_aet": ["SOMEBODY"]}, "1/1/3", id="calling title"),
    ],
)
def test_pacs_reject_permanently(tmp_path: Path, attributes: dict[str, object], code: str) -> None:
    with storage_in(tmp_path) as storage, pacs(**attributes) as archive:  # type: ignore[arg-type]
        for number in range(1, 4):
            file_study(storage, number, TWO)
        with running(storage, peer(archive.port)) as beside, capture_logs() as lines:
            wait_until(lambda: beside.count(Event.REFUSES) == 1)
            time.sleep(2.5)
            assert archive.associations == 1  # no second try for minutes
        (said,) = [line for line in lines if line["event"] == Event.REFUSES]
        assert said["alarm"]
        assert 300 <= said["next_in"] <= 900
        assert f"RJ {code}" in storage.outbox.list()[0].answer
        assert states(storage) == {"waiting": 6}


def test_pacs_reject_transiently(tmp_path: Path) -> None:
    """The PACS has no association left for a moment: soon again, no alarm."""
    with storage_in(tmp_path) as storage, pacs(maximum_associations=1) as archive:
        file_study(storage, 1, ONE)
        occupant = AE()
        occupant.add_requested_context(VERIFICATION)
        held = occupant.associate("127.0.0.1", archive.port)
        assert held.is_established
        with running(storage, peer(archive.port)) as beside:
            wait_until(lambda: beside.count(Event.DOWN) >= 1)
            assert "RJ 2/3/2" in storage.outbox.list()[0].answer
            held.release()
            wait_until(lambda: all_delivered(storage), 10)
        assert beside.count(Event.REFUSES) == 0


def test_pacs_context_class_refused(tmp_path: Path) -> None:
    """No SR here: it is rejected with the class's name, the picture goes."""
    with storage_in(tmp_path) as storage, pacs(takes=all_syntaxes([SC])) as archive:
        uids = file_study(storage, 1, TWO)
        carry_until(
            storage, peer(archive.port), lambda: states(storage) == {"delivered": 1, "rejected": 1}
        )
        assert archive.stored == [uids["overlay"]]
        answer = of(storage, uids["structured_report"]).answer
        assert "Comprehensive SR Storage" in answer
        assert SR in answer


def test_pacs_context_all_refused(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, pacs(takes=all_syntaxes([VERIFICATION])) as archive:
        file_study(storage, 1, TWO)
        carry_until(storage, peer(archive.port), lambda: states(storage) == {"rejected": 2})


def test_pacs_context_implicit_only(tmp_path: Path) -> None:
    syntaxes = {SC: [ImplicitVRLittleEndian], SR: [ImplicitVRLittleEndian]}
    with storage_in(tmp_path) as storage, pacs(takes=syntaxes) as archive:
        file_study(storage, 1, TWO)
        carry_until(storage, peer(archive.port), lambda: all_delivered(storage))
        assert set(archive.syntaxes) == {ImplicitVRLittleEndian}


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_pacs_warn(tmp_path: Path, status: int) -> None:
    with storage_in(tmp_path) as storage, pacs(lambda uid, n: status) as archive:
        uids = file_study(storage, 1, ONE)
        carry_until(storage, peer(archive.port), lambda: all_delivered(storage))
        assert of(storage, uids["overlay"]).answer == f"0x{status:04X}"
        gone = [row.entry for row in audit(storage, "110104") if "status" in row.entry.details]
        assert [each.details["status"] for each in gone] == [f"0x{status:04X}"]
        assert len(archive.stored) == 1


def test_pacs_fail_out_of_resources_retries(tmp_path: Path) -> None:
    """A700H is never final, however often it comes."""
    with (
        storage_in(tmp_path) as storage,
        pacs(lambda uid, n: 0xA700 if n < 4 else 0) as archive,
    ):
        uids = file_study(storage, 1, ONE)
        carry_until(storage, peer(archive.port), lambda: all_delivered(storage))
        assert archive.stored == [uids["overlay"]] * 4


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC123])
def test_pacs_fail_for_good_after_three(tmp_path: Path, status: int) -> None:
    """One report is refused three times and rejected with an alarm; its neighbour goes."""
    with (
        storage_in(tmp_path) as storage,
        pacs(lambda uid, n: status if uid.endswith(".9.0") else 0) as archive,
    ):
        uids = file_study(storage, 1, TWO)
        with capture_logs() as lines:
            carry_until(storage, peer(archive.port), lambda: states(storage)["rejected"] == 1)
        assert archive.stored.count(uids["overlay"]) == 3
        assert archive.stored.count(uids["structured_report"]) == 1
        (said,) = [line for line in lines if line["event"] == Event.REJECTED]
        assert said["alarm"]
        assert said["status"] == f"0x{status:04X}"


def test_pacs_silent(tmp_path: Path) -> None:
    def answer(_uid: str, count: int) -> int:
        if count == 1:
            time.sleep(3)
        return 0x0000

    with storage_in(tmp_path) as storage, pacs(answer) as archive:
        uids = file_study(storage, 1, ONE)
        with running(storage, peer(archive.port, timeout="1s")):
            wait_until(lambda: "did not answer the C-STORE" in storage.outbox.list()[0].answer)
            wait_until(lambda: all_delivered(storage))
        assert archive.stored == [uids["overlay"]] * 2
        assert archive.data[0] == archive.data[1]


def test_pacs_lost_answer(tmp_path: Path) -> None:
    """Stored, but the line breaks before we hear it: the same UID and bytes again."""
    broken: list[bool] = []

    def cut() -> bool:
        if len(archive.stored) == 1 and not broken:
            broken.append(True)
            return True
        return False

    with (
        storage_in(tmp_path) as storage,
        pacs() as archive,
        cut_line(archive.port, cut) as line,
    ):
        uids = file_study(storage, 1, TWO)
        carry_until(storage, peer(line), lambda: all_delivered(storage))
    assert broken
    assert archive.stored.count(uids["overlay"]) == 2
    assert set(archive.stored) == set(uids.values())
    twice = [
        data
        for uid, data in zip(archive.stored, archive.data, strict=True)
        if uid == uids["overlay"]
    ]
    assert twice[0] == twice[1]


def test_callback_dns(tmp_path: Path) -> None:
    """A name that does not resolve is a peer that is down; one line for each step."""
    with storage_in(tmp_path) as storage:
        for number in range(1, 4):
            file_study(storage, number, TWO)
        nowhere = peer(104, host="pacs.hospital.invalid")
        with capture_logs() as lines, running(storage, nowhere) as beside:
            wait_until(lambda: beside.count(Event.DOWN) >= 2, 60)
        assert states(storage) == {"waiting": 6}
        assert "'pacs.hospital.invalid'" in storage.outbox.list()[0].answer
        assert "does not resolve" in storage.outbox.list()[0].answer
        assert len(lines) == beside.count(Event.DOWN)
        assert {line["event"] for line in lines} == {courier.Event.DOWN}
