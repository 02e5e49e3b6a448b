"""Finds findings, impression and indication in the texts of a report.

In: texts with the codes and names that their container gives them (OBX-3, SR concept names). Out:
Sections. A code decides; a text without a code that is known is cut at its headings. Codes: LOINC
59776-5, 18782-3, 19005-8, 59768-2, 18785-6, 11329-0; DCM 121070-121073, 121060, 121109; the
suffixes GDT and IMP (HL7 v2.5.1 7.1.3). Never: a section that is guessed from its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from processors.impressions.text import fold

_CODES = {
    **dict.fromkeys(("59776-5", "18782-3", "121070", "121071", "GDT"), "findings"),
    **dict.fromkeys(("19005-8", "121072", "121073", "IMP"), "impression"),
    **dict.fromkeys(("59768-2", "18785-6", "11329-0", "121060", "121109"), "indication"),
}
_NAMES = {
    "findings": r"findings?|hallazgos?|descripcion",
    "impression": r"impressions?|conclusions?|impresion(?:es)?(?: diagnosticas?)?|conclusion(?:es)?"
    r"|juicio(?: diagnostico| clinico)?",
    "indication": r"indications?|clinical (?:history|information)|history|indicacion(?:es)?"
    r"|motivo(?: de la)?(?: de)?(?: consulta| peticion| exploracion)?|datos clinicos"
    r"|informacion clinica",
    "": r"techniques?|comparisons?|exam(?:ination)?|procedure|tecnica|comparacion|exploracion"
    r"|estudio|recommendations?|recomendacion(?:es)?",
}
_HEADING = re.compile(
    r"(?:^|(?<=\n)|(?<=[.;] ))[ \t]*(?:"
    + "|".join(f"(?P<s{place}>{names})" for place, names in enumerate(_NAMES.values()))
    + r")[ \t]*[:\n]"
)


@dataclass(frozen=True, slots=True)
class Sections:
    """Texts as they were written, paragraphs parted by line feeds; "" where there is none."""

    findings: str = ""
    impression: str = ""
    indication: str = ""


def of(texts: Iterable[tuple[tuple[str, ...], str]]) -> Sections:
    """The sections of (codes and names, text) in their order."""
    found: dict[str, list[str]] = {name: [] for name in _NAMES}
    for names, said in texts:
        own, text = named(names), unicodedata.normalize("NFC", said)
        for section, part in [(own, text.strip())] if own else _cut(text):
            if part:
                found[section].append(part)
    return Sections(*("\n".join(found[n]) for n in ("findings", "impression", "indication")))


def named(names: Iterable[str]) -> str:
    """The section that codes or names stand for, or ""."""
    for name in names:
        if section := _CODES.get(name.strip()):
            return section
    for name in names:
        for section, pattern in _NAMES.items():
            if re.fullmatch(pattern, fold(name.strip())):
                return section
    return ""


def _cut(text: str) -> list[tuple[str, str]]:
    """The parts of a text by its headings; what stands before the first belongs to none."""
    headings = list(_HEADING.finditer(fold(text)))
    ends = [*(m.start() for m in headings[1:]), len(text)][: len(headings)]
    sections = list(_NAMES)
    return [
        (sections[int((m.lastgroup or "s0")[1:])], text[m.end() : end].strip())
        for m, end in zip(headings, ends, strict=True)
    ]
