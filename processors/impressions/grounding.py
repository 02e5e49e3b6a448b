"""Whether each sentence of a draft says what the findings say, and nothing else.

In: a draft and the findings section (text), coded findings beside it, the language. Out: a verdict
on each sentence (what it rests on, or its faults, typed, with a reason for the radiologist) and the
critical findings that the whole draft leaves out. Never: a changed draft; what to do with a fault
is for the caller. Silence is no contradiction: a draft may deny what the findings do not name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from processors.analysis import Finding, State
from processors.impressions import numbers
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.faults import Fault, Objection, objection
from processors.impressions.labeller import COUNT, SCALE, Mention, read, sides_in
from processors.impressions.lexicon import Concept, Lexicon, concepts, lexicon
from processors.impressions.text import fold, sentences
from processors.impressions.wording import Wording, against, wording

STATES = {
    State.PRESENT: Assertion.PRESENT,
    State.UNDETERMINED: Assertion.UNCERTAIN,
    State.ABSENT: Assertion.ABSENT,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence of a draft; rests_on: the mentions of the findings that support it."""

    sentence: str
    rests_on: tuple[Mention, ...]
    objections: tuple[Objection, ...]

    @property
    def supported(self) -> bool:
        return not self.objections


@dataclass(frozen=True, slots=True)
class Grounding:
    """The verdict on a draft, sentence by sentence, and what it leaves out."""

    sentences: tuple[Verdict, ...]
    dropped: tuple[Objection, ...]

    @property
    def faults(self) -> tuple[Objection, ...]:
        return (*(o for verdict in self.sentences for o in verdict.objections), *self.dropped)


