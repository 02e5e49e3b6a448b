"""What is sent in the tests: films drawn by the shipped model's decoder, or real ones if there are.

Synthetic films need nothing but the shipped bundle; `restamped` makes as many studies of them as a
test wants, each of its own patient.
"""

from __future__ import annotations

import copy
import uuid
from functools import lru_cache
from itertools import cycle
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.demo import patients, peers

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
_NAMESPACE = uuid.UUID("3a2a7a57-6a0f-4c29-9a53-0b4f3f5f8c11")


@lru_cache(maxsize=1)
def cast() -> tuple[patients.Patient, ...]:
    """The demonstration's synthetic patients."""
    return tuple(patients.draw("en"))


def uid(*parts: object) -> str:
    """A UID that follows from its parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def restamped(source: Dataset, name: object, **changes: Any) -> Dataset:
    """The same picture as another study of another patient."""
    dataset = copy.deepcopy(source)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study", name), uid("series", name)
    dataset.SOPInstanceUID = uid("instance", name)
    dataset.PatientID, dataset.AccessionNumber = f"TEST-{name}", f"ACC-{name}"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    return dataset


def films(number: int, prefix: str = "F") -> list[Dataset]:
    """So many one-film studies that the chest model judges."""
    good = cycle(p.datasets[0] for p in cast() if p.expected == "completed")
    return [
        restamped(film, f"{prefix}{n:04d}") for n, film in zip(range(number), good, strict=False)
    ]


def ill(name: str, **changes: Any) -> Dataset:
    """A child's film drawn from pneumonia: the model sees it, so every kind of report is made."""
    drawn = next(p for p in cast() if "child" in p.title and "pneumonia" in p.title)
    return restamped(drawn.datasets[0], name, **changes)


def lateral(name: str = "LAT") -> Dataset:
    """A lateral film, which the model must refuse."""
    return restamped(next(p for p in cast() if p.expected == "unsuitable").datasets[0], name)


def send(port: int, *datasets: Dataset, calling: str = "TRIALPACS") -> list[int]:
    """C-STORE over one association; the statuses, -1 where there was no answer."""
    return peers.store(port, "DICTAMEN", calling, datasets)


def dictated(image: Dataset, name: str, findings: str, impression: str = "") -> Dataset:
    """A Basic Text SR (TID 2000) of the image's study, as a dictation system writes it."""
    made = copy.deepcopy(image)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        if keyword in made:
            del made[keyword]
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = BASIC_TEXT_SR
    made.SeriesInstanceUID = uid("series", name, image.StudyInstanceUID)
    made.SOPInstanceUID = uid("instance", name, image.StudyInstanceUID)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.Modality, made.CompletionFlag, made.VerificationFlag = "SR", "COMPLETE", "UNVERIFIED"
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging report")]
    sections = [("121070", "Findings", "121071", "Finding", findings)]
    if impression:
        sections.append(("121072", "Impressions", "121073", "Impression", impression))
    made.ContentSequence = [_section(*one) for one in sections]
    return made


def _section(code: str, meaning: str, inner: str, inner_meaning: str, said: str) -> Dataset:
    item, text = Dataset(), Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", said
    text.ConceptNameCodeSequence = [_code(inner, "DCM", inner_meaning)]
    item.RelationshipType, item.ValueType = "CONTAINS", "CONTAINER"
    item.ContinuityOfContent = "SEPARATE"
    item.ConceptNameCodeSequence = [_code(code, "DCM", meaning)]
    item.ContentSequence = [text]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made
