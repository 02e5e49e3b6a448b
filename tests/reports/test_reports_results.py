"""Which result a run's reports are: another content is another result, whatever was forgotten."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

import pydicom
from courier_bench import storage_in
from report_cases import ALGORITHM, OPTIONS, full, source

from dicom_node import pipeline
from processors.analysis import Analysis, Refusal, Study
from storage import Identity, NewInstance, PlannedRun, RunState, Storage

KINDS = ("text_report", "hl7_oru")


class Judging:
    """A processor that says the same of every study."""

    name = "chest"
    algorithm = ALGORITHM

    def accepts(self, study: Study) -> Refusal | None:
        return None

    def analyse(self, study: Study) -> Analysis:
        return full(study, study.instances[0].header)


def judged(storage: Storage, name: str) -> dict[str, str]:
    """One image comes, of a patient of that name, and is judged: kind -> uid of its reports."""
    image = source(PatientName=name)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image, implicit_vr=False, little_endian=True)
    data = buffer.getvalue()
    sop_uid, study_uid = str(image.SOPInstanceUID), str(image.StudyInstanceUID)
    digest = hashlib.sha256(data).hexdigest()
    storage.studies.add(
        NewInstance(
            sop_uid,
            str(image.SOPClassUID),
            "1.2.840.10008.1.2.1",
            str(image.SeriesInstanceUID),
            Identity(study_uid, "HC-0042", "CLINICA SUR", name, "19650304", "ACC-77"),
            digest,
            len(data),
            storage.spool.write("objects", f"{digest}.dcm", data),
            "PACS",
            "DICTAMEN",
            "127.0.0.1",
            {"SpecificCharacterSet": "ISO_IR 100"},
            datetime.now(UTC),
        ),
        on_conflict="keep_first",
    )
    planned = PlannedRun("chest", digest, (sop_uid,))
    (run,) = storage.studies.plan(
        study_uid, (planned,), trace=(), instances_seen=1, done=True, at=datetime.now(UTC)
    )
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    state = pipeline.run(
        storage, claimed, Judging(), OPTIONS, lambda _status: KINDS, lambda _report: ()
    )
    assert state is RunState.COMPLETED
    return {report.kind: report.uid for report in storage.runs.reports(run.id)}


def test_a_corrected_study_that_comes_after_retention_gives_another_result(
    tmp_path: Path,
) -> None:
    with storage_in(tmp_path) as storage:
        first = judged(storage, "Ibáñez^María")
        assert storage.studies.forget(str(source().StudyInstanceUID))
        second = judged(storage, "Ibáñez Gómez^María")
        assert set(first) == set(second) == set(KINDS)
        assert all(first[kind] != second[kind] for kind in KINDS)
