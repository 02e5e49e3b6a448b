"""A findings section as statements, and what can be counted of them without learning a word.

In: a Request. Out: a Case: its statements (each sentence as written, shortened, in our own words)
and numbers: of each statement (`TRAITS`) and of the whole (`SCENE`). The numbers count concepts of
the phrase lists, states, degrees, urgency, classes of words, places: no word of a report is kept.
Never: a judgement of what belongs in an impression; that is learnt (`scoring`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.criticality import Category, category, ranked, urgency
from processors.impressions.drafting import Request
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import concepts
from processors.impressions.phrasing import cleaned, counts, phrasing, said, shortened
from processors.impressions.text import sentences

Numbers = NDArray[np.float32]

ROUTINE = Category.DAYS + 1
_STATES = {Assertion.PRESENT: 1.0, Assertion.UNCERTAIN: 0.5, Assertion.ABSENT: -1.0}
_DEGREES = ("mild", "moderate", "severe", "single", "multiple")
# concepts that say only that nothing else is said
_EMPTY = ("acute_disease", "clear_lungs", "clear_angle", "intact_bones")
_CONCEPTS = tuple(name for name, concept in concepts().items() if concept.counted)
_FLAGS = tuple(phrasing("en").flags)
_ASKED = tuple(phrasing("en").asked)

TRAITS = (
    *(f"concept {name}" for name in _CONCEPTS),
    *(f"words {name}" for name in _FLAGS),
    *(f"degree {name}" for name in _DEGREES),
    *("asserted", "doubted", "denied", "critical", "old", "sided", "sized", "urgency"),
    *("length", "place", "place of all", "ahead asserted", "behind asserted"),
)
SCENE = (
    *(f"all {name}" for name in _CONCEPTS),
    *(f"asked {name}" for name in _ASKED),
    *(f"all words {name}" for name in _FLAGS),
    *("statements", "asserting", "critical statements", "all length", "asked length"),
    *("most urgent", "empty"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the findings: text (without masks), short and own forms; own may be "".
    asserts: names a thing, certain or doubted. urgency: 1..3, 4 for none."""

    text: str
    short: str
    own: str
    mentions: tuple[Mention, ...]
    asserts: bool
    urgency: int


@dataclass(frozen=True, slots=True)
class Case:
    """A request as statements. traits: (statements, len(TRAITS)); scene: (len(SCENE),)."""

    request: Request
    statements: tuple[Statement, ...]
    traits: Numbers
    scene: Numbers

    @property
    def critical(self) -> tuple[Mention, ...]:
        """What a draft may not leave out, as the grounding sees it."""
        own = tuple(m for s in self.statements for m in s.mentions if is_critical(m))
        return (*own, *(m for m in self.request.known if is_critical(m)))


def is_critical(mention: Mention) -> bool:
    """Whether a draft may not leave a mention out."""
    return concepts()[mention.concept].critical and mention.state in ASSERTED and not mention.old


def names(mention: Mention) -> bool:
    """Whether a mention asserts a thing, not only that nothing else is there."""
    return mention.state in ASSERTED and mention.concept not in _EMPTY


def fourteen(mentions: Iterable[Mention]) -> frozenset[str]:
    """The findings out of the fourteen that mentions assert."""
    return frozenset(m.finding for m in mentions if m.finding and names(m))


@lru_cache(maxsize=8)
def case(request: Request) -> Case:
    """The statements of a request and their numbers. Raises ValueError for an unknown language."""
    language = request.language
    found = []
    for span in sentences(request.findings):
        text = "" if span.text.rstrip().endswith(":") else cleaned(span.text)  # a heading alone
        if text:
            found.append(_statement(text, language))
    traits = [_traits(s, language) for s in found]
    asserting = [s.asserts for s in found]
    for i, row in enumerate(traits):
        place = i / max(1, len(found) - 1)
        row += [place, float(i), float(sum(asserting[:i])), float(sum(asserting[i + 1 :]))]
    table = np.asarray(traits, np.float32).reshape(len(found), len(TRAITS))
    return Case(request, tuple(found), table, _scene(request, found, table))


def _statement(text: str, language: str) -> Statement:
    mentions = read(text, language)
    urgent = ranked(mentions, language)
    own = [_own(m, language) for m in mentions if names(m)]
    return Statement(
        text,
        shortened(text, language),
        " ".join(dict.fromkeys(filter(None, own))),
        mentions,
        any(names(m) for m in mentions),
        urgent[0].category if urgent else ROUTINE,
    )


def _own(mention: Mention, language: str) -> str:
    """Our own words for a mention, unless they would be heard as more or less urgent: they say
    neither "unchanged" nor "with shift"."""
    own, found = said(mention, language), urgency(mention, language)
    return own if category(own, language) == (found.category if found else 0) else ""


def states(mentions: Sequence[Mention]) -> list[float]:
    """By concept: 1 present, 0.5 doubted, -1 denied, 0 not named; the strongest of each."""
    found = dict.fromkeys(_CONCEPTS, 0.0)
    for mention in mentions:
        value = _STATES[mention.state]
        known = found.get(mention.concept)
        if known is not None:
            found[mention.concept] = value if known == 0.0 else max(known, value)
    return list(found.values())


def _traits(statement: Statement, language: str) -> list[float]:
    mentions = statement.mentions
    degrees = frozenset[str]().union(*(m.degrees for m in mentions))
    return [
        *states(mentions),
        *counts(statement.text, phrasing(language).flags),
        *(float(name in degrees) for name in _DEGREES),
        float(sum(names(m) for m in mentions)),
        float(sum(m.state is Assertion.UNCERTAIN for m in mentions)),
        float(sum(m.state is Assertion.ABSENT for m in mentions)),
        float(any(is_critical(m) for m in mentions)),
        float(any(m.old for m in mentions)),
        float(len(frozenset[str]().union(*(m.sides for m in mentions)))),
        max((m.sizes[0] for m in mentions if m.sizes), default=0.0),
        float(statement.urgency),
        float(len(statement.text.split())),
    ]


def _scene(request: Request, found: Sequence[Statement], table: Numbers) -> Numbers:
    words = phrasing(request.language)
    mentions = [m for s in found for m in s.mentions]
    flags = table[:, len(_CONCEPTS) : len(_CONCEPTS) + len(_FLAGS)].sum(0)
    row = [
        *states(mentions),
        *counts(request.indication, words.asked),
        *flags.tolist(),
        float(len(found)),
        float(sum(s.asserts for s in found)),
        float(sum(any(is_critical(m) for m in s.mentions) for s in found)),
        float(sum(len(s.text.split()) for s in found)),
        float(len(request.indication.split())),
        float(min((s.urgency for s in found), default=ROUTINE)),
        float(not any(s.asserts for s in found)),
    ]
    return np.asarray(row, np.float32)
