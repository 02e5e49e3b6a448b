"""Writes one audit event as an Audit Message, PS3.15 A.5.1 (schema) and A.5.2 (use).

Codes (CID 400, 401, 402, 404) with their meanings come from pydicom's dictionary of PS3.16.
Patient and study are participant objects; the patient's name is never written. Everything of
`details` goes along base64-coded, as the schema wants for what others wrote.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from xml.etree import ElementTree as xml

from storage.records import AuditEntry, AuditRecord

OURS = "99DICTAMEN"
_STUDY, _NODE, _SOURCE, _DESTINATION = "110180", "110182", "110153", "110152"
_PARTIES = (
    ("calling_ae", "address", _SOURCE),
    ("destination", "destination_address", _DESTINATION),
)
# what XML 1.0 cannot carry at all
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@cache
def _meanings() -> Mapping[str, str]:
    from pydicom.sr._concepts_dict import concepts  # a second of start, for an export alone

    return {
        code: meaning
        for concept in cast("dict[str, dict[str, tuple[str, Any]]]", concepts["DCM"]).values()
        for code, (meaning, _) in concept.items()
        if code.startswith("110")
    }


def message(record: AuditRecord, patient_id: str = "") -> str:
    """One AuditMessage element, on one line, in UTF-8 without a declaration."""
    root = xml.Element("AuditMessage")
    _event(root, record)
    _participants(root, record.entry)
    _source(root, record.entry)
    _object(root, record)
    if record.entry.study_uid and patient_id:
        _patient(root, patient_id)
    return xml.tostring(root, encoding="unicode")


def _event(root: xml.Element, record: AuditRecord) -> None:
    entry = record.entry
    event = _element(
        root,
        "EventIdentification",
        EventActionCode=entry.action,
        EventDateTime=record.at.isoformat(),
        EventOutcomeIndicator=str(entry.outcome),
    )
    _coded(event, "EventID", entry.event)
    if entry.kind:
        _coded(event, "EventTypeCode", entry.kind)


def _participants(root: xml.Element, entry: AuditEntry) -> None:
    _element(root, "ActiveParticipant", UserID=entry.who or "dictamen", UserIsRequestor="true")
    for name, address, role in _PARTIES:
        if not entry.details.get(name):
            continue
        where = entry.details.get(address)
        access = (
            {"NetworkAccessPointID": str(where), "NetworkAccessPointTypeCode": "2"} if where else {}
        )
        party = _element(
            root,
            "ActiveParticipant",
            UserID=str(entry.details[name]),
            UserIsRequestor="false",
            **access,
        )
        _coded(party, "RoleIDCode", role)


def _source(root: xml.Element, entry: AuditEntry) -> None:
    source = _element(root, "AuditSourceIdentification", AuditSourceID=entry.who or "dictamen")
    xml.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server process


def _object(root: xml.Element, record: AuditRecord) -> None:
    """What it happened to: the study, or where there is none, this node."""
    study = record.entry.study_uid
    what = _element(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=study or record.entry.who or "dictamen",
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole="3" if study else "26",
    )
    _coded(what, "ParticipantObjectIDTypeCode", _STUDY if study else _NODE)
    _element(what, "ParticipantObjectName").text = _fit(study or "dictamen")
    details = {**record.entry.details, "sequence": record.sequence, "hash": record.hash}
    for name, value in details.items():
        _detail(what, name, value)


def _patient(root: xml.Element, patient_id: str) -> None:
    patient = _element(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=patient_id,
        ParticipantObjectTypeCode="1",
        ParticipantObjectTypeCodeRole="1",
    )
    xml.SubElement(
        patient,
        "ParticipantObjectIDTypeCode",
        {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"},
    )
    _element(patient, "ParticipantObjectName").text = "not disclosed"


def _detail(parent: xml.Element, name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    coded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    _element(parent, "ParticipantObjectDetail", type=name, value=coded)


def _coded(parent: xml.Element, tag: str, code: str) -> None:
    known = _meanings().get(code)
    xml.SubElement(
        parent,
        tag,
        {
            "csd-code": _fit(code),
            "codeSystemName": "DCM" if known else OURS,
            "originalText": known or _fit(code),
        },
    )


def _element(parent: xml.Element, tag: str, **attributes: str) -> xml.Element:
    return xml.SubElement(parent, tag, {name: _fit(value) for name, value in attributes.items()})


def _fit(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)
