"""Settling, picking and the digest, as tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from config import Settings
from config.settings import Settle
from dicom_node import routing
from storage import StoredInstance

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CR = "1.2.840.10008.5.1.4.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"


def ago(*seconds: float) -> list[datetime]:
    return sorted(NOW - timedelta(seconds=s) for s in seconds)


def instance(uid: str, sop_class: str = CR, at: datetime = NOW, sha: str = "", **headers):
    return StoredInstance(
        sop_uid=uid, sop_class=sop_class, transfer_syntax="1.2.840.10008.1.2.1", series_uid="1.2",
        study_uid="1.1", sha256=sha or uid, size=1, path=uid, calling_ae="PACS",
        address="127.0.0.1", headers=headers, received_at=at,
    )  # fmt: skip


def settings(**settle) -> Settings:
    return Settings.model_validate_json(
        json.dumps(
            {
                "node": {"ae_title": "DICTAMEN", "audit_key_file": "audit.key"},
                "intake": {"accept_from": "anyone"},
                "processors": [
                    {
                        "name": "chest",
                        "bundle": "chest",
                        "when": {"Modality": ["CR", "DX"], "BodyPartExamined": ["CHEST", None]},
                        "settle": settle or {"quiet": "10s", "longest": "2min"},
                    }
                ],
            }
        )
    )


@pytest.mark.parametrize(
    ("settle", "arrivals", "planned", "picked", "left"),
    [
        pytest.param({}, ago(3), 0, 1, 7, id="10 s of quiet less 3"),
        pytest.param({}, ago(60, 3), 0, 2, 7, id="restarts with every instance"),
        pytest.param({}, ago(11), 0, 1, 0, id="quiet long enough"),
        pytest.param({}, ago(115, 1), 0, 2, 5, id="the longest wait ends it"),
        pytest.param({}, ago(130, 1), 0, 2, 0, id="the longest wait is over"),
        pytest.param({}, ago(9000, 1), 1, 2, 9, id="the longest wait counts from the last plan"),
        pytest.param({"expect": {"instances": 2}}, ago(1, 1), 0, 2, 0, id="as many as expected"),
        pytest.param({"expect": {"instances": 2}}, ago(1), 0, 1, 9, id="fewer than expected"),
    ],
)
def test_waiting(settle, arrivals, planned, picked, left):
    rule = Settle.model_validate_json(json.dumps({"quiet": "10s", "longest": "2min"} | settle))
    assert routing.waiting(rule, arrivals, planned, picked, NOW) == pytest.approx(left)


def test_clock_back_does_not_wait_for_ever():
    rule = settings().processors[0].settle
    assert routing.waiting(rule, [NOW + timedelta(hours=1)], 0, 1, NOW) == 0


@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(instance("1", Modality="DX"), "", id="a radiograph"),
        pytest.param(
            instance("1", SC, Modality="CR", ImageType=["DERIVED", "SECONDARY"]), "",
            id="a radiograph in the Secondary Capture class"),
        pytest.param(
            instance("1", Modality="DX", ImageType=["DERIVED", "PRIMARY"]), "",
            id="DERIVED PRIMARY is analysed"),
        pytest.param(
            instance("1", SC, Modality="OT", ImageType=["DERIVED", "SECONDARY"]),
            "secondary capture", id="another program's picture"),
        pytest.param(instance("1", Modality="DX", ContributingEquipment=["dictamen project"]),
                     "this product", id="our own picture, whatever its modality"),
        pytest.param(instance("1", "1.2.840.10008.5.1.4.1.1.88.33", Modality="SR"),
                     "structured report", id="a report"),
        pytest.param(instance("1", "1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG"),
                     "segmentation", id="a segmentation"),
    ],
)  # fmt: skip
def test_secondary_capture_in_and_own_results_are_no_input(made, why):
    said = routing.not_input(made.headers, made.sop_class)
    assert (why in said) if why else said == ""


def test_choice_names_what_was_left_out():
    found = [
        instance("1", Modality="DX", BodyPartExamined="CHEST"),
        instance("2", Modality="DX", BodyPartExamined="KNEE"),
    ]
    (choice,) = routing.choose(settings(), found, 0, NOW)
    assert [i.sop_uid for i in choice.picked] == ["1"]
    assert choice.skipped == {"BodyPartExamined is KNEE, wanted CHEST or empty": 1}


def test_digest_does_not_depend_on_the_order_of_arrival_but_on_the_bytes():
    a, b, other = instance("1"), instance("2"), instance("2", sha="x")
    assert routing.digest([a, b]) == routing.digest([b, a])
    assert routing.digest([a, b]) != routing.digest([a, other])


def test_queue_flood_stat_studies_go_first():
    found = [instance("1", at=ago(60)[0], Modality="CR", RequestedProcedurePriority="STAT")]
    (planned,) = routing.plan(routing.choose(settings(), found, 0, NOW))
    assert planned.urgent


def test_another_machines_clock_a_little_ahead_settles_nothing_early():
    rule = settings().processors[0].settle
    ahead = [NOW + timedelta(seconds=2)]
    assert routing.waiting(rule, ahead, 0, 1, NOW) == 10
