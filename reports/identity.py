"""Whose result this is: reads it from a source, and compares a finished report with it.

Decides: whether the source's texts decode surely (PS3.5 6.1, PS3.3 C.12.1.1.2), and in which
fields a report, read back from its bytes, differs from the source. The rule: names and numbers
are compared as text after decoding, never as bytes, because reports are written in UTF-8.
Never: repairs or guesses an identity; a value in a message (field names only, no patient data).
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from pydicom import dcmread
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from reports import hl7_text
from reports.model import IdentityUnclear, is_order
from reports.model import SourceIdentity as SourceIdentity

# Same code points in every national variant of ISO 646, so sure even if the charset is unknown.
_INVARIANT = re.compile(r"[A-Za-z0-9 !\"%&'()*+,\-./:;<=>?_^]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f�]")
_UNCLEAR = re.compile(rf"{_CONTROL.pattern}|\\")
_NOT_SENT = "No result is sent; correct it at the source and send again."
UNKNOWN_AUTHORITY = "UNKNOWN"  # PID-3.4 where nobody named an issuer
_ONE_AT_A_TIME = threading.RLock()
_TALKATIVE = [logging.getLogger(name) for name in ("pydicom", "highdicom.base", "highdicom.sr.sop")]
_KEYWORDS = {
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "accession": "AccessionNumber",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what pydicom and highdicom say in: some of it quotes the patient's name or dates.

    One thread at a time, since Python 3.11 keeps its warning filters for the whole process.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = [(logger, logger.disabled) for logger in _TALKATIVE]
        for logger in _TALKATIVE:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in before:
                logger.disabled = disabled


def sure_text(header: Dataset, keyword: str, within: Dataset | None = None) -> str | None:
    """The decoded text of one attribute; "" where missing; None where it does not decode surely.

    within: the data set around an item, whose character set counts where the item names none.
    """
    with quiet():
        value: Any = header.get(keyword)
        if isinstance(value, MultiValue):  # a backslash in a single-valued attribute
            return None
        text = "" if value is None else str(value)
        around = Dataset() if within is None else within
        terms = header.get("SpecificCharacterSet") or around.get("SpecificCharacterSet") or ""
    declared = [str(term) for term in (terms if isinstance(terms, MultiValue) else [terms])]
    if _CONTROL.search(text):
        return None
    if not all(_known(term) for term in declared):
        return text.strip() if _INVARIANT.fullmatch(text) else None
    default_only = all(term in ("", "ISO_IR 6", "ISO 2022 IR 6") for term in declared)
    if default_only and not text.isascii():
        return None
    return text.strip()


def _known(term: str) -> bool:
    """Whether pydicom decodes this defined term; spellings that it corrects count."""
    corrected = re.sub(r"^ISO[^_]IR", "ISO_IR", term)
    corrected = re.sub(r"^ISO.2022.IR.", "ISO 2022 IR ", corrected)
    return term in python_encoding or corrected in python_encoding


def valid_date(text: str) -> str:
    """A DA value, or nothing: `00000000` and 2026-01-01 are not repaired."""
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return ""
    return text if len(text) == 8 else ""


def of(header: Dataset) -> SourceIdentity:
    """The identity of a source; raises IdentityUnclear if any part of it does not decode surely."""
    values = {name: sure_text(header, keyword) for name, keyword in _KEYWORDS.items()}
    unclear = [_KEYWORDS[name] for name, value in values.items() if value is None]
    if unclear:
        raise IdentityUnclear(
            f"{', '.join(unclear)} cannot be decoded surely with the character set of the image. "
            "No result is sent; correct the Specific Character Set at the source and send again."
        )
    if not values["study_uid"]:
        raise IdentityUnclear("The image names no study (StudyInstanceUID). No result is sent.")
    known = {name: value or "" for name, value in values.items()}
    cleaned = {
        "issuer": hl7_text.known(known["issuer"]),
        "birth_date": valid_date(known["birth_date"]),
    }
    return SourceIdentity(**known | cleaned)


def agreed(known: Sequence[SourceIdentity], stated: SourceIdentity | None) -> SourceIdentity:
    """Whose study it is: what is stated of it, else its images; an empty issuer agrees with any.

    Raises IdentityUnclear if these name different patients, or what is stated is no clear text.
    """
    said = [*known, stated] if stated else list(known)
    issuers = {one.issuer.strip() for one in said} - {""}
    if len({one.patient_id.strip() for one in said}) > 1 or len(issuers) > 1:
        raise IdentityUnclear(
            "The images of this study name different patients (PatientID). No result is sent; "
            "correct the study at its source."
        )
    issuer = next(iter(issuers), "")
    if stated is None:
        return replace(known[0], issuer=issuer)
    values = {field.name: getattr(stated, field.name).strip() for field in fields(stated)}
    unclear = [_KEYWORDS[name] for name, text in values.items() if _UNCLEAR.search(text)]
    if unclear:
        raise IdentityUnclear(f"{', '.join(unclear)} of the study is no clear text. {_NOT_SENT}")
    return SourceIdentity(
        **values | {"issuer": issuer, "birth_date": valid_date(values["birth_date"])}
    )


def name_groups(name: str) -> tuple[tuple[str, ...], ...]:
    """The component groups of a person name without what means nothing at the ends."""
    groups = [tuple(p.strip() for p in _trimmed(g.split("^"))) for g in name.split("=")]
    while groups and not groups[-1]:
        groups.pop()
    return tuple(groups)


def _trimmed(parts: list[str]) -> list[str]:
    while parts and not parts[-1].strip():
        parts = parts[:-1]
    return parts


def matches(payload: bytes, kind: str, identity: SourceIdentity) -> tuple[str, ...]:
    """The fields in which a finished report, read back, differs from the source; () if in none.

    kind: as in Report; hl7_oru is read as a message, anything else as DICOM. A report that cannot
    be read differs in "payload". Birth dates that are no dates count as missing on both sides.
    """
    try:
        found = _from_message(payload) if kind == "hl7_oru" else _from_dicom(payload)
    except Exception:  # noqa: BLE001  whatever stops the reading stops the sending
        return ("payload",)
    if found is None:
        return ("payload",)
    mine, theirs = _comparable(found), _comparable(identity)
    if not found.issuer or not identity.issuer or found.issuer == UNKNOWN_AUTHORITY:
        mine["issuer"] = theirs["issuer"]  # one that is not named agrees with any, see hl7_oru
    if is_order(identity.study_uid) and not found.study_uid:
        mine["study_uid"] = theirs["study_uid"]  # no study is known, and none is named
    return tuple(field.name for field in fields(identity) if mine[field.name] != theirs[field.name])


def _comparable(identity: SourceIdentity) -> dict[str, object]:
    texts = {field.name: getattr(identity, field.name).strip() for field in fields(identity)}
    values: dict[str, object] = {name: hl7_text.known(text) for name, text in texts.items()}
    values["patient_name"] = name_groups(identity.patient_name.replace(hl7_text.NULL, ""))
    values["birth_date"] = valid_date(identity.birth_date.strip())
    return values


def _from_dicom(payload: bytes) -> SourceIdentity | None:
    with quiet():
        return of(dcmread(io.BytesIO(payload), stop_before_pixels=True))


def _from_message(payload: bytes) -> SourceIdentity | None:
    message = hl7_text.Parsed(payload.decode("utf-8"))
    ident = message.components("PID", 3)
    studies = {
        row[5] for row in message.rows("OBX") if len(row) > 5 and row[3].startswith("113014^")
    }
    if len(studies) > 1 or message.count("PID") != 1 or message.count("OBR") != 1:
        return None
    return SourceIdentity(
        study_uid=hl7_text.unescape(next(iter(studies), "")),
        patient_id=ident[0],
        issuer=hl7_text.unescape(message.parts("PID", 3, 4)[0]),
        patient_name=hl7_text.dicom_name(message.field("PID", 5)),
        birth_date=message.components("PID", 7)[0],
        accession=message.components("OBR", 18)[0],
    )
