"""The segments of an ORU that say who, which order and which study (HL7 v2.5.1, chapters 2-4).

Decides where each attribute of the source goes (standards.md C). Every text is escaped before
hl7apy sees it. Never: `""` (it means delete), an accession number that the source does not have,
a human interpreter (OBR-32), a final status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from hl7apy.core import Segment
from pydicom.dataset import Dataset

from processors.analysis import Code
from reports import header, uids
from reports.hl7_text import escape, known, person_name
from reports.identity import UNKNOWN_AUTHORITY, SourceIdentity
from reports.model import Options, Receiver
from reports.wording import words

VERSION = "2.5.1"
PRELIMINARY = "P"
_FRACTION = re.compile(r"\.\d+")
AT_ONCE = "^^^^^S"  # TQ.6: stat. In 2.5.1 OBR-27 is kept for receivers that do not read TQ1
Fields = Mapping[int, str]


def segment(name: str, fields: Fields) -> str:
    """One segment as ER7. fields: already escaped, so a ~ in them parts repetitions."""
    last = max((number for number, value in fields.items() if value), default=0)
    first = 2 if name == "MSH" else 1  # MSH-1 is the separator itself
    return "|".join([name, *(_field(name, n, fields.get(n, "")) for n in range(first, last + 1))])


@lru_cache(maxsize=512)
def _field(name: str, number: int, value: str) -> str:
    """One field as hl7apy writes it; most of a message stands in the one before, too."""
    made = Segment(name, version=VERSION)
    for repetition in value.split("~") if value else ():
        made.add_field(f"{name}_{number}").value = repetition
    return str(made.to_er7()).removeprefix(name).lstrip("|")


def coded(code: Code) -> str:
    return "^".join(escape(part) for part in (code.value, code.meaning, code.scheme))


def msh(receiver: Receiver, control: str, options: Options, made_at: datetime) -> str:
    language = words(options.language).hl7_language
    fields = {
        3: escape(options.ae_title),
        4: escape(receiver.facility),
        5: escape(receiver.application),
        6: escape(receiver.facility),
        7: header.timestamp(made_at),
        9: "ORU^R01^ORU_R01",
        10: control,
        11: receiver.processing,
        12: VERSION,
        18: "UNICODE UTF-8",
        19: f"{language[0]}^{language[1]}^ISO639",
    }
    return segment("MSH", fields).replace("MSH||", "MSH|^~\\&|", 1)  # hl7apy leaves MSH-2 out


def pid(origin: header.Source, options: Options) -> str:
    identity = origin.identity
    sex = header.plain_text(origin.header, "PatientSex")
    number = [escape(identity.patient_id), "", "", _authority(origin, options), "MR"]
    fields = {
        1: "1",
        3: "^".join(number),
        5: person_name(identity.patient_name),
        7: identity.birth_date,
        8: sex if sex in ("M", "F", "O") else "U",
    }
    return segment("PID", fields)


def _authority(origin: header.Source, options: Options) -> str:
    """CX.4: the source's issuer with its universal id, else the configured one, else UNKNOWN."""
    if not origin.identity.issuer:
        return escape(options.issuer or UNKNOWN_AUTHORITY)
    parts = [escape(origin.identity.issuer)]
    for item in list(origin.header.get("IssuerOfPatientIDQualifiersSequence") or ())[:1]:
        universal = header.plain_text(item, "UniversalEntityID", origin.header)
        kind = header.plain_text(item, "UniversalEntityIDType", origin.header)
        if universal and kind:
            parts += [escape(universal), escape(kind)]
    return "&".join(parts)


def pv1(source: Dataset) -> str:
    return segment("PV1", {1: "1", 2: "U", 19: escape(header.plain_text(source, "AdmissionID"))})


def orders(source: Dataset, identity: SourceIdentity) -> tuple[str, str]:
    """Placer and filler number: the order's own, else the accession number, else a derived one.

    The derived one is no number that a RIS knows and never stands in OBR-18.
    """
    placer = from_request(source, "PlacerOrderNumberImagingServiceRequest")
    filler = from_request(source, "FillerOrderNumberImagingServiceRequest")
    number = filler or known(identity.accession)
    return placer, number or uids.filler_number(identity.study_uid)


def from_request(source: Dataset, keyword: str) -> str:
    """A value of the study's request; none if it has several, because the study is of no one."""
    requests = list(source.get("RequestAttributesSequence") or ())
    found = header.plain_text(requests[0], keyword, source) if len(requests) == 1 else ""
    return known(found) or known(header.plain_text(source, keyword))


def orc(source: Dataset, identity: SourceIdentity) -> str:
    placer, filler = orders(source, identity)
    return segment("ORC", {1: "RE", 2: escape(placer), 3: escape(filler)})


def obr(origin: header.Source, made_at: datetime, *, at_once: bool = False) -> str:
    """at_once: the draft holds something that somebody must know within minutes."""
    source = origin.header
    placer, filler = orders(source, origin.identity)
    fields = {
        1: "1",
        2: escape(placer),
        3: escape(filler),
        4: coded(header.procedure(source)),
        7: _acquired(source),
        18: escape(origin.identity.accession),
        19: escape(from_request(source, "RequestedProcedureID")),
        20: escape(from_request(source, "ScheduledProcedureStepID")),
        22: header.timestamp(made_at),
        24: "RAD",
        25: PRELIMINARY,
    }
    if at_once:
        fields[27] = AT_ONCE
    return segment("OBR", fields)


def _acquired(source: Dataset) -> str:
    """When the pictures were made, to the second; empty if the source does not say."""
    full = header.plain_text(source, "AcquisitionDateTime")
    if full:
        return _FRACTION.sub("", full)  # six digits of it in DICOM, four at most in HL7
    offset = header.plain_text(source, "TimezoneOffsetFromUTC")
    for day, time in (("AcquisitionDate", "AcquisitionTime"), ("StudyDate", "StudyTime")):
        date = header.plain_text(source, day)
        if date:
            clock = header.plain_text(source, time).split(".")[0]
            return date + clock + (offset if clock else "")
    return ""
