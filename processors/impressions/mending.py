"""What fails the guard is put right, or the findings' own sentence stands in its place.

In: the sentences of a draft and the Request it was made for. Out: sentences that pass
`grounding.check` as a whole, most urgent first, each with the findings it rests on, and the
sentences that did not pass, with the reason. A fault of one kind is repaired where the findings
know what is right (`repairs`); else the radiologist's sentence about it is taken; a critical
finding that the draft leaves out is added in the findings' own words; what is said twice falls
away. Mended again, nothing changes. Never: a sentence that was not judged; a word that neither the
draft nor the findings hold, but words of doubt and the name of a coded finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from processors.analysis import Sentence
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.criticality import in_order
from processors.impressions.drafting import Refused, Request
from processors.impressions.facts import Facts, facts_of
from processors.impressions.grounding import Verdict, judge
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import table
from processors.impressions.omissions import left_out
from processors.impressions.repairs import candidates, doubted
from processors.impressions.text import fold, sentences

_WORD = re.compile(r"\w+")
_LIKE = 0.5  # share of its words by which a sentence speaks of what one of the findings speaks of
_MOST = 3  # sentences of the findings that stand in for one, or for a draft of which none is left


@dataclass(frozen=True, slots=True)
class Mended:
    """A draft that passes the guard, and what did not."""

    sentences: tuple[Sentence, ...]
    refused: tuple[Refused, ...]


def mend(draft: Sequence[Sentence], request: Request) -> Mended:
    """Mend a draft; the findings that its sentences name are read anew.

    A draft of which nothing is left says what the findings assert; if they assert nothing, nothing.
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
        kept = [_rule(text) for text in _asserting(facts)]
    return Mended(_ordered(_once(kept, request.language), facts), tuple(refused))


def _closed(text: str) -> str:
    """A sentence with its stop, so that the next one is another."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."


def _rule(text: str) -> Sentence:
    return Sentence(_closed(text), (), "rule")


def _repaired(verdict: Verdict, facts: Facts) -> str | None:
    """The first repair that passes, of a sentence in which one thing is wrong."""
    kinds = {o.kind for o in verdict.objections}
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    for text in candidates(verdict.sentence, kind, facts):
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
        said = _content(sentence)
        alike = [(len(said & _content(text)), text) for text in own]
        shared, text = max(alike, default=(0, ""))
        if shared > 1 and shared >= _LIKE * len(said):
            found[text] = None
    return list(found)[:_MOST]


def _is_asserted(mentions: Iterable[Mention]) -> bool:
    return any(mention.state in ASSERTED for mention in mentions)


def _content(text: str) -> set[str]:
    return {word for word in _WORD.findall(fold(text)) if len(word) > _MOST}


def _own_sentence(fact: Mention, facts: Facts) -> str:
    """The sentence in which a finding stands; of a coded one, its name or the text's sentence."""
    if fact.end:
        return fact.sentence
    told = [m for m in facts.mentions if m.end and m.concept == fact.concept]
    told = [m for m in told if m.state is fact.state]
    if told:
        return told[0].sentence
    names: dict[str, list[str]] = table("names")
    english, spanish = names[fact.concept]
    name = spanish if facts.words.language == "es" else english
    if fact.state is Assertion.UNCERTAIN:
        name = doubted(name, facts.words.language)
    return name[0].upper() + name[1:] + "."


def _missing(kept: Sequence[Sentence], facts: Facts) -> list[str]:
    said = [m for s in kept for m in read(s.text, facts.words.language)]
    return list(
        dict.fromkeys(_own_sentence(fact, facts) for fact in left_out(facts.mentions, said))
    )


def _asserting(facts: Facts) -> list[str]:
    """The most urgent sentences in which the findings assert something."""
    asserted = [m for m in facts.mentions if m.state in ASSERTED]
    texts = dict.fromkeys(_own_sentence(m, facts) for m in asserted)
    return list(in_order(tuple(texts), facts.words.language))[:_MOST]


def _once(kept: Sequence[Sentence], language: str) -> list[Sentence]:
    """Without what another sentence says as well: the same findings in no other words."""
    left: list[Sentence] = []
    for sentence in kept:
        if any(_within(sentence.text, other.text, language) for other in left):
            continue
        left = [other for other in left if not _within(other.text, sentence.text, language)]
        left.append(sentence)
    return left


def _within(text: str, other: str, language: str) -> bool:
    said, more = _said(text, language), _said(other, language)
    words, others = set(_WORD.findall(fold(text))), set(_WORD.findall(fold(other)))
    return words == others and said == more if not said else said <= more and words <= others


def _said(text: str, language: str) -> set[tuple[object, ...]]:
    return {(m.concept, m.state, m.sides, m.degrees, m.sizes) for m in read(text, language)}


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
