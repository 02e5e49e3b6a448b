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
from pynetdicom import AE

from dicom_node.demo import patients

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
    entity = AE(calling)
    for pair in {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}:
        entity.add_requested_context(*pair)
    link = entity.associate("127.0.0.1", port, ae_title="DICTAMEN")
    if not link.is_established:
        return [-1] * len(datasets)
    statuses = [int(getattr(link.send_c_store(d), "Status", -1)) for d in datasets]
    link.release()
    return statuses
