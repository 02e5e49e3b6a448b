"""Synthetic sources and hand-made analyses for the tests of the reports. No real patient."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from processors.analysis import (
    Algorithm,
    Analysis,
    Check,
    Code,
    Explanation,
    Finding,
    Frame,
    Impression,
    Instance,
    Region,
    Sentence,
    State,
    Status,
    Study,
)
from reports import Options, Receiver, Report, write_all

MADE_AT = datetime(2026, 11, 20, 10, 15, 30, tzinfo=UTC)
KINDS = ("secondary_capture", "structured_report", "text_report", "hl7_oru")
PNEUMONIA = Code("233604007", "SCT", "Pneumonia")
NODULE = Code("27925004", "SCT", "Nodule")
EFFUSION = Code("60046008", "SCT", "Pleural effusion")
LUNG = Code("39607008", "SCT", "Lung")
ALGORITHM = Algorithm("chest-vae", "1.0.0", "0123456789abcdef" * 4)
RIS = Receiver("ris", "RIS", "HOSPITAL", "T")
OPTIONS = Options(receivers=(RIS,))


def source(number: int = 1, **attributes: Any) -> Dataset:
    """A synthetic DX image as it comes off the wire; None removes an attribute."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = f"1.2.826.0.1.3680043.10.1.{number}"
    made.StudyInstanceUID = "1.2.826.0.1.3680043.10.2"
    made.SeriesInstanceUID = "1.2.826.0.1.3680043.10.3"
    made.PatientName = "Ibáñez^María José^^Dra.^II"
    made.PatientID = "HC-0042"
    made.IssuerOfPatientID = "CLINICA SUR"
    made.PatientBirthDate, made.PatientSex, made.PatientAge = "19650304", "F", "061Y"
    made.StudyDate, made.StudyTime, made.StudyID = "20261120", "090807", "S1"
    made.AccessionNumber, made.StudyDescription = "ACC-77", "TORAX PA"
    made.ReferringPhysicianName = "Núñez^Óscar"
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "PA"
    made.PatientOrientation = ["L", "F"]
    made.Rows, made.Columns, made.PixelSpacing = 200, 160, [0.2, 0.2]
    made.add_new(0x00111010, "LO", "private, must not be copied")
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return wired(made)


def wired(made: Dataset) -> Dataset:
    """The data set written and read back, with raw elements as the node gets them."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, implicit_vr=False, little_endian=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True)


def pixels(rows: int, columns: int) -> np.ndarray:
    """A picture with structure: a bright cross on a slope."""
    made = np.linspace(0.1, 0.6, rows, dtype=np.float32)[:, None] * np.ones(columns, np.float32)
    made[rows // 2 - 2 : rows // 2 + 2] = 0.9
    made[:, columns // 2 - 2 : columns // 2 + 2] = 0.9
    return made


def study(*headers: Dataset) -> Study:
    shown = headers or (source(),)
    instances = tuple(Instance(str(one.SOPInstanceUID), one) for one in shown)
    sizes = {str(one.SOPInstanceUID): (int(one.Rows), int(one.Columns)) for one in shown}
    return Study(str(shown[0].StudyInstanceUID), instances, lambda uid, frame: pixels(*sizes[uid]))


def region(header: Dataset, x: float = 0.35, y: float = 0.6, size: float = 0.15) -> Region:
    """A closed outline of 25 points around a place given in parts of the image."""
    turn = [math.tau * n / 24 for n in range(24)]
    points = [
        ((x + size * math.cos(t)) * header.Columns, (y + size * math.sin(t)) * header.Rows)
        for t in turn
    ]
    return Region(str(header.SOPInstanceUID), (*points, points[0]))


def finding(
    header: Dataset, label: str, code: Code | None, state: State, probability: float, **more: Any
) -> Finding:
    uid = str(header.SOPInstanceUID)
    return Finding(label, uid, probability, 0.5, state, (0.4, 0.6), code, LUNG, **more)


def explanation(header: Dataset, label: str, *, shown: bool = True) -> Explanation:
    rng = np.random.default_rng(7)
    frames = tuple(
        Frame(rng.integers(0, 255, (64, 64), dtype=np.uint8), alpha / 3, 0.5 + alpha / 7)
        for alpha in range(-3, 4)
    )
    difference = np.zeros((64, 64), np.float32)
    difference[20:30, 20:30], difference[40:50, 40:50] = 1.0, -0.5
    checks = (Check("deletion", 0.8 if shown else 0.2, 0.5), Check("halo", 0.1, 0.3, False))
    reason = "" if shown else "deletion 0.20 is below 0.50"
    uid = str(header.SOPInstanceUID)
    return Explanation(label, uid, "traversal", frames, difference, checks, shown, reason)


def present(header: Dataset, **more: Any) -> Finding:
    regions = more.pop("regions", (region(header),))
    more.setdefault("code", PNEUMONIA)
    code = more.pop("code")
    return finding(header, "pneumonia", code, State.PRESENT, 0.71, regions=regions, **more)


def undetermined(header: Dataset, **more: Any) -> Finding:
    return finding(header, "nodule", NODULE, State.UNDETERMINED, 0.47, **more)


def absent(header: Dataset) -> Finding:
    return finding(header, "pleural effusion", EFFUSION, State.ABSENT, 0.06)


def analysis(
    of: Study,
    findings: tuple[Finding, ...],
    explanations: tuple[Explanation, ...] = (),
    **more: Any,
) -> Analysis:
    sentence = Sentence("Compatible con neumonía; correlacionar.", ("pneumonia",))
    more.setdefault("impression", Impression("es", (sentence,)))
    return Analysis(
        of.uid,
        "chest",
        ALGORITHM,
        Status.COMPLETED,
        findings=findings,
        explanations=explanations,
        **more,
    )


def refused(of: Study, reason: str = "Es una proyección lateral.") -> Analysis:
    return Analysis(of.uid, "chest", ALGORITHM, Status.UNSUITABLE, reason, kind="view")


def full(of: Study, header: Dataset) -> Analysis:
    """One finding of each state; the first explained, the second with a failed explanation."""
    return analysis(
        of,
        (present(header), undetermined(header), absent(header)),
        (explanation(header, "pneumonia"), explanation(header, "nodule", shown=False)),
        notes=("Edad desconocida.",),
    )


@lru_cache(maxsize=1)
def _usual() -> dict[str, Report]:
    return written(source())


def written(
    header: Dataset | None = None, options: Options = OPTIONS, **more: Any
) -> dict[str, Report]:
    """The reports of the full analysis by kind (the first of each)."""
    if header is None and options is OPTIONS and not more:
        return dict(_usual())
    image = header if header is not None else source(**more)
    one = study(image)
    found: dict[str, Report] = {}
    for report in write_all(full(one, image), one, options, MADE_AT, KINDS):
        found.setdefault(report.kind, report)
    return found


def read(report: Report) -> Dataset:
    return pydicom.dcmread(io.BytesIO(report.payload))


def items(root: Dataset) -> list[Dataset]:
    """Every content item of a Structured Report, depth first."""
    found = []
    for item in root.get("ContentSequence", []):
        found += [item, *items(item)]
    return found


def concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def segments(report: Report) -> list[list[str]]:
    return [line.split("|") for line in report.payload.decode("utf-8").split("\r") if line]
