"""The reports before their judges: dciodvfy, DCMTK, highdicom, hl7apy, DicomSRValidator."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from report_cases import (
    KINDS,
    MADE_AT,
    OPTIONS,
    absent,
    analysis,
    full,
    pixels,
    present,
    refused,
    region,
    source,
    undetermined,
)

from processors.analysis import Analysis, Impression, Instance, Sentence, Study
from reports import Report, write_all

pytestmark = pytest.mark.shared
CHEST = ["gdcm_cr_mono1_10bit.dcm", "nema_rg1_cr_mono1_15bit_j2k_lossy.dcm",
         "nih_dx_implicit_8bit.dcm", "rsna_cr_pa_jpeg_baseline.dcm"]  # fmt: skip
CHARSETS = ["chrArab", "chrFrenMulti", "chrGerm", "chrGreek", "chrH31", "chrH32", "chrHbrw",
            "chrI2", "chrJapMulti", "chrKoreanMulti", "chrRuss", "chrX1", "chrX2"]  # fmt: skip


def judge(shared: Path, out: Path, sources: Path, *more: str) -> str:
    """What check_outputs.py says; fails unless it finds no error."""
    assert shutil.which("dciodvfy"), "install dicom3tools: the reports cannot be judged without it"
    tool = shared / "tools/check_outputs.py"
    done = subprocess.run(
        [sys.executable, str(tool), str(out), "--source", str(sources), "-v", *more],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert "errors: 0" in done.stdout.splitlines()[-1:], done.stdout + done.stderr
    assert done.returncode == 0
    return done.stdout


def study_of(header: Dataset) -> Study:
    """A study of one image; small images stand for pixels that this room never decodes."""
    size = int(header.get("Rows") or 64), int(header.get("Columns") or 64)
    instance = Instance(str(header.SOPInstanceUID), header)
    return Study(str(header.StudyInstanceUID), (instance,), lambda uid, frame: pixels(*size))


def save(folder: Path, reports: tuple[Report, ...]) -> None:
    folder.mkdir(exist_ok=True)
    for report in reports:
        ending = "hl7" if report.kind == "hl7_oru" else "dcm"
        (folder / f"{report.uid}.{ending}").write_bytes(report.payload)


def keep(folder: Path, header: Dataset) -> None:
    folder.mkdir(exist_ok=True)
    header.save_as(folder / f"{header.SOPInstanceUID}.dcm", enforce_file_format=True)


CASES: dict[str, Callable[[Study, Dataset], Analysis]] = {
    "full": full,
    "undetermined": lambda one, s: analysis(one, (undetermined(s, regions=(region(s),)),)),
    "no region": lambda one, s: analysis(one, (present(s, regions=()), absent(s))),
    "two regions": lambda one, s: analysis(
        one, (present(s, regions=(region(s), region(s, 0.7))), undetermined(s))
    ),
    "absent": lambda one, s: analysis(one, (absent(s),)),
    "unsuitable": lambda one, s: refused(one),
    "critical": lambda one, s: replace(
        full(one, s),
        impression=Impression(
            "es",
            (
                Sentence("Neumotórax a tensión.", ("pneumonia",), category=1),
                Sentence("Nota.", ("pneumonia", "nodule")),
            ),
            "minutes",
        ),
        patient_summary="Borrador. Pregunte a su médico.\nHa visto signos de un neumotórax.",
    ),
}


def cases(folder: Path, language: str, strip: str, names: tuple[str, ...]) -> tuple[Path, Path]:
    """Every kind of result on its own study; a second version of the first."""
    out, sources = folder / "out", folder / "sources"
    options = replace(OPTIONS, language=language, strip=strip)
    for number, (name, told) in enumerate(CASES.items(), 10):
        if name not in names:
            continue
        header = source(number, StudyInstanceUID=f"1.2.826.0.1.3680043.10.9.{number}",
                        SeriesInstanceUID=f"1.2.826.0.1.3680043.10.8.{number}")  # fmt: skip
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        keep(sources, header)
        one = study_of(header)
        first = write_all(told(one, header), one, options, MADE_AT, KINDS)
        save(out, first)
        if name == "full":
            newer = replace(
                options,
                predecessors={report.kind: report.uid for report in first},
                predecessor_classes={report.kind: report.sop_class for report in first},
            )
            again = replace(told(one, header), notes=("Con imágenes posteriores.",))
            documents = ("structured_report", "text_report", "hl7_oru")
            save(out, write_all(again, one, newer, MADE_AT, documents))
    return out, sources


@pytest.mark.parametrize(("language", "strip"), [("en", "cine"), ("es", "single_frames")])
def test_every_kind_of_result_is_judged_good(shared, tmp_path, language: str, strip: str):
    out, sources = cases(tmp_path, language, strip, tuple(CASES))
    said = judge(shared, out, sources)
    assert "SRT is retired" not in said


@pytest.mark.parametrize("folder", ["chest", "charsets"])
def test_real_sources_are_judged_good(shared: Path, tmp_path: Path, folder: str):
    names = CHEST if folder == "chest" else [f"{name}.dcm" for name in CHARSETS]
    out, sources = tmp_path / "out", tmp_path / "sources"
    sources.mkdir()
    options = replace(OPTIONS, language="es", strip="mosaic")
    for name in names:
        path = shared / "data/dicom" / folder / name
        header = pydicom.dcmread(path, stop_before_pixels=True)
        shutil.copy(path, sources / name)
        one = study_of(header)
        save(out, write_all(full(one, header), one, options, MADE_AT, KINDS))
    judge(shared, out, sources)


@pytest.mark.slow
@pytest.mark.timeout(900)  # the validator takes up to half a minute for each report
def test_templates_are_judged_good(shared: Path, tmp_path: Path):
    beside = str(Path(sys.executable).parent)
    for program in ("DicomSRValidator", "tid1500reader"):
        found = shutil.which(program) or shutil.which(program, path=beside)
        assert found, f"install {program}: the templates cannot be judged without it"
    out, sources = cases(tmp_path, "es", "mosaic", ("no region", "two regions", "unsuitable"))
    documents = tmp_path / "documents"
    documents.mkdir()
    for path in out.glob("*.dcm"):
        shutil.copy(path, documents)
    said = judge(shared, documents, sources, "--sr-validator")
    warned = [line for line in said.splitlines() if "srvalidator: Warning" in line]
    # TIDs 1500 and 2000 are extensible; its CID 5000 calls the language es Castilian
    explained = ("not in template", '"Castilian"')
    assert [one for one in warned if not any(word in one for word in explained)] == []
