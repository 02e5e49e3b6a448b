"""`dictamen analyse` over every file of the shared DICOM set, against its manifest.

With the shipped rule, and with a rule that hands every image to the model: then the gate alone
must keep everything out that is no frontal chest radiograph.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from system.node import NodeUnderTest

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(420)]
RULES: Mapping[str, Mapping[str, Any]] = {
    "shipped rule": {"Modality": ["CR", "DX"], "BodyPartExamined": ["CHEST", None]},
    "everything to the model": {"not": {"Modality": "NOTHING"}},
}
# The same SOP Instance UID as its neighbour with other content: the first one counts.
SECOND_OF_TWO = {
    "chest/rsna_same_uid_other_photometric.dcm",
    "chest/gdcm_cr_mono1_10bit_no_meta.dcm",
}


@dataclass(frozen=True)
class Answers:
    """What one `analyse` said: results by study, refused files by path below the set."""

    results: dict[str, list[dict[str, Any]]]
    rejected: dict[str, str]
    stderr: str


@pytest.fixture(scope="module", params=RULES, ids=lambda name: name)
def answers(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    folder, dicom = tmp_path_factory.mktemp("analyse"), shared / "data" / "dicom"
    node = NodeUnderTest(folder)
    node.settings["processors"][0]["when"] = RULES[request.param]
    ris = {"kind": "mllp", "host": "127.0.0.1", "application": "RIS", "facility": "TRIAL"}
    node.settings["processors"][0]["send_to"] = ["ris"]
    node.write(destinations={"ris": ris})  # nobody listens there: nothing is sent
    out = folder / "out"
    done = node.cli(
        "analyse", str(dicom), "--config", str(node.file), "--out", str(out), "--json", seconds=360
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rejected = {
        str(Path(line["file"]).relative_to(dicom)): line["reason"]
        for line in lines
        if line["status"] == "rejected"
    }
    results = defaultdict(list)
    for path in out.rglob("result.json"):
        result = json.loads(path.read_text())
        results[result["study_instance_uid"]].append(result)
    return Answers(dict(results), rejected, done.stderr)


def manifest(shared: Path) -> list[dict[str, str]]:
    with (shared / "data/dicom/manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def study_of(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(dcmread(path, force=True, stop_before_pixels=True).StudyInstanceUID)
        except Exception:  # a malformed file
            return ""


def test_no_crash_and_every_file_is_accounted_for(shared: Path, answers: Answers) -> None:
    assert "Traceback" not in answers.stderr
    lost = [
        row["file"]
        for row in manifest(shared)
        if row["file"] not in answers.rejected
        and study_of(shared / "data/dicom" / row["file"]) not in answers.results
    ]
    assert lost == []


def test_every_result_has_a_reason_that_a_person_understands(answers: Answers) -> None:
    for results in answers.results.values():
        for result in results:
            assert result["status"] in {"completed", "unsuitable", "failed"}
            if result["status"] != "completed":
                reason = result["reason"]
                assert len(reason.split()) >= 4, result
                assert "internal error" not in reason.lower(), result
                assert not any(sign in reason for sign in ("Error(", "Traceback", "0x", "<class"))
    assert all(len(reason.split()) >= 4 for reason in answers.rejected.values())


def test_only_frontal_chest_radiographs_get_a_chest_result(shared: Path, answers: Answers) -> None:
    wrong = []
    chests = {
        study_of(shared / "data/dicom" / row["file"])
        for row in manifest(shared)
        if row["expectation"] == "analysable-chest"
    }
    for study, results in answers.results.items():
        for result in results:
            judged = result["status"] == "completed" or result["findings"]
            if judged and study not in chests:
                wrong.append((study, result["findings"]))
    assert wrong == []


def test_the_chest_radiographs_are_judged(shared: Path, answers: Answers) -> None:
    for row in manifest(shared):
        if row["expectation"] != "analysable-chest":
            continue
        if row["file"] in SECOND_OF_TWO:
            assert "SOP Instance UID" in answers.rejected[row["file"]]
            continue
        (result,) = answers.results[study_of(shared / "data/dicom" / row["file"])]
        assert (row["file"], result["processor"], result["status"], result["reason"]) == (
            row["file"], "chest", "completed", "",
        )  # fmt: skip
        kinds = {report["kind"] for report in result["reports"]}
        named = dcmread(shared / "data/dicom" / row["file"], stop_before_pixels=True)
        assert "text_report" in kinds
        assert ("hl7_oru" in kinds) == bool(named.get("PatientID"))  # PID-3 is required
