"""What a run over a text reads: a received message, or a DICOM SR, in one form.

In: a claimed run. Out: a Narrative: sections, language, who signs, and a header that says patient,
study and order the way an image would, so that the same writers serve. Never: a decision about
what is drafted from it; a value that neither message nor study has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from pydicom.dataset import Dataset

from dicom_node import metrics
from dicom_node.inbox import structured
from dicom_node.inbox.desk import renewed
from dicom_node.inbox.events import EventName
from dicom_node.inbox.message import Dictation, Refused, read
from dicom_node.pipeline import InputMissing
from processors.analysis import ProcessorError
from processors.impressions.sections import Sections
from processors.pixels import read_dataset
from reports.identity import quiet
from storage import MessageRecord, NewMessage, Run, Storage

log = structlog.get_logger()

_SENT_AGAIN = "Send the report again, then: dictamen runs retry."


class UnreadableText(ProcessorError):
    """What was taken at the door can no longer be read as a report."""


class Disowned(Exception):
    """The study is another patient's by now; message and run are put aside already."""


@dataclass(frozen=True, slots=True)
class Narrative:
    """source: control id or SOP Instance UID. language: en, es, or "" where the text says none.

    message: as the inbox took it; None of an SR, whose patient its own instance names.
    """

    source: str
    sections: Sections
    language: str
    reader: str
    header: Dataset
    received_at: datetime
    message: NewMessage | None = None


def of_claimed(storage: Storage, claimed: Run, processing: str) -> Narrative:
    """What a claimed run reads, if it is still of its study's patient: a person may have decided
    otherwise since it was planned. Raises InputMissing, UnreadableText, Disowned, LeaseLost.
    """
    text = of_run(storage, claimed, processing)
    if text.message and (reason := storage.inbox.disowned(claimed, text.message)):
        metrics.count(EventName.HELD)
        log.error(EventName.HELD, run=claimed.id, study=claimed.study_uid, why=reason, alarm=True)
        raise Disowned(reason)
    return text


def of_run(storage: Storage, run: Run, processing: str) -> Narrative:
    """What the run reads. Raises InputMissing, UnreadableText."""
    if run.instances:
        return _of_report(storage, run)
    message = storage.inbox.of_run(run.id)
    if message is None or not message.path:
        raise InputMissing("Input missing: the received message is gone.", then=_SENT_AGAIN)
    return _of_message(storage, run, message, processing)


def dictation(storage: Storage, message: MessageRecord, processing: str) -> Dictation:
    """A stored message, read once more. Raises InputMissing, UnreadableText."""
    try:
        data = storage.spool.read(message.path)
    except Exception as error:
        raise InputMissing("Input missing: the message's file.", then=_SENT_AGAIN) from error
    found = read(data, processing)
    if isinstance(found, Refused):
        raise UnreadableText(f"Message {message.id} cannot be read: {found.where}, {found.why}.")
    return found


def _of_message(storage: Storage, run: Run, message: MessageRecord, processing: str) -> Narrative:
    said = dictation(storage, message, processing)
    return Narrative(
        message.control_id,
        said.sections,
        said.language,
        said.reader,
        header(said, run.study_uid),
        message.received_at,
        renewed(said, message),
    )


def _of_report(storage: Storage, run: Run) -> Narrative:
    stored = next(
        (i for i in storage.studies.instances(run.study_uid) if i.sop_uid in run.instances), None
    )
    if stored is None:
        raise InputMissing("Input missing: the structured report is gone.", then=_SENT_AGAIN)
    try:
        report = read_dataset(storage.spool.path(stored.path), pixels=False)
    except OSError as error:
        raise InputMissing(
            "Input missing: the structured report's file.", then=_SENT_AGAIN
        ) from error
    return Narrative(
        stored.sop_uid,
        structured.read(report),
        structured.language(report),
        structured.reader(report),
        report,
        stored.received_at,
    )


def header(said: Dictation, study_uid: str) -> Dataset:
    """A message as the header of an image: patient, study and order in DICOM's attributes."""
    who, made = said.identity, Dataset()
    with quiet():
        made.SpecificCharacterSet = "ISO_IR 192"
        made.StudyInstanceUID = study_uid
        made.PatientID, made.PatientName = who.patient_id, who.patient_name
        made.PatientBirthDate, made.AccessionNumber = who.birth_date, who.accession
        made.PatientSex = said.sex if said.sex in ("M", "F", "O") else ""
        if who.issuer:
            made.IssuerOfPatientID = who.issuer
        order(made, said.placer, said.filler)
        value, meaning, scheme = said.procedure
        if value and meaning and scheme:
            code = Dataset()
            code.CodeValue, code.CodeMeaning, code.CodingSchemeDesignator = value, meaning, scheme
            made.ProcedureCodeSequence = [code]
    return made


def order(header: Dataset, placer: str, filler: str) -> None:
    """Put the order's numbers where `reports.hl7_segments` looks for them."""
    with quiet():
        for holder in (header, *(header.get("RequestAttributesSequence") or ())):
            if placer:
                holder.PlacerOrderNumberImagingServiceRequest = placer
            if filler:
                holder.FillerOrderNumberImagingServiceRequest = filler
