"""Who may come in: tables of cases over the pure decisions."""

from __future__ import annotations

import pytest
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts

from config.settings import Limits, Peer
from dicom_node import admission
from dicom_node.admission import Asked, Binding, Contained, Offer, Refused, Rejection

CT = "1.2.840.10008.5.1.4.1.1.2"
PEERS = {"PACS": (Binding(frozenset({"10.1.2.3"})),), "ANYWHERE": (Binding(),)}
LIMITS = Limits.model_validate_json('{"associations": 3, "per_address": 2}')


def offer(**values: object) -> Offer:
    return Offer(**{"calling": "PACS", "called": "US", "address": "10.1.2.3", **values})


def code(rejection: Rejection | None) -> tuple[int, int, int] | None:
    return rejection and (rejection.result, rejection.source, rejection.reason)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param(offer(), None, id="known peer"),
        pytest.param(offer(calling="ANYWHERE", address="10.9.9.9"), None, id="title not bound"),
        pytest.param(offer(address="10.9.9.9"), (1, 1, 3), id="bound title, other address"),
        pytest.param(offer(calling="STRANGER"), (1, 1, 3), id="unknown calling"),
        pytest.param(offer(calling="pacs"), (1, 1, 3), id="titles are case sensitive"),
        pytest.param(offer(called="THEM"), (1, 1, 7), id="not for us"),
        pytest.param(offer(called="THEM", calling="STRANGER"), (1, 1, 7), id="not for us first"),
        pytest.param(offer(open_now=2), None, id="last place"),
        pytest.param(offer(open_now=3), (2, 3, 2), id="full house"),
        pytest.param(offer(open_now=3, calling="STRANGER"), (2, 3, 2), id="full house first"),
        pytest.param(offer(open_from_address=2), (2, 3, 2), id="address has its share"),
        pytest.param(offer(stopping=True), (2, 3, 1), id="stopping"),
        pytest.param(offer(stopping=True, open_now=3), (2, 3, 1), id="stopping before full"),
    ],
)
def test_admit_association(asked: Offer, answer: tuple[int, int, int] | None) -> None:
    assert code(admission.admit_association(asked, LIMITS, "US", PEERS)) == answer


def test_anyone_may_come() -> None:
    stranger = offer(calling="STRANGER", address="192.0.2.9")
    assert admission.admit_association(stranger, LIMITS, "US", None) is None


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param(offer(calling="CT", certified=frozenset({"ct.site"})), None, id="its own"),
        pytest.param(offer(calling="CT"), (1, 1, 3), id="none, or the plain port"),
        pytest.param(
            offer(calling="CT", certified=frozenset({"pacs.site"})), (1, 1, 3), id="another one's"
        ),
        pytest.param(offer(certified=frozenset({"ct.site"})), None, id="nobody asks for it"),
    ],
)
def test_a_title_is_bound_to_its_certificate(
    asked: Offer, answer: tuple[int, int, int] | None
) -> None:
    peers = {**PEERS, "CT": (Binding(None, "ct.site"),)}
    assert code(admission.admit_association(asked, LIMITS, "US", peers)) == answer


def test_peers_by_title_keeps_every_entry() -> None:
    accept = (
        Peer(ae_title="PACS", host="a"),
        Peer(ae_title="PACS", host="b"),
        Peer(ae_title="OPEN", host="a"),
        Peer(ae_title="OPEN"),
        Peer(ae_title="LOST", host="nowhere"),
    )
    known = {"a": frozenset({"10.0.0.1"}), "b": frozenset({"10.0.0.2"})}
    assert admission.peers_by_title(accept, known) == {
        "PACS": (Binding(frozenset({"10.0.0.1"})), Binding(frozenset({"10.0.0.2"}))),
        "OPEN": (Binding(frozenset({"10.0.0.1"})), Binding(None)),
        "LOST": (Binding(frozenset()),),
    }
    assert admission.peers_by_title("anyone", {}) is None


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        pytest.param("1.2.840.10008.1.1", True, id="ordinary"),
        pytest.param("2.25." + "1" * 59, True, id="64 characters"),
        pytest.param("2.25." + "1" * 60, False, id="65 characters"),
        pytest.param("1.2.0001", True, id="leading zero, as devices write"),
        pytest.param("", False, id="empty"),
        pytest.param("1", False, id="one component"),
        pytest.param("1..2", False, id="empty component"),
        pytest.param("1.2.", False, id="dot at the end"),
        pytest.param("../../../outside/x", False, id="path"),
        pytest.param("1.2.3\n", False, id="line break"),
        pytest.param("1.2.٣", False, id="digit of another script"),
    ],
)
def test_is_uid(uid: str, taken: bool) -> None:
    assert admission.is_uid(uid) is taken


