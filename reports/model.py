"""What the writers take besides the analysis, and what they return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DEFAULT_LABEL = (
    "Not for diagnostic use. Preliminary result of a model, not reviewed by a radiologist."
)

KINDS = ("secondary_capture", "structured_report", "segmentation", "text_report", "hl7_oru")

ORDER = "order:"  # before the key of a study of which only its order is known


def is_order(study_uid: str) -> bool:
    """Whether this is the key of an order and no Study Instance UID, which nobody may be told."""
    return study_uid.startswith(ORDER)


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Who and what a study is, as decoded text; empty where the source has nothing."""

    study_uid: str
    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: str = ""
    accession: str = ""


class ReportError(Exception):
    """No report may be written of this analysis; says why and what to do."""


class IdentityUnclear(ReportError):
    """The source's name or identifiers do not decode surely: a person must look."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One HL7 receiver: its MSH-5, MSH-6 and MSH-11, and the name of the destination."""

    destination: str
    application: str
    facility: str
    processing: Literal["P", "T", "D"] = "P"


@dataclass(frozen=True, slots=True)
class Options:
    """What a site decides about its reports.

    node: our device serial (16 characters at most); ae_title: ours. issuer: assigning authority
    where the source names none. config_digest: of the settings that shape the result.
    predecessors: report kind -> UID (or MSH-10; hl7_oru:DESTINATION where there are several) of
    the superseded result's report; predecessor_classes: its kind -> its SOP class.
    companions: the kinds that go out together, so that none refers to what is not written;
    write_all sets it. identity: whose study it is, where more is known than its images say (a
    correction, an issuer); it must not contradict them. content: digest of what was judged, since
    the same images may come with other bytes (a corrected name), and that is another result.
    """

    language: Literal["en", "es"] = "en"
    label: str = DEFAULT_LABEL
    strip: Literal["cine", "single_frames", "mosaic"] = "cine"
    node: str = "node-1"
    ae_title: str = "DICTAMEN"
    version: str = "0.1.0"
    issuer: str | None = None
    receivers: tuple[Receiver, ...] = ()
    predecessors: Mapping[str, str] = field(default_factory=dict)
    config_digest: str = ""
    predecessor_classes: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[str, ...] = KINDS
    identity: SourceIdentity | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One document.

    kind: overlay | strip | map | structured_report | segmentation | text_report | hl7_oru. index:
    0.. within the kind. uid: SOP Instance UID, or MSH-10. payload: a DICOM Part 10 file, or an HL7
    message (segments end with CR, no MLLP frame). destination: set where a document is made for
    one receiver only.
    """

    kind: str
    uid: str
    payload: bytes
    index: int = 0
    sop_class: str = ""
    destination: str | None = None
