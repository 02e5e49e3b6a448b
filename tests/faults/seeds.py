"""Studies and ready runs put into a node's memory through its gateways, without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from storage import Identity, NewInstance, PlannedRun, Run, Storage


def study_uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.10.1.{number + 1}"


def seed(
    storage: Storage, number: int, *, urgent: Collection[int] = (), first: int = 0
) -> list[Run]:
    """So many studies of one small instance, each with a ready run of processor "chest"."""
    path, sha256, size = _object(storage)
    runs = []
    for index in range(first, first + number):
        uid = study_uid(index)
        instance = f"{uid}.1.1"
        storage.studies.add(
            NewInstance(
                sop_uid=instance,
                sop_class=ComputedRadiographyImageStorage,
                transfer_syntax=ExplicitVRLittleEndian,
                series_uid=f"{uid}.1",
                identity=Identity(uid, patient_id=f"P{index}", patient_name="Test^Seed"),
                sha256=sha256,
                size=size,
                path=path,
                calling_ae="TRIALPACS",
                called_ae="DICTAMEN",
                address="127.0.0.1",
                headers={"Modality": "CR"},
                received_at=datetime.now(UTC),
            ),
            on_conflict="keep_first",
        )
        runs += storage.studies.plan(
            uid,
            [PlannedRun("chest", f"digest-{index}", (instance,), urgent=index in urgent)],
            trace=[],
            instances_seen=1,
            done=True,
            at=datetime.now(UTC),
        )
    return runs


def _object(storage: Storage) -> tuple[str, str, int]:
    """One small readable object; every seeded study points to it."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.5"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P", "Test^Seed", "CR"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    return (
        storage.spool.write("objects", "aa/seed.dcm", data),
        hashlib.sha256(data).hexdigest(),
        len(data),
    )