ASKED = Asked(CT, "1.2.3", CT)
GOOD = Contained(CT, "1.2.3", "1.2.9", size=100)


def changed(**values: object) -> Contained:
    from dataclasses import replace

    return replace(GOOD, **values)


@pytest.mark.parametrize(
    ("asked", "contained", "status"),
    [
        pytest.param(ASKED, GOOD, None, id="as announced"),
        pytest.param(Asked(CT, "1.2.3", CT, False), GOOD, 0xC000, id="no data set"),
        pytest.param(Asked(CT, "", CT), changed(sop_uid=""), 0x0117, id="empty UID"),
        pytest.param(Asked(CT, "../x", CT), changed(sop_uid="../x"), 0x0117, id="path as UID"),
        pytest.param(Asked(CT, "1.2.3", CT + ".1"), GOOD, 0xA900, id="class not the context's"),
        pytest.param(
            Asked("1.2.840.10008.1.1", "1.2.3", "1.2.840.10008.1.1"),
            GOOD,
            0x0122,
            id="verification",
        ),
        pytest.param(ASKED, changed(size=0), 0xC000, id="empty"),
        pytest.param(ASKED, changed(fault="truncated"), 0xC000, id="cannot be parsed"),
        pytest.param(ASKED, changed(repeated=("PatientID",)), 0xC000, id="two patient ids"),
        pytest.param(ASKED, changed(sop_uid="1.2.4"), 0xA900, id="another instance"),
        pytest.param(ASKED, changed(sop_uid=""), 0xA900, id="instance not named"),
        pytest.param(ASKED, changed(sop_class=CT + ".1"), 0xA900, id="another class"),
        pytest.param(ASKED, changed(study_uid=""), 0xA900, id="no study"),
        pytest.param(ASKED, changed(study_uid="../s"), 0xA900, id="path as study"),
    ],
)
def test_admit_instance(asked: Asked, contained: Contained, status: int | None) -> None:
    refused = admission.admit_instance(asked, contained)
    assert (refused.status if isinstance(refused, Refused) else None) == status


def test_every_storage_class_is_taken() -> None:
    contexts = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    assert [uid for uid in contexts if not admission.storable(uid)] == []


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        pytest.param("1.3.46.670589.2.5.1.1", True, id="private"),
        pytest.param("1.2.840.10008.5.1.4.1.1.9999", True, id="newer than our dictionary"),
        pytest.param("1.2.840.10008.5.1.4.1.2.2.1", False, id="study root FIND"),
        pytest.param("1.2.840.10008.1.20.1", False, id="storage commitment"),
        pytest.param("1.2.840.10008.5.1.1.9", False, id="print"),
        pytest.param("1.2.840.10008.1.2.1", False, id="a transfer syntax"),
        pytest.param("1.2.840.10008.1.3.10", False, id="media directory"),
    ],
)
def test_storable(uid: str, taken: bool) -> None:
    assert admission.storable(uid) is taken


def test_every_transfer_syntax_that_pydicom_knows() -> None:
    known = {str(uid) for uid in AllTransferSyntaxes}
    framed_otherwise = {f"1.2.840.10008.1.2.7.{n}" for n in (1, 2, 3)}
    assert known - admission.TRANSFER_SYNTAXES <= framed_otherwise


def test_the_peers_order_of_transfer_syntaxes_is_kept() -> None:
    proposed = ["1.2.840.10008.1.2.4.90", "1.2.3.4", "1.2.840.10008.1.2"]
    assert admission.transfer_syntaxes(CT, proposed) == (proposed[0], proposed[2])
    assert admission.transfer_syntaxes(CT, ["1.2.3.4"]) == ()
    assert admission.transfer_syntaxes("1.2.840.10008.5.1.4.1.2.2.1", proposed) is None  # C-FIND


def test_storage_commitment_is_no_storage_and_has_no_pixels_to_compress() -> None:
    proposed = ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    assert admission.transfer_syntaxes(admission.COMMITMENT, proposed) == tuple(proposed[1:])
    asked = Asked(admission.COMMITMENT, "1.2.3", admission.COMMITMENT)
    refused = admission.admit_command(asked)
    assert refused is not None
    assert refused.status == 0x0122
