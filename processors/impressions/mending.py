"""What fails the guard is put right, or the findings' own sentence stands in its place.

In: the sentences of a draft and the Request it was made for. Out: sentences that pass
`grounding.check` as a whole, most urgent first, each with the findings it rests on, and the
sentences that did not pass, with the reason. A fault of one kind is repaired where the findings
know what is right (`repairs`); else the radiologist's sentence about it is taken; a critical
finding that the draft leaves out is added in the findings' own words; a draft that would assert
nothing quotes what no phrase list understands (`unread`); what is said twice falls away. Mended
again, nothing changes. Never: a word that neither the draft nor the findings hold, but words of
doubt and the name of a coded finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from processors.analysis import Sentence
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.criticality import in_order
from processors.impressions.drafting import Refused, Request
from processors.impressions.facts import Facts, facts_of
from processors.impressions.grounding import Verdict, judge
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import table
from processors.impressions.omissions import left_out
from processors.impressions.repairs import candidates, cut, doubted
from processors.impressions.text import fold, sentences
from processors.impressions.unread import unread

_WORD = re.compile(r"\w+")
_LIKE = 0.5  # share of its words by which a sentence speaks of what one of the findings speaks of
_SHORT = 3  # letters of words that tell nothing of what a sentence speaks of
_MOST = 3  # sentences of the findings that stand in for one, for a draft of which none is left, or
# beside one because nobody understood them


@dataclass(frozen=True, slots=True)
class Mended:
    """A draft that passes the guard, and what did not."""

    sentences: tuple[Sentence, ...]
    refused: tuple[Refused, ...]


def mend(draft: Sequence[Sentence], request: Request) -> Mended:
    """Mend a draft; the findings that its sentences name are read anew.

    A draft of which nothing is left says what the findings assert, else what they deny; if they
    name nothing, nothing.
    Raises ValueError for a language without phrase list.
    """
    facts = facts_of(request.findings, request.language, request.known)
    own = tuple(span.text for span in sentences(request.findings))
    kept: list[Sentence] = []
    refused: list[Refused] = []
    for sentence in draft:
        for span in sentences(sentence.text):
            verdict = judge(_closed(span.text), facts)
            if verdict.supported:
                kept.append(replace(sentence, text=verdict.sentence))
                continue
            reason = " ".join(dict.fromkeys(o.reason for o in verdict.objections))
            refused.append(Refused(span.text, reason))
            repaired = _repaired(verdict, facts)
            if repaired:
                kept.append(replace(sentence, text=repaired))
            else:
                kept += map(_rule, _instead(verdict.sentence, facts, own))
    kept = _once(kept, request.language)
    kept += map(_rule, _missing(kept, facts))
    if not kept:
        kept = [_rule(text) for text in _telling(facts)]
    if not any(m.state in ASSERTED for s in kept for m in read(s.text, request.language)):
        kept += map(_rule, unread(request.findings, request.language)[:_MOST])
    return Mended(_ordered(_once(kept, request.language), facts), tuple(refused))


def _closed(text: str) -> str:
    """A sentence with its stop, so that the next one is another."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."


def _rule(text: str) -> Sentence:
    closed = _closed(text)
    return Sentence(closed[0].upper() + closed[1:], (), "rule")


def _repaired(verdict: Verdict, facts: Facts) -> str | None:
    """The first repair that passes: of one fault that can be put right, else the part before it."""
    kinds = {o.kind for o in verdict.objections}
    ways = [candidates(verdict.sentence, kind, facts) for kind in kinds if len(kinds) == 1]
    for text in chain(*ways, cut(verdict.sentence, facts)):
        if len(sentences(text)) == 1 and judge(text, facts).supported:
            return _closed(text)
    return None


