"""Chest, head and breast through one node: routed by node.yaml alone, each to its own model.

Real images, wrapped as the objects that a scanner would send and pushed by Orthanc: a film with its
lateral, a series of head MR slices, an ultrasound image.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from system import films
from system.node import wait_for
from system.test_system_studies import choose, rows, tool
from system.trial import Bench

from processors.catalogue import shipped
from storage import RunState

pytestmark = [
    pytest.mark.shared,
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
MR, US = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.6.1"
SETTLE = {"quiet": "2s", "longest": "30s"}
SLICES = 20
MODELS = [
    {"name": "chest", "bundle": "chest", "when": {"Modality": ["CR", "DX"]}},
    {"name": "brain", "bundle": "brain", "when": {"Modality": "MR", "BodyPartExamined": "HEAD"}},
    {"name": "breast", "bundle": "breast", "when": {"Modality": "US"}},
]


def pixels(shared: Path, name: str, path: str) -> np.ndarray:
    with tarfile.open(shared / "data/images" / f"{name}.tar") as tar:
        member = tar.extractfile(path)
        assert member is not None
        return np.asarray(Image.open(io.BytesIO(member.read())).convert("L"))


def scan(study: str, number: int, grey: np.ndarray, **said: Any) -> Dataset:
    """One image of a study as its modality would write it; the patient is made up of words."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPInstanceUID = films.uid("organ", study, number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = films.uid("organ", study), films.uid("s", study)
    ds.PatientName, ds.PatientID = "Ejemplo Núñez^Begoña", f"ORGAN-{study}"
    ds.PatientSex, ds.PatientBirthDate, ds.PatientAge = "F", "19700101", "056Y"
    ds.StudyDate, ds.StudyTime = "20260601", "101500"
    ds.ContentDate, ds.ContentTime = "20260601", "101500"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = f"ORG{study}", "1", ""
    ds.SeriesNumber, ds.InstanceNumber = 1, number
    ds.ImageType, ds.Manufacturer = ["ORIGINAL", "PRIMARY"], "Synthetic"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = grey.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = grey.tobytes() + b"\0" * (grey.size % 2)
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.update(said_of(said))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def said_of(values: dict[str, Any]) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def head(shared: Path) -> list[Dataset]:
    """A series of slices: one of each tumour, the others without (from another source)."""
    found = rows(shared, "brain")
    paths = choose(found, "glioma", "meningioma", "pituitary")
    paths += [r["path"] for r in found if r["labels"] == "no_tumour"][: SLICES - len(paths)]
    technique = {"MagneticFieldStrength": "1.5", "SeriesDescription": "T1 con contraste"}
    technique |= {"ContrastBolusAgent": "gadolinio", "ScanningSequence": "SE"}
    return [
        scan("head", n, pixels(shared, "brain", path), SOPClassUID=MR, Modality="MR",
             BodyPartExamined="HEAD", SliceThickness="5", **technique)
        for n, path in enumerate(paths, 1)
    ]  # fmt: skip


def breast(shared: Path) -> list[Dataset]:
    (path,) = choose(rows(shared, "breast"), "malignant")
    grey = pixels(shared, "breast", path)
    return [scan("breast", 1, grey, SOPClassUID=US, Modality="US", BodyPartExamined="BREAST")]


def chest(shared: Path) -> list[Dataset]:
    """Two views of one child."""
    (path,) = choose(rows(shared, "chest_paed"), "bacterial")
    front, side = films.ill("organ chest"), films.lateral("organ chest")
    grey = pixels(shared, "chest_paed", path)
    front.Rows, front.Columns = grey.shape
    front.PixelData = (grey.astype("<u2") * 16).tobytes()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate",
                    "PatientSex", "PatientAge", "AccessionNumber", "StudyDate", "StudyTime",
                    "StudyID"):  # fmt: skip
        setattr(side, keyword, front[keyword].value)
    side.SOPInstanceUID = side.file_meta.MediaStorageSOPInstanceUID = films.uid("organ", "side")
    return [front, side]


@pytest.fixture(scope="module")
def bench(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    held = {entry["name"] for entry in shipped()}
    assert {model["bundle"] for model in MODELS} <= held
    bench = Bench(tmp_path_factory.mktemp("organs"))
    common = {"settle": SETTLE, "send_to": ["pacs", "ris"]}
    bench.node.settings["processors"] = [{**model, **common} for model in MODELS]
    bench.node.write(workers={"timeout": "2min"})
    with bench:
        bench.pacs.upload([*chest(shared), *head(shared), *breast(shared)])
        bench.pacs.push()
        with bench.node.storage() as storage:
            wait_for(lambda: sum(r.ended_at is not None for r in storage.runs.list()) == 3, 200,
                     "three studies judged")  # fmt: skip
            wait_for(lambda: not storage.outbox.oldest_waiting(), 60, "all sent")
        yield bench


def test_each_study_is_judged_by_its_own_model(bench: Bench) -> None:
    with bench.node.storage() as storage:
        runs = {run.processor: run for run in storage.runs.list()}
        assert set(runs) == {"chest", "brain", "breast"}
        for name, run in runs.items():
            assert run.state is RunState.COMPLETED, (name, run.reason)
            analysis = storage.runs.analysis(run.id)
            assert analysis is not None
            assert analysis["algorithm"]["name"] == name
            kinds = [report.kind for report in storage.runs.reports(run.id)]
            assert kinds.count("overlay") <= 3  # a series does not flood the viewer
            assert kinds.count("hl7_oru") == 1
    assert bench.node.books().difference == 0


def test_a_series_says_what_was_judged(bench: Bench) -> None:
    with bench.node.storage() as storage:
        (run,) = [r for r in storage.runs.list() if r.processor == "brain"]
        analysis = storage.runs.analysis(run.id)
    assert analysis is not None
    judged = {finding["instance_uid"] for finding in analysis["findings"]}
    assert 3 <= len(judged) <= SLICES
    said = " ".join(sentence["text"] for sentence in analysis["impression"]["sentences"])
    assert "may name a tumour" in said


def test_the_checkers_find_no_error(bench: Bench, shared: Path, tmp_path: Path) -> None:
    report = tmp_path / "checked.json"
    text = tool(
        shared / "tools/check_outputs.py", "--orthanc", bench.pacs.base, "--json", report,
        check=False,
    )  # fmt: skip
    assert json.loads(report.read_text())["errors"] == 0, text[-6000:]
