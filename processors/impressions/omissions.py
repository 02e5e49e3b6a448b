"""What a draft keeps silent about: critical findings, and the other half of "this or that".

In: mentions of the findings and of the draft. Out: the sentences whose critical finding a draft
names in no way; whether a draft tells one of two alternatives alone. Never: a word on what the
draft does say; that is for `grounding` and `wording`. Old and healed findings count: that nobody
need act on them is for `criticality`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import concepts, lexicon
from processors.impressions.text import fold, sentences

# by concept: for each time that the findings suspect it, the concepts it is set against
Alternatives = Mapping[str, Sequence[frozenset[str]]]
_VERTEBRAL = "compression_fracture"


def left_out(known: Sequence[Mention], said: Sequence[Mention], language: str) -> list[Mention]:
    """The critical findings that a draft does not assert, the first of each sentence.

    One that the draft denies counts as left out; that it denies it is a fault of its own.
    """
    left = {
        fact.sentence: fact
        for fact in reversed(known)
        if concepts()[fact.concept].critical
        and fact.state in ASSERTED
        and not any(_names(mention, fact, language) for mention in said)
    }
    return list(reversed(left.values()))


def _names(mention: Mention, fact: Mention, language: str) -> bool:
    """Whether a draft's mention tells a critical finding: by its own name or another critical one
    of its kind, on a side that both have; an old one by any name of its kind that is certain of it
    ("granuloma"; not "wedging"). A sign does not tell what it is suspected to be."""
    ours, theirs = concepts()[mention.concept], concepts()[fact.concept]
    if mention.state not in ASSERTED:
        return False
    if mention.sides and fact.sides and not mention.sides & fact.sides:
        return False
    if ours.name == theirs.name:
        return True
    if _VERTEBRAL in (ours.name, theirs.name) and _is_of_rib(mention, fact, language):
        return False
    if fact.old and not ours.hedged and theirs.finding and ours.finding == theirs.finding:
        return True
    if not ours.critical or (theirs.inferred and not ours.inferred):
        return False
    return bool({ours.finding, ours.kin} & {theirs.finding, theirs.kin} - {""})


def _is_of_rib(mention: Mention, fact: Mention, language: str) -> bool:
    """Whether one of two fractures is of a rib or a limb: the other, of a vertebra, is another."""
    other = fact if mention.concept == _VERTEBRAL else mention
    return lexicon(language).ribs.search(fold(other.sentence)) is not None


def alternatives(findings: str, language: str) -> Alternatives:
    """What a findings section suspects as "X or Y", "X versus Y"."""
    words = lexicon(language)
    found: dict[str, list[frozenset[str]]] = defaultdict(list)
    for span in sentences(findings):
        folded = fold(span.text)
        doubted = [m for m in read(span.text, language) if m.state is Assertion.UNCERTAIN]
        for one in doubted:
            found[one.concept].append(
                frozenset(
                    other.concept
                    for other in doubted
                    if words.either.search(
                        folded, min(one.end, other.end), max(one.start, other.start)
                    )
                )
            )
    return found


def is_narrowed(
    mention: Mention, known: Sequence[Mention], offered: Alternatives, named: Collection[str]
) -> bool:
    """Whether a draft tells what the findings only offer beside another, without that other.

    named: the concepts of the whole draft.
    """
    sets = offered.get(mention.concept, ())
    sure = any(m.concept == mention.concept and m.state is Assertion.PRESENT for m in known)
    asserted = mention.state in ASSERTED
    return asserted and bool(sets) and not sure and all(each.difference(named) for each in sets)
