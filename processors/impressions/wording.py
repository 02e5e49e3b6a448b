"""What the words of a draft show against the words of the findings, known to a phrase list or not.

In: a sentence of a draft and the wording of a findings section. Out: faults with the words at
fault: a word asserted that the findings only doubt or deny, another degree of the same thing, a
word of proof, cause or time that is not theirs, a sentence repeated with fewer hedges.
Never: a finding invented or left out; that is for the grounding, which knows concepts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from processors.impressions.assertion import ASSERTED, Assertion, assertion
from processors.impressions.faults import Fault
from processors.impressions.labeller import Mention
from processors.impressions.lexicon import SCALE, Lexicon, lexicon
from processors.impressions.text import fold, sentences

_WORD = re.compile(r"[a-z]+")
_MARKS = re.compile(r"[,;.:]")
_STEM = 6  # letters by which "opacity" and "opacities", "represents" and "represent" are one word
_SHORTEST = 4
_COPIED = 0.7  # share of its words by which a sentence repeats another


@dataclass(frozen=True, slots=True)
class Wording:
    """A findings section by its words: folded sentences; by stem of a word, the states in which it
    stands and the degrees it is given."""

    sentences: tuple[str, ...]
    states: Mapping[str, frozenset[Assertion | None]]
    graded: Mapping[str, frozenset[str]]


def wording(findings: str, language: str) -> Wording:
    """The wording of a findings section."""
    words = lexicon(language)
    folded = tuple(fold(span.text) for span in sentences(findings))
    states: dict[str, set[Assertion | None]] = defaultdict(set)
    graded: dict[str, set[str]] = defaultdict(set)
    for sentence in folded:
        for m in _WORD.finditer(sentence):
            if not _is_idle(m[0], words):
                states[m[0][:_STEM]].add(assertion(sentence, *m.span(), language))
        for degree, heads in _graded(sentence, words):
            for head in heads:
                graded[head].add(degree)
    return Wording(
        folded,
        {stem: frozenset(found) for stem, found in states.items()},
        {stem: frozenset(found) for stem, found in graded.items()},
    )


def against(
    sentence: str, mentions: Sequence[Mention], facts: Wording, language: str
) -> list[tuple[Fault, str]]:
    """The faults that the words of a draft's sentence show.

    A word that the findings only doubt or only deny may not be asserted; a word that they give a
    degree may not have another; a word of proof must be theirs.
    """
    words, folded = lexicon(language), fold(sentence)
    found = [(Fault.HEDGE, sentence)] if _hedges_lost(folded, facts, words) else []
    for m in _WORD.finditer(folded):
        given = facts.states.get(m[0][:_STEM])
        named = any(n.start <= m.start() < n.end for n in mentions)
        if not given or named or _is_idle(m[0], words):
            continue
        state = assertion(folded, m.start(), m.end(), words.language)
        if state is Assertion.PRESENT and given == {Assertion.UNCERTAIN}:
            found.append((Fault.HEDGE, m[0]))
        if state in ASSERTED and given == {Assertion.ABSENT}:
            found.append((Fault.NEGATION, m[0]))
    for degree, heads in _graded(folded, words):
        for head in heads:
            alike = {d for d in facts.graded.get(head, ()) if (d in SCALE) == (degree in SCALE)}
            if alike:
                if degree not in alike:
                    found.append((Fault.DEGREE, head))
                break
    for kind, pattern in (
        (Fault.HEDGE, words.certain),
        (Fault.HEDGE, words.causes),
        (Fault.UNSUPPORTED, words.claims),
    ):
        theirs = _asserted(pattern, facts.sentences, words)
        ours = _asserted(pattern, (folded,), words)
        if not (pattern is words.causes and theirs):  # one word of cause is as good as another
            found += [(kind, phrase) for phrase in sorted(ours - theirs)]
    return found


def _hedges_lost(folded: str, facts: Wording, words: Lexicon) -> bool:
    """Whether a sentence repeats one of the findings with fewer hedges."""
    said = _content(folded, words)
    if len(said) < _SHORTEST:
        return False
    for fact in facts.sentences:
        theirs = _content(fact, words)
        shared = len(said & theirs)
        if shared >= _COPIED * len(said) and shared >= _COPIED * len(theirs):
            return _hedges(folded, words) < _hedges(fact, words)
    return False


def _content(folded: str, words: Lexicon) -> set[str]:
    found = (m[0] for m in _WORD.finditer(folded))
    return {w[:_STEM] for w in found if len(w) >= _SHORTEST and not words.before.fullmatch(w)}


def _hedges(folded: str, words: Lexicon) -> int:
    return sum(m.lastgroup == "uncertain" for m in words.before.finditer(folded))


def _asserted(pattern: re.Pattern[str], folded: Iterable[str], words: Lexicon) -> set[str]:
    """The phrases of a pattern that sentences assert for certain."""
    return {
        m[0]
        for sentence in folded
        for m in pattern.finditer(sentence)
        if assertion(sentence, *m.span(), words.language) is Assertion.PRESENT
    }


def _is_idle(word: str, words: Lexicon) -> bool:
    """Whether a word says nothing by itself: short, common, or itself a cue."""
    return (
        len(word) < _SHORTEST
        or words.idle.fullmatch(word) is not None
        or words.before.fullmatch(word) is not None
        or words.either.fullmatch(word) is not None
    )


def _clauses(folded: str, words: Lexicon) -> list[str]:
    return _MARKS.split(words.joins.sub(",", folded))


def _graded(folded: str, words: Lexicon) -> list[tuple[str, list[str]]]:
    """Each word of degree with the stems that it may belong to, the likeliest first."""
    found = []
    for m in words.degrees.finditer(folded):
        following = _clauses(folded[m.end() :], words)[0]
        after = [w for w in _WORD.findall(following)[:5] if not words.degrees.fullmatch(w)]
        before = _WORD.findall(_clauses(folded[: m.start()], words)[-1])[-2:]
        order = [*after[:4], *reversed(before)]
        found.append((m.lastgroup or "", [w[:_STEM] for w in order if len(w) >= _SHORTEST]))
    return found
