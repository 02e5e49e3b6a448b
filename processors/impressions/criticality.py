"""How soon somebody who can act must know of a finding, and in which order a draft tells.

In: mentions of findings, the context that the caller knows (trauma). Out: an Urgency for each that
is actionable: category, rule, source; a draft in that order (`impression_of`). The categories are
those of the ACR's Actionable Reporting Work Group (Larson et al., J Am Coll Radiol
2014;11:552-558); the rules stand in `phrases/urgency.toml`, for a site's radiologists to confirm.
Never: an alert for what is denied, or known and unchanged, below category 1; a message to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

from processors.analysis import CRITICALITY, Impression, Sentence
from processors.impressions.assertion import ASSERTED, Assertion, assertion
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import compiled, table
from processors.impressions.text import fold


class Category(IntEnum):
    """By the time within which somebody must know."""

    MINUTES = 1
    HOURS = 2
    DAYS = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """Which mentions belong to a category; an empty condition holds for all."""

    name: str
    category: Category
    source: str
    concepts: frozenset[str]
    words: re.Pattern[str] | None
    degree: str
    context: str
    keeps: bool


@dataclass(frozen=True, slots=True)
class Urgency:
    """A mention's category and the rule that says so; hedged ones may stand one lower."""

    category: Category
    rule: Rule
    mention: Mention


@cache
def rules() -> tuple[Rule, ...]:
    """The rules in the order in which they are asked."""
    data = table("urgency")
    return tuple(
        Rule(
            each["name"],
            Category(each["category"]),
            data["categories"][str(each["category"])],
            frozenset(each["concepts"]),
            compiled(each["words"]) if "words" in each else None,
            each.get("degree", ""),
            each.get("context", ""),
            each.get("keeps", False),
        )
        for each in data["rules"]
    )


@cache
def _words(what: str, language: str) -> re.Pattern[str]:
    return compiled(table("urgency")[what][language])


def urgency(mention: Mention, language: str, context: Collection[str] = ()) -> Urgency | None:
    """The first rule that fits a mention; None when it needs no message.

    context: "trauma" where the patient was injured.
    """
    if mention.state not in ASSERTED:
        return None
    folded = fold(mention.sentence)
    rule = next((r for r in rules() if _fits(r, mention, folded, language, context)), None)
    if rule is None:
        return None
    if rule.category is Category.MINUTES:
        return Urgency(rule.category, rule, mention)
    known = _said(_words("known", language), folded, language)
    if mention.old or (known and not is_new(mention, language)):
        return None
    lower = mention.state is Assertion.UNCERTAIN and not rule.keeps
    return Urgency(Category(min(Category.DAYS, rule.category + lower)), rule, mention)


def is_new(mention: Mention, language: str) -> bool:
    """Whether its sentence says that it came, came back or grew."""
    return _said(_words("changed", language), fold(mention.sentence), language)


def _fits(
    rule: Rule, mention: Mention, folded: str, language: str, context: Collection[str]
) -> bool:
    return (
        mention.concept in rule.concepts
        and (not rule.context or rule.context in context)
        and (not rule.degree or rule.degree in mention.degrees)
        and (rule.words is None or _said(rule.words, folded, language))
    )


def _said(words: re.Pattern[str], folded: str, language: str) -> bool:
    """Whether a sentence says one of the words without denying it."""
    return any(
        assertion(folded, *m.span(), language) is not Assertion.ABSENT
        for m in words.finditer(folded)
    )


def ranked(
    mentions: Iterable[Mention], language: str, context: Collection[str] = ()
) -> tuple[Urgency, ...]:
    """What is actionable, most urgent first; certain before hedged, then as the rules stand."""
    found = [u for m in mentions if (u := urgency(m, language, context))]
    return tuple(
        sorted(
            found,
            key=lambda u: (
                u.category,
                u.mention.state is Assertion.UNCERTAIN,
                rules().index(u.rule),
            ),
        )
    )


def in_order(
    sentences: Sequence[str], language: str, context: Collection[str] = ()
) -> tuple[str, ...]:
    """Sentences of a draft, the most urgent first; those of one category keep their order."""
    return tuple(sorted(sentences, key=lambda text: _place(category(text, language, context))))


def category(text: str, language: str, context: Collection[str] = ()) -> int:
    """The most urgent category that a text holds; 0 for none."""
    found = ranked(read(text, language), language, context)
    return int(found[0].category) if found else 0


def word(categories: Iterable[int]) -> str:
    """What a draft with sentences of these categories is called: one of `CRITICALITY`."""
    return CRITICALITY[min(categories, key=_place, default=0)]


def impression_of(
    sentences: Iterable[Sentence], language: str, context: Collection[str] = ()
) -> Impression:
    """A draft of sentences: each with the category of what it says, the most urgent first."""
    marked = [replace(s, category=category(s.text, language, context)) for s in sentences]
    marked.sort(key=lambda sentence: _place(sentence.category))
    return Impression(language, tuple(marked), word(s.category for s in marked))


def _place(category: int) -> int:
    """Its place in the order of urgency, in which none comes last."""
    return category or Category.DAYS + 1
