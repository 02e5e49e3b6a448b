"""Whether each sentence of a draft says what the findings say, and nothing else.

In: a draft and the findings section (text), coded findings beside it, the language. Out: a verdict
on each sentence (what it rests on, or its faults, typed, with a reason for the radiologist) and the
critical findings that the whole draft leaves out. Never: a changed draft; what to do with a fault
is for the caller. Silence is no contradiction: a draft may deny what the findings do not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from processors.analysis import Finding, State
from processors.impressions import numbers
from processors.impressions.assertion import ASSERTED, Assertion, assertion
from processors.impressions.facts import Facts, facts_of
from processors.impressions.faults import Fault, Objection, objection
from processors.impressions.labeller import COUNT, Mention, named_sides, read, sides_in
from processors.impressions.lexicon import SCALE, Lexicon, concepts
from processors.impressions.omissions import is_narrowed, left_out
from processors.impressions.text import fold, sentences
from processors.impressions.wording import against

STATES = {
    State.PRESENT: Assertion.PRESENT,
    State.UNDETERMINED: Assertion.UNCERTAIN,
    State.ABSENT: Assertion.ABSENT,
}
# concepts that deny all of a finding: "the lungs are clear"
_WHOLE = ("clear_lungs", "clear_angle", "intact_bones")


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
    facts, said = facts_of(findings, language, known), read(draft, language)
    named = frozenset(m.concept for m in said)
    verdicts = tuple(judge(span.text, facts, named) for span in sentences(draft))
    left = left_out(facts.mentions, said, language)
    return Grounding(
        verdicts, tuple(objection(Fault.DROPPED, fact.sentence, language) for fact in left)
    )


def judge(sentence: str, facts: Facts, named: Collection[str] = ()) -> Verdict:
    """Judge one sentence; named: the concepts of the rest of its draft."""
    words = facts.words
    mentions = read(sentence, words.language)
    named = {*named, *(m.concept for m in mentions)}
    faults: dict[tuple[Fault, str], None] = {}
    support: dict[Mention, None] = {}
    for mention in mentions:
        near = facts.of(mention)
        what = sentence[mention.start : mention.end]
        faults |= {(kind, what): None for kind in _against(mention, near, facts)}
        if is_narrowed(mention, facts.mentions, facts.offered, named):
            faults[Fault.HEDGE, what] = None
        support |= dict.fromkeys(_held(mention, near))
    folded = fold(sentence)
    if _plain(folded) in map(_plain, facts.wording.sentences):
        return Verdict(sentence, tuple(support), ())  # the findings' own words
    if facts.urgent and (well := _calls_all_well(folded, words)):
        faults[Fault.NEGATION, well] = None
    faults |= dict.fromkeys(against(sentence, mentions, facts.wording, words.language))
    for number in sorted(numbers.strange(numbers.read(folded, words), facts.numbers)):
        faults[Fault.NUMBER, number.text] = None
    if facts.sides and not any(kind is Fault.SIDE for kind, _ in faults):
        strange = named_sides(folded, words) - facts.named
        for side in sorted(strange | sides_in(folded, words) - facts.sides):
            faults[Fault.SIDE, _side_word(side, folded, words)] = None
    told = dict.fromkeys((kind, _as_written(what, sentence)) for kind, what in faults)
    objections = tuple(objection(kind, what, words.language) for kind, what in told)
    return Verdict(sentence, tuple(support), objections)


def _plain(folded: str) -> str:
    return " ".join(folded.split()).rstrip(" .")


def _side_word(side: str, folded: str, words: Lexicon) -> str:
    """The word by which a sentence names a side."""
    named = (m[0] for m in words.sides.finditer(folded) if m.lastgroup in (side, "both"))
    return next(named, side)


def _as_written(what: str, sentence: str) -> str:
    """The words at fault as the sentence writes them; a stem becomes its word."""
    m = re.search(rf"\b{re.escape(fold(what))}\w*", fold(sentence))
    return sentence[m.start() : m.end()] if m else what


def _held(mention: Mention, near: Sequence[Mention]) -> list[Mention]:
    """The mentions that a mention of a draft rests on: of its name and state, or of its kin."""
    alike = [m for m in near if (m.state in ASSERTED) == (mention.state in ASSERTED)]
    return [m for m in alike if m.concept == mention.concept] or alike


def _against(mention: Mention, near: Sequence[Mention], facts: Facts) -> list[Fault]:
    words = facts.words
    if mention.state is Assertion.ABSENT:
        if facts.urgent and _is_all_clear(mention, words):
            return [Fault.NEGATION]
        return [Fault.NEGATION] if any(_denied(mention, m, words) for m in near) else []
    if not near:
        return [Fault.UNSUPPORTED]
    closest = _closest(mention, [m for m in near if not _narrow(m, mention, words)] or near)
    if all(m.state is Assertion.ABSENT for m in closest):
        return [Fault.NEGATION]
    found = []
    own = [m for m in near if m.concept == mention.concept]
    sure = {m.state for m in own or near if not _is_inference(m, mention)}
    read_so = not own and _is_reading(mention, words)
    if mention.state is Assertion.PRESENT and Assertion.PRESENT not in sure and not read_so:
        found.append(Fault.HEDGE)
    held = _held(mention, near)
    if _sides_differ(mention, held, facts):
        found.append(Fault.SIDE)
    if _degrees_differ(mention, held):
        found.append(Fault.DEGREE)
    return found


def _is_all_clear(mention: Mention, words: Lexicon) -> bool:
    """Whether a denial is of all acute disease; "no acute bony", "no other" leave something."""
    return (
        mention.concept == "acute_disease" and words.partly.search(fold(mention.sentence)) is None
    )


def _calls_all_well(folded: str, words: Lexicon) -> str:
    """The words by which a sentence calls the whole examination normal, or ""; "normal but for"
    leaves something."""
    m = words.all_well.search(folded)
    if m is None or words.partly.search(folded) or words.breaks.search(folded):
        return ""
    said = assertion(folded, *m.span(), words.language)
    return "" if said is Assertion.ABSENT and not m[0].startswith("sin") else m[0]


def _closest(mention: Mention, near: Sequence[Mention]) -> Sequence[Mention]:
    """Those of a mention's own name; else of its kin; else all."""
    kin = concepts()[mention.concept].kin
    own = [m for m in near if m.concept == mention.concept]
    return own or [m for m in near if kin and concepts()[m.concept].kin == kin] or near


