"""Impressions composed of the findings' own sentences and of our own words.

In: a request, and how likely each of its statements belongs in an impression. Out: candidates:
the likeliest statements alone and together, all that assert something, the critical ones; as
written, shortened, or by rule; alone or with a sentence that says that nothing else is acute.
Never: the words of another report; "nothing acute" beside what is urgent, new, left open or not
understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from processors.impressions.criticality import Category, ranked
from processors.impressions.drafting import Candidate, Request
from processors.impressions.facts import facts_of
from processors.impressions.phrasing import phrasing
from processors.impressions.statements import Case, Numbers, Statement, case, is_critical
from processors.impressions.unread import unread

_SINGLE = 5  # likeliest statements that stand alone
_TOGETHER = (2, 3, 4)
_MOST = 6  # statements of one candidate


class Scorer(Protocol):
    """Knows which statements belong in an impression, and how to say that nothing else is acute."""

    def scores(self, case: Case) -> Numbers:
        """How likely each statement is taken up: (statements,), 0..1."""

    def calm(self, case: Case) -> tuple[str, ...]:
        """Sentences that say that nothing else is acute; none beside what is urgent."""


class Extracts:
    """The findings' own sentences, whole, shortened, or put into our own words."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        found = case(request)
        if not found.statements:
            return ()
        texts: dict[str, None] = {}
        calm = self._scorer.calm(found)
        for chosen in _choices(found, self._scorer.scores(found)):
            for form in ("short", "own", "text"):
                said = _joined(found.statements, chosen, form)
                texts[said] = None
                if form != "text":
                    texts |= {f"{said} {n}": None for n in calm} | {
                        f"{n} {said}": None for n in calm
                    }
        return tuple(Candidate(text, "rule") for text in texts)


class Normals:
    """Our own sentences for a report without anything to tell."""

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        return tuple(Candidate(text, "rule") for text in normals(case(request)))


def normals(found: Case) -> tuple[str, ...]:
    """Sentences that say that nothing (else) is acute: none beside what is urgent, new or left
    open, none for findings with a sentence in which no phrase list knows a word."""
    asked = found.request
    words = phrasing(asked.language)
    understood = any(s.mentions for s in found.statements)
    if not understood or unread(asked.findings, asked.language):
        return ()
    facts = facts_of(asked.findings, asked.language, asked.known)
    soon = any(u.rule.category <= Category.HOURS for u in ranked(facts.mentions, asked.language))
    if soon or facts.urgent:
        return ()
    quiet = not any(s.asserts for s in found.statements)
    return (*words.normals, *(words.unremarkable if quiet else ()))


def _choices(found: Case, scores: Numbers) -> Iterator[tuple[int, ...]]:
    """Which statements stand together, each choice in the order of the report."""
    order = [int(i) for i in (-scores).argsort(kind="stable")]
    yield from ((i,) for i in order[:_SINGLE])
    yield from (tuple(sorted(order[:n])) for n in _TOGETHER if n <= len(order))
    telling = [i for i in order if found.statements[i].asserts]
    urgent = [i for i in telling if any(map(is_critical, found.statements[i].mentions))]
    yield from (tuple(sorted(telling[:n])) for n in (*_TOGETHER, _MOST) if telling[:n])
    if urgent:
        yield tuple(sorted(urgent[:_MOST]))
        yield tuple(sorted({*urgent[:_MOST], *telling[:1]}))
        yield tuple(sorted({*urgent[:_MOST], *telling[:2]}))


def _joined(statements: Sequence[Statement], chosen: Sequence[int], form: str) -> str:
    said = (getattr(statements[i], form) or statements[i].short for i in chosen)
    return " ".join(dict.fromkeys(said))
