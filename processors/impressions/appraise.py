"""How often the grounding notices a planted error, cries for nothing, and what mending costs.

In: pairs: findings, the true impression, the corrupted one, the kind of error, whether the findings
can show it (`checkable`). Out: figures by kind, each beside its floor; how near a mended draft is
to the true impression. Never: a text kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from processors.analysis import ProcessorError, Sentence
from processors.impressions.assertion import ASSERTED
from processors.impressions.drafting import Request
from processors.impressions.faults import Fault
from processors.impressions.grounding import check
from processors.impressions.labeller import read, summary
from processors.impressions.lexicon import concepts
from processors.impressions.mending import mend
from processors.impressions.omissions import left_out

FLOOR = 0.95
CEILING = 0.05
UNCHANGED = "none"
ALL = "none, all"
WHOLE = "none, whole"
HELD = "dropped, held"
OWN = "dropped, own"
_BORROWED = "impression+finding"
Score = Callable[[str, str], float]  # of a reference and a draft, the higher the more alike


class UnusablePairs(ProcessorError):
    """A row of the pairs lacks what it must hold."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind: rows judged, the share with an alarm, and the share whose alarm is news.

    news: an alarm that the true impression does not raise; of "none" rows, an alarm for more than
    a critical finding that they leave out. limit: None where none is set.
    """

    kind: str
    rows: int
    alarms: float
    news: float
    limit: float | None

    @property
    def passed(self) -> bool:
        if self.limit is None:
            return True
        low = self.kind != UNCHANGED
        return self.alarms >= self.limit if low else self.alarms <= self.limit


@dataclass(frozen=True, slots=True)
class Price:
    """One kind: the mean likeness to the true impression of its drafts, and of these mended."""

    kind: str
    rows: int
    drafted: float
    mended: float


class _Pair(NamedTuple):
    kind: str
    findings: str
    original: str
    corrupted: str
    checkable: bool
    borrowed: bool


def guard(pairs: Iterable[Mapping[str, Any]], language: str = "en") -> tuple[Figure, ...]:
    """Judge every pair; "none" rows count when the findings support all that they assert.

    Whether they do is asked of the labeller: its findings asserted in the impression are among
    those asserted in the findings section. Beside them, without limit, stand all "none" rows, and
    those that are also whole: no critical finding left out, which is what "dropped" rows are
    alarmed for. Of "dropped" rows stand apart those of which the findings assert what was left out,
    by its name, and those whose draft is the radiologist's own impression, since what was taken out
    had been put in first (`base`): for such a text one limit asks for an alarm, the other for
    silence. Raises UnusablePairs.
    """
    rows, alarms, news = Counter[str](), Counter[str](), Counter[str]()
    for pair in _read(pairs):
        found = check(pair.corrupted, pair.findings, language).faults
        kinds = _groups(pair, language)
        if pair.kind == UNCHANGED:
            new = any(fault.kind is not Fault.DROPPED for fault in found)
        else:
            before = check(pair.original, pair.findings, language).faults if found else ()
            new = bool(set(found) - set(before))
        for kind in kinds:
            rows[kind] += 1
            alarms[kind] += bool(found)
            news[kind] += new
    limits = {UNCHANGED: CEILING, ALL: None, WHOLE: None, HELD: None, OWN: None}
    return tuple(
        Figure(
            kind,
            rows[kind],
            alarms[kind] / rows[kind],
            news[kind] / rows[kind],
            limits.get(kind, FLOOR),
        )
        for kind in rows
    )


def price(
    pairs: Iterable[Mapping[str, Any]], score: Score, language: str = "en"
) -> tuple[Price, ...]:
    """What mending gives and takes: of "none" rows, what it takes from a true impression.

    Raises UnusablePairs.
    """
    scores: dict[str, list[tuple[float, float]]] = {}
    for pair in _read(pairs):
        told = mend([Sentence(pair.corrupted, ())], Request(pair.findings, language))
        after = " ".join(sentence.text for sentence in told.sentences)
        both = score(pair.original, pair.corrupted), score(pair.original, after)
        scores.setdefault(pair.kind, []).append(both)
    return tuple(
        Price(kind, len(found), _mean([a for a, _ in found]), _mean([b for _, b in found]))
        for kind, found in scores.items()
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _read(pairs: Iterable[Mapping[str, Any]]) -> Iterator[_Pair]:
    for number, pair in enumerate(pairs, 1):
        try:
            yield _Pair(
                str(pair["kind"]),
                str(pair["findings"]),
                str(pair["original"]),
                str(pair["corrupted"]),
                bool(pair["checkable"]),
                pair.get("base") == _BORROWED,
            )
        except KeyError as error:
            raise UnusablePairs(
                f"Row {number} of the pairs has no {error}.",
                then="It needs kind, findings, original, corrupted and checkable.",
            ) from error


def _groups(pair: _Pair, language: str) -> tuple[str, ...]:
    """The kinds under which a row is counted."""
    if pair.kind != UNCHANGED and not pair.checkable:
        return ()
    if pair.kind == Fault.DROPPED:
        held = (HELD,) if _is_held(pair, language) else ()
        return (pair.kind, *held, *((OWN,) if _is_own(pair) else ()))
    if pair.kind != UNCHANGED:
        return (pair.kind,)
    if not _asserted(pair.original, language) <= _asserted(pair.findings, language):
        return (ALL,)
    whole = not left_out(read(pair.findings, language), read(pair.original, language), language)
    return (UNCHANGED, ALL, WHOLE) if whole else (UNCHANGED, ALL)


def _is_own(pair: _Pair) -> bool:
    """Whether what was left out is the very sentence that had been put in behind the impression."""
    return pair.borrowed and _letters(pair.original).startswith(_letters(pair.corrupted))


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _is_held(pair: _Pair, language: str) -> bool:
    """Whether the findings assert a critical concept that the corrupted impression has lost."""
    texts = (pair.original, pair.corrupted, pair.findings)
    told, left, found = (
        {m.concept for m in read(text, language) if m.state in ASSERTED} for text in texts
    )
    return any(concepts()[name].critical for name in (told - left) & found)


def _asserted(text: str, language: str) -> set[str]:
    states = summary(read(text, language))
    return {finding for finding, state in states.items() if state in ASSERTED}