def _is_inference(fact: Mention, mention: Mention) -> bool:
    """Whether a draft reads the fact as something else: "emphysema" for "hyperinflation"; to call
    what is calcified or old a granuloma or a scar is none."""
    concept = concepts()[mention.concept]
    plain = fact.old and not concept.critical
    return concept.inferred and fact.concept != mention.concept and not plain


def _is_reading(mention: Mention, words: Lexicon) -> bool:
    """Whether a draft gives it as the reading of a sign: "changes consistent with emphysema";
    what is grave is not to be read into a sign."""
    if concepts()[mention.concept].critical:
        return False
    return words.reading.search(fold(mention.sentence), 0, mention.start) is not None


def _denied(mention: Mention, fact: Mention, words: Lexicon) -> bool:
    """Whether a denial contradicts a fact; "no acute fracture" leaves an old one alone."""
    whole = mention.concept in _WHOLE and fact.finding == mention.finding
    if fact.state is Assertion.ABSENT or not (whole or fact.concept == mention.concept):
        return False
    if mention.sides and fact.sides and not mention.sides & fact.sides:
        return False
    scale = mention.degrees & SCALE
    if scale and fact.degrees & SCALE and not scale & fact.degrees:
        return False
    return not _narrow(mention, fact, words)


def _narrow(denial: Mention, other: Mention, words: Lexicon) -> bool:
    """Whether a denial is of a quality that the other lacks: "no acute fracture"."""
    if denial.state is not Assertion.ABSENT:
        return False
    qualities = set(words.qualities.findall(fold(denial.sentence)))
    return bool(qualities - set(words.qualities.findall(fold(other.sentence))))


def _sides_differ(mention: Mention, held: Sequence[Mention], facts: Facts) -> bool:
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
