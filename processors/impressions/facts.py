"""What a findings section allows a draft to say, read once for all sentences of the draft.

In: a findings section (text), coded findings beside it, the language. Out: Facts. Never: a
judgement; that is for `grounding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processors.impressions import numbers
from processors.impressions.assertion import ASSERTED
from processors.impressions.criticality import Category, Urgency, is_new, ranked
from processors.impressions.labeller import Mention, named_sides, read, sides_in
from processors.impressions.lexicon import Concept, Lexicon, concepts, lexicon
from processors.impressions.omissions import Alternatives, alternatives
from processors.impressions.text import fold, sentences
from processors.impressions.wording import Wording, wording

_BONES = ("bone_lesion", "dislocation")
# beside which no all-clear of heart and lungs stands, be they known and stable
_NEVER_WELL = (
    *("pneumothorax", "hydropneumothorax", "subcutaneous_emphysema", "pneumomediastinum"),
    *("congestion", "enlarged_mediastinum"),
    *("mass", "malignancy", "metastasis", "cavity"),
    *("consolidation", "pneumonia", "infection", "infiltrate", "airspace_disease"),
    *("edema", "heart_failure", "lobar_collapse"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be said: mentions, and the words of the whole findings section."""

    words: Lexicon
    mentions: tuple[Mention, ...]
    urgent: bool  # no all-clear stands beside it: urgent, new, left open, unnamed or never well
    sides: frozenset[str]
    named: frozenset[str]  # sides called by name, not by "bilateral"
    numbers: frozenset[numbers.Number]
    wording: Wording
    offered: Alternatives

    def of(self, mention: Mention) -> list[Mention]:
        """The mentions that may support a mention of a draft, those of its very name first."""
        concept = concepts()[mention.concept]
        near = [m for m in self.mentions if _supports(concepts()[m.concept], concept)]
        return sorted(near, key=lambda m: m.concept != concept.name)


def facts_of(findings: str, language: str, known: Sequence[Mention] = ()) -> Facts:
    """What a findings section and coded findings (`coded`) allow to be said.

    Raises ValueError for a language without phrase list.
    """
    words, folded = lexicon(language), fold(findings)
    mentions = (*read(findings, language), *known)
    return Facts(
        words,
        mentions,
        any(_is_urgent(urgency, language) for urgency in ranked(mentions, language))
        or any(m.concept in _NEVER_WELL and m.state in ASSERTED and not m.old for m in mentions)
        or any(_leaves_open(span.text, language) for span in sentences(findings)),
        sides_in(folded, words),
        named_sides(folded, words),
        numbers.read(folded, words),
        wording(findings, language),
        alternatives(findings, language),
    )


def _leaves_open(sentence: str, language: str) -> bool:
    """Whether more is said than is named ("the right lung is not"), or something, named or not,
    could not be excluded."""
    words, folded = lexicon(language), fold(sentence)
    unnamed = words.unnamed.search(folded.rstrip(" ."))
    return bool(unnamed or words.in_doubt.search(folded))


def _is_urgent(found: Urgency, language: str) -> bool:
    """Whether an all-clear of heart and lungs cannot stand beside it, certain or suspected; bones
    are told apart. What is actionable and new is as little compatible with one as what is urgent.
    """
    bony = found.mention.finding == "fracture" or found.mention.concept in _BONES
    soon = found.rule.category <= Category.HOURS or is_new(found.mention, language)
    return soon and not bony


def _supports(fact: Concept, concept: Concept) -> bool:
    """Whether a concept of the findings may stand behind one of a draft."""
    if concept.specific or fact.name == concept.name:
        return fact.name == concept.name
    return bool(concept.finding and concept.finding == fact.finding) or bool(
        concept.kin and concept.kin == fact.kin
    )
