"""The nodule of a findings text, and the published follow-up that it calls for, or why none.

In: a findings section, what the headers and the caller know of the patient. Out: the words of the
Fleischner Society's table (`fleischner`), a Refusal, or None where the text asserts no nodule. The
image models of a node measure no nodule: only a text that a radiologist wrote leads here.
Never: a guess: what the text does not say once and clearly stays unknown, and the table then asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from processors.analysis import Refusal
from processors.impressions.assertion import ASSERTED, Assertion, assertion
from processors.impressions.fleischner import FollowUp, Kind, Nodule, follow_up
from processors.impressions.labeller import COUNT, Mention, read
from processors.impressions.lexicon import compiled, lexicon, table
from processors.impressions.text import fold

_LENGTHS: Mapping[str, float] = {"mm": 1.0, "cm": 10.0}


@dataclass(frozen=True, slots=True)
class Patient:
    """What stands in no findings section; None: not known. age: years. modality: as in DICOM."""

    modality: str | None = None
    age: float | None = None
    high_risk: bool | None = None
    cancer: bool | None = None
    immunosuppression: bool | None = None
    screening: bool | None = None


def proposal(findings: str, patient: Patient, language: str) -> FollowUp | Refusal | None:
    """What the table says of the text's nodule. Raises ValueError without phrase list."""
    found = nodule(findings, patient, language)
    return follow_up(found, language) if found else None


def nodule(findings: str, patient: Patient, language: str) -> Nodule | None:
    """The nodule that a text asserts, as far as the text is clear about it."""
    named = [
        mention
        for mention in read(findings, language)
        if mention.concept == "nodule" and mention.state in ASSERTED
    ]
    if not named:
        return None
    told = dict.fromkeys(fold(mention.sentence) for mention in named)
    measured = [axes for sentence in told for axes in _measures(sentence, language)]
    return Nodule(
        modality=patient.modality,
        axes=measured[0] if len(measured) == 1 else None,
        kind=_kind(told, language),
        several=_several(named, language),
        high_risk=patient.high_risk,
        age=patient.age,
        cancer=patient.cancer,
        immunosuppression=patient.immunosuppression,
        screening=patient.screening,
        benign=any(_says(_phrases("benign", language), s, language) for s in told),
    )


def _measures(sentence: str, language: str) -> list[tuple[float, ...] | None]:
    """The lengths of a folded sentence: one number, or long and short axis; None for a range."""
    found: list[tuple[float, ...] | None] = []
    for m in lexicon(language).units.finditer(sentence):
        factor = _LENGTHS.get(m.lastgroup or "")
        if not factor:
            continue
        parts = [float(p.replace(",", ".")) for p in (m["value"], m["second"]) if p]
        between = sentence[m.end("value") : m.start("second")] if m["second"] else ""
        axes = not between or _phrases("times", language).fullmatch(between.strip())
        found.append(tuple(round(factor * part, 2) for part in parts) if axes else None)
    return found


def _kind(sentences: Mapping[str, None], language: str) -> Kind | None:
    """Solid, ground glass or part solid, if the sentences agree; a part is no whole."""
    kinds = {
        Kind(m.lastgroup or "")
        for sentence in sentences
        for m in _kinds(language).finditer(sentence)
        if assertion(sentence, *m.span(), language) is Assertion.PRESENT
    }
    if Kind.PART_SOLID in kinds:
        kinds -= {Kind.SOLID}
    return kinds.pop() if len(kinds) == 1 else None


def _several(named: list[Mention], language: str) -> bool | None:
    """Whether there is more than one; None where two sentences may speak of the same."""
    counts = frozenset[str]().union(*(mention.degrees & COUNT for mention in named))
    plural = any(_phrases("plural", language).search(fold(m.sentence)) for m in named)
    if plural or "multiple" in counts:
        return True
    return False if len(named) == 1 or counts == {"single"} else None


def _says(pattern: re.Pattern[str], sentence: str, language: str) -> bool:
    return any(
        assertion(sentence, *m.span(), language) in ASSERTED for m in pattern.finditer(sentence)
    )


@cache
def _phrases(name: str, language: str) -> re.Pattern[str]:
    return compiled(table("fleischner")[name][language])


@cache
def _kinds(language: str) -> re.Pattern[str]:
    kinds: Mapping[str, Any] = table("fleischner")["kinds"]
    return compiled(f"(?P<{name}>{'|'.join(each[language])})" for name, each in kinds.items())