def _instead(sentence: str, facts: Facts, own: Sequence[str]) -> list[str]:
    """What the findings themselves say of the things that a faulty sentence names."""
    language = facts.words.language
    found: dict[str, None] = {}
    for mention in read(sentence, language):
        near = facts.of(mention)
        if not near or (mention.state is Assertion.ABSENT and not _is_asserted(near)):
            continue
        fact = min(
            near,
            key=lambda m: (
                m.state not in ASSERTED,
                m.concept != mention.concept,
                not m.sides & mention.sides,
            ),
        )
        found[_own_sentence(fact, facts)] = None
    if not found:
        said = {word for word in _words(sentence) if len(word) > _SHORT}
        alike = [(len(said & _words(text)), text) for text in own]
        shared, text = max(alike, default=(0, ""))
        if shared > 1 and shared >= _LIKE * len(said):
            found[text] = None
    return list(found)[:_MOST]


def _is_asserted(mentions: Iterable[Mention]) -> bool:
    return any(mention.state in ASSERTED for mention in mentions)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(fold(text)))


def _own_sentence(fact: Mention, facts: Facts) -> str:
    """The sentence in which a finding stands; of a coded one, its name or the text's sentence."""
    if fact.end:
        return fact.sentence
    told = [m for m in facts.mentions if m.end and m.concept == fact.concept]
    told = [m for m in told if m.state is fact.state]
    if told:
        return told[0].sentence
    name = _name(fact.concept, facts.words.language)
    if fact.state is Assertion.ABSENT:
        return str(table("repairs")[facts.words.language]["denied"]).format(name=name)
    return doubted(name, facts.words.language) if fact.state is Assertion.UNCERTAIN else name


def _name(concept: str, language: str) -> str:
    english, spanish = table("names")[concept]
    return str(spanish if language == "es" else english)


def _missing(kept: Sequence[Sentence], facts: Facts) -> list[str]:
    said = [m for s in kept for m in read(s.text, facts.words.language)]
    return list(
        dict.fromkeys(
            _own_sentence(fact, facts)
            for fact in left_out(facts.mentions, said, facts.words.language)
        )
    )


def _telling(facts: Facts) -> list[str]:
    """The most urgent sentences in which the findings assert something, else deny something."""
    asserted = [m for m in facts.mentions if m.state in ASSERTED]
    texts = dict.fromkeys(_own_sentence(m, facts) for m in asserted or facts.mentions)
    return list(in_order(tuple(texts), facts.words.language))[:_MOST]


def _once(kept: Sequence[Sentence], language: str) -> list[Sentence]:
    """Without what another sentence says as well."""
    left: list[Sentence] = []
    for sentence in kept:
        if any(_is_told(sentence, other, language) for other in left):
            continue
        left = [other for other in left if not _is_told(other, sentence, language)]
        left.append(sentence)
    return left


def _is_told(sentence: Sentence, other: Sentence, language: str) -> bool:
    """Whether another sentence says the same findings as closely, in no fewer words; a sentence of
    the findings gives way to any of the draft's."""
    said, more = read(sentence.text, language), read(other.text, language)
    words, others = _words(sentence.text), _words(other.text)
    if not said:
        return words == others
    gives_way = sentence.source == "rule" != other.source
    return (gives_way or words <= others) and all(
        any(_covers(theirs, ours) for theirs in more) for ours in said
    )


def _covers(theirs: Mention, ours: Mention) -> bool:
    return (
        (theirs.concept, theirs.state) == (ours.concept, ours.state)
        and ours.sides <= theirs.sides
        and ours.degrees <= theirs.degrees
        and {*ours.sizes} <= {*theirs.sizes}
    )


def _ordered(kept: Sequence[Sentence], facts: Facts) -> tuple[Sentence, ...]:
    by_text = {sentence.text: sentence for sentence in kept}
    order = in_order(tuple(by_text), facts.words.language)
    return tuple(
        replace(by_text[text], findings=_labels(judge(text, facts).rests_on)) for text in order
    )


def _labels(mentions: Iterable[Mention]) -> tuple[str, ...]:
    """Of coded findings their label; of the text's the finding, else the concept."""
    return tuple(
        dict.fromkeys(m.sentence if not m.end else m.finding or m.concept for m in mentions)
    )