def _supports(fact: Concept, concept: Concept) -> bool:
    """Whether a concept of the findings may stand behind one of a draft."""
    if concept.specific or fact.name == concept.name:
        return fact.name == concept.name
    return bool(concept.finding and concept.finding == fact.finding) or bool(
        concept.kin and concept.kin == fact.kin
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What may be said: mentions, and the words of the whole findings section."""

    mentions: tuple[Mention, ...]
    sides: frozenset[str]
    numbers: frozenset[numbers.Number]
    wording: Wording

    def of(self, mention: Mention) -> list[Mention]:
        """The mentions that may support a mention of a draft, those of its very name first."""
        concept = concepts()[mention.concept]
        near = [m for m in self.mentions if _supports(concepts()[m.concept], concept)]
        return sorted(near, key=lambda m: m.concept != concept.name)


def coded(findings: Iterable[Finding], names: Callable[[str], str] = str) -> tuple[Mention, ...]:
    """Coded findings as mentions; names: from a label to a concept. Unknown ones are left out."""
    return tuple(
        Mention(name, concepts()[name].finding, STATES[finding.state], finding.label, 0, 0)
        for finding in findings
        if (name := names(finding.label)) in concepts()
    )


def check(draft: str, findings: str, language: str, known: Sequence[Mention] = ()) -> Grounding:
    """Judge a draft against a findings section and coded findings (`coded`).

    Raises ValueError for a language without phrase list.
    """
    words = lexicon(language)
    folded = fold(findings)
    facts = _Facts(
        (*read(findings, language), *known),
        sides_in(folded, words),
        numbers.read(folded, words),
        wording(findings, language),
    )
    verdicts = tuple(_verdict(span.text, facts, words) for span in sentences(draft))
    left = _dropped(facts.mentions, read(draft, language))
    return Grounding(verdicts, tuple(objection(Fault.DROPPED, what, language) for what in left))


def _verdict(sentence: str, facts: _Facts, words: Lexicon) -> Verdict:
    mentions = read(sentence, words.language)
    faults: dict[tuple[Fault, str], None] = {}
    support: dict[Mention, None] = {}
    for mention in mentions:
        near = facts.of(mention)
        for kind in _against(mention, near, facts, words):
            faults[kind, sentence[mention.start : mention.end]] = None
        held = _held(mention, near)
        support.update(dict.fromkeys(held))
    folded = fold(sentence)
    faults |= dict.fromkeys(against(sentence, mentions, facts.wording, words.language))
    for number in sorted(numbers.strange(numbers.read(folded, words), facts.numbers)):
        faults[Fault.NUMBER, number.text] = None
    if facts.sides and not any(kind is Fault.SIDE for kind, _ in faults):
        for side in sorted(sides_in(folded, words) - facts.sides):
            faults[Fault.SIDE, side] = None
    objections = tuple(objection(kind, what, words.language) for kind, what in faults)
    return Verdict(sentence, tuple(support), objections)


def _held(mention: Mention, near: Sequence[Mention]) -> list[Mention]:
    """The mentions that a mention of a draft rests on: of its name and state, or of its kin."""
    alike = [m for m in near if (m.state in ASSERTED) == (mention.state in ASSERTED)]
    return [m for m in alike if m.concept == mention.concept] or alike


def _against(
    mention: Mention, near: Sequence[Mention], facts: _Facts, words: Lexicon
) -> list[Fault]:
    if mention.state is Assertion.ABSENT:
        return [Fault.NEGATION] if any(_denied(mention, m, words) for m in near) else []
    states = {m.state for m in near}
    if not near:
        return [Fault.UNSUPPORTED]
    own = {m.state for m in near if m.concept == mention.concept}
    if Assertion.ABSENT in (own or states) and not (own or states) & set(ASSERTED):
        return [Fault.NEGATION]
    found = []
    sure = {m.state for m in near if not _is_inference(m, mention)}
    if mention.state is Assertion.PRESENT and Assertion.PRESENT not in sure:
        found.append(Fault.HEDGE)
    held = _held(mention, near)
    if _sides_differ(mention, held, facts):
        found.append(Fault.SIDE)
    if _degrees_differ(mention, held):
        found.append(Fault.DEGREE)
    return found


def _is_inference(fact: Mention, mention: Mention) -> bool:
    """Whether a draft reads the fact as something else: "emphysema" for "hyperinflation"."""
    return concepts()[mention.concept].inferred and fact.concept != mention.concept


def _denied(mention: Mention, fact: Mention, words: Lexicon) -> bool:
    """Whether a denial contradicts a fact; "no acute fracture" leaves an old one alone."""
    if fact.concept != mention.concept or fact.state is Assertion.ABSENT:
        return False
    if mention.sides and fact.sides and not mention.sides & fact.sides:
        return False
    scale = mention.degrees & SCALE
    if scale and fact.degrees & SCALE and not scale & fact.degrees:
        return False
    qualities = set(words.qualities.findall(fold(mention.sentence)))
    return not qualities - set(words.qualities.findall(fold(fact.sentence)))


def _sides_differ(mention: Mention, held: Sequence[Mention], facts: _Facts) -> bool:
    """Whether a draft names a side that neither the finding nor, if it has none, the text has."""
    named = frozenset[str]().union(*(m.sides for m in held))
    allowed = named or facts.sides
    return not mention.sides <= allowed


def _degrees_differ(mention: Mention, held: Sequence[Mention]) -> bool:
    """Whether a draft gives another degree or multiplicity, or a grave one out of nothing."""
    named = frozenset[str]().union(*(m.degrees for m in held))
    for scale in (SCALE, COUNT):
        said = mention.degrees & scale
        allowed = named & scale
        if said and allowed and not said & allowed:
            return True
    return "severe" in mention.degrees and not named & SCALE


def _dropped(known: Sequence[Mention], said: Sequence[Mention]) -> list[str]:
    """Sentences of the findings whose critical finding a draft names in no way.

    Old fractures and calcified nodules may be left out. One that the draft names and denies is a
    fault of that sentence.
    """
    names = {m.concept for m in said}
    kin = {m.finding for m in said if m.finding}
    left = dict.fromkeys(
        m.sentence
        for m in known
        if concepts()[m.concept].critical
        and m.state in ASSERTED
        and not m.old
        and m.concept not in names
        and m.finding not in kin
    )
    return list(left)
