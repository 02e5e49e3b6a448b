"""How soon somebody who can act must know of a finding, and in which order a draft tells.

In: mentions of findings, the context that the caller knows (trauma). Out: an Urgency for each that
is actionable: category, rule, source. The categories are those of the ACR's Actionable Reporting
Work Group (Larson et al., J Am Coll Radiol 2014;11:552-558); the rules stand in
`phrases/urgency.toml`, for the radiologists of a site to confirm.
Never: an alert for what is denied, or known and unchanged, below category 1; a message to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

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
def _known(language: str) -> re.Pattern[str]:
    return compiled(table("urgency")["known"][language])


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
    if mention.old or _said(_known(language), folded, language):
        return None
    lower = mention.state is Assertion.UNCERTAIN and not rule.keeps
    return Urgency(Category(min(Category.DAYS, rule.category + lower)), rule, mention)


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

    def category(sentence: str) -> int:
        found = ranked(read(sentence, language), language, context)
        return found[0].category if found else Category.DAYS + 1

    return tuple(sorted(sentences, key=category))
