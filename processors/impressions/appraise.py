"""How often the grounding notices a planted error, and how often it cries for nothing.

In: pairs: findings, the true impression, the corrupted one, the kind of error, whether the findings
can show it (`checkable`). Out: figures by kind, each beside its floor. Never: a text kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processors.analysis import ProcessorError
from processors.impressions.assertion import ASSERTED
from processors.impressions.grounding import check
from processors.impressions.labeller import read, summary

FLOOR = 0.95
CEILING = 0.05
UNCHANGED = "none"


class UnusablePairs(ProcessorError):
    """A row of the pairs lacks what it must hold."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind: rows judged, the share with an alarm, and the share whose alarm is news.

    news: an alarm that the true impression does not raise.
    """

    kind: str
    rows: int
    alarms: float
    news: float
    limit: float

    @property
    def passed(self) -> bool:
        low = self.kind != UNCHANGED
        return self.alarms >= self.limit if low else self.alarms <= self.limit


def guard(pairs: Iterable[Mapping[str, Any]], language: str = "en") -> tuple[Figure, ...]:
    """Judge every pair; "none" rows count when the findings support all that they assert.

    Whether they do is asked of the labeller: its findings asserted in the impression are among
    those asserted in the findings section. Raises UnusablePairs.
    """
    rows, alarms, news = Counter[str](), Counter[str](), Counter[str]()
    for number, pair in enumerate(pairs, 1):
        try:
            kind, findings = str(pair["kind"]), str(pair["findings"])
            original, corrupted = str(pair["original"]), str(pair["corrupted"])
            counts = bool(pair["checkable"])
        except KeyError as error:
            raise UnusablePairs(
                f"Row {number} of the pairs has no {error}.",
                then="It needs kind, findings, original, corrupted and checkable.",
            ) from error
        if kind == UNCHANGED:
            counts = _asserted(original, language) <= _asserted(findings, language)
        if not counts:
            continue
        found = check(corrupted, findings, language).faults
        before = check(original, findings, language).faults if found else ()
        rows[kind] += 1
        alarms[kind] += bool(found)
        news[kind] += bool(set(found) - set(before))
    return tuple(
        Figure(
            kind,
            rows[kind],
            alarms[kind] / rows[kind],
            news[kind] / rows[kind],
            CEILING if kind == UNCHANGED else FLOOR,
        )
        for kind in rows
    )


def _asserted(text: str, language: str) -> set[str]:
    states = summary(read(text, language))
    return {finding for finding, state in states.items() if state in ASSERTED}
