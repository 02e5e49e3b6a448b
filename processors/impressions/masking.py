"""Takes out of a text what names a patient, a person, a day or a place, before it may leave.

In: a text; names that are known to be the patient's. Out: the text with masks. Numbers that a
finding needs (sizes, levels, ages up to 89) stay. Rules find what has a form: dates, times, long
numbers, addresses of the net, names behind a title, the names handed in. Never found: the name of
somebody else that stands alone. Pure.
Source of the list: the identifiers of HIPAA's Safe Harbor, 45 CFR 164.514(b)(2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "[...]"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic)[a-zé]*\.?"
_NAME = r"[A-ZÁÉÍÓÚÑ][\w'’-]+"
_RULES = (
    re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    re.compile(r"\b(?:https?://|www\.)\S+"),
    # numeric dates with two separators, or year-month; "2.1 x 3.4 cm" and "T12-L1" are none
    re.compile(r"\b\d{1,4}([-/.])\d{1,2}\1\d{2,4}\b|\b(?:19|20)\d{2}-\d{1,2}\b"),
    re.compile(
        rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)?(?:\s+(?:de|of))?\s+{_MONTH}|{_MONTH}\s+\d{{1,2}}\b)"
        r"(?:\s*(?:,|de|del|of)?\s*(?:19|20)\d{2})?",
        re.I,
    ),
    re.compile(rf"\b{_MONTH}\s*(?:,|de|del|of)?\s*(?:19|20)\d{{2}}\b", re.I),
    re.compile(r"\b(?:19|20)\d{2}\b(?!\s*(?:mm|cm|ml|m[lL]))"),
    re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]\.?m\b\.?)?", re.I),
    # record, accession and telephone numbers: five digits and more, also in groups
    re.compile(r"(?<![\w.])\+?\d(?:[ -]?\d){4,}(?![\w]|\.\d)"),
    re.compile(r"\b(?=\w*\d\w*\d\w*\d)(?=\w*[A-Za-z])[A-Z0-9]{6,}\b"),
    re.compile(
        rf"\b(?:Dr|Dra|Drs|Mr|Mrs|Ms|Sr|Sra|D|Dña|Prof|[Dd]octora?)\b\.?\s+{_NAME}"
        rf"(?:\s+(?:(?:de|del|la|van|von)\s+)*{_NAME}){{0,3}}"
    ),
    re.compile(r"\b(?:9\d|1[01]\d)(?=[\s-]*(?:years?|year-old|yo\b|y/o|años))"),
)


def masked(text: str, names: Iterable[str] = ()) -> str:
    """The text with MASK in place of what identifies. names: of the patient, whole or in parts."""
    parts = sorted(
        {part for name in names for part in re.split(r"[\s^,]+", name) if len(part) > 2},
        key=len,
        reverse=True,
    )
    for part in parts:
        text = re.sub(rf"\b{re.escape(part)}\b", MASK, text, flags=re.I)
    for rule in _RULES:
        text = rule.sub(MASK, text)
    return text
