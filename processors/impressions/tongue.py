"""Which of the two languages a findings section speaks, where nobody says so or says it wrongly.

In: a text and the language it is expected in. Out: en or es: the expected one, unless only the
phrase lists of the other one know a finding in it, or at least twice as much of it. A text that is
read in the wrong language is not understood at all: its tension pneumothorax is no finding.
Never: a third language.
"""

from __future__ import annotations

from dataclasses import dataclass

from processors.impressions.lexicon import LANGUAGES, lexicon
from processors.impressions.text import fold

_LEAST = 3  # words of the other language that count, where both know a finding or none does


def spoken(text: str, expected: str) -> str:
    """The language of a text. Raises ValueError for an expected one without phrase list."""
    folded = fold(text)
    ours, theirs = (_known(folded, each) for each in (expected, _other(expected)))
    named = theirs.findings and not ours.findings
    clear = theirs.words >= _LEAST and theirs.words >= 2 * ours.words
    return _other(expected) if named or clear else expected


@dataclass(frozen=True, slots=True)
class _Known:
    """How many findings of a language are named; words: with its sides, degrees, idle words."""

    findings: int
    words: int


def _known(folded: str, language: str) -> _Known:
    lists = lexicon(language)
    findings = len(lists.concepts.findall(folded))
    others = (lists.sides, lists.degrees, lists.idle)
    return _Known(findings, findings + sum(len(each.findall(folded)) for each in others))


def _other(language: str) -> str:
    return next(each for each in LANGUAGES if each != language)
