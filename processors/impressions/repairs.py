"""Ways to put a faulty sentence right: the other side, the true degree or number, the hedge again.

In: a sentence of a draft, the one kind of fault it has, the facts. Out: candidate sentences, the
likeliest first. Never: a word that neither the sentence nor the findings hold, but words of doubt;
a judgement on a candidate, which is for `grounding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from processors.impressions import numbers
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.facts import Facts
from processors.impressions.faults import Fault
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import SCALE, compiled, table
from processors.impressions.text import fold

_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?:ly|mente|[oa]s?|s)?$")  # of a word of degree: adverb, gender, number


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of one language (`phrases/repairs.toml`)."""

    opposites: re.Pattern[str]
    opposite: dict[str, str]
    plain: re.Pattern[str]
    hedge: tuple[str, str]
    soften: tuple[tuple[re.Pattern[str], str], ...]
    loose: re.Pattern[str]
    cuts: re.Pattern[str]
    determiners: re.Pattern[str]


@cache
def _words(language: str) -> _Words:
    data = table("repairs")[language]
    pairs: list[list[str]] = data["opposites"]
    opposite = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return _Words(
        re.compile(rf"(?<!\w)(?:{'|'.join(opposite)})"),
        opposite,
        re.compile(rf"(?<!\w)(?:{'|'.join(pairs[0])})\w*\s*"),
        (data["hedge"][0], data["hedge"][1]),
        tuple((compiled([pattern]), words) for pattern, words in data["soften"]),
        compiled(data["loose"]),
        compiled(data["cuts"]),
        compiled(data["determiners"]),
    )


def candidates(sentence: str, fault: Fault, facts: Facts) -> Iterator[str]:
    """Sentences that may say right what this one says wrong; none is a good answer."""
    ways = {
        Fault.SIDE: _sides,
        Fault.DEGREE: _degrees,
        Fault.NUMBER: _numbers,
        Fault.HEDGE: _hedges,
        Fault.UNSUPPORTED: _claims,
    }
    way = ways.get(fault)
    for text in way(sentence, facts) if way else ():
        yield from _tidy(text)


def cut(sentence: str, facts: Facts) -> Iterator[str]:
    """Beginnings of a sentence that still tell a finding, the longest first."""
    language = facts.words.language
    for m in reversed(list(_words(language).cuts.finditer(fold(sentence)))):
        text = sentence[: m.start()].rstrip(" ,;:-")
        if read(text, language):
            yield from _tidy(text + ".")


def _tidy(text: str) -> Iterator[str]:
    tidy = re.sub(r"\s+", " ", re.sub(r"\s+([,;.])", r"\1", text)).strip()
    if tidy:
        yield tidy[0].upper() + tidy[1:]


def _put(text: str, start: int, end: int, words: str) -> str:
    begins = text[start:end][:1].isupper() and not words.isupper()
    return text[:start] + (words.capitalize() if begins else words) + text[end:]


def _sides(sentence: str, facts: Facts) -> Iterator[str]:
    """The other side, of what is asserted only: what holds of the one says nothing of the other."""
    words, folded = _words(facts.words.language), fold(sentence)
    asserts = any(m.state in ASSERTED for m in read(sentence, facts.words.language))
    found = list(words.opposites.finditer(folded)) if asserts else []
    swapped = sentence
    for m in reversed(found):
        other = words.opposite[m[0]]
        other = other.upper() if sentence[m.start() : m.end()].isupper() else other
        yield _put(sentence, m.start(), m.end(), other)
        swapped = _put(swapped, m.start(), m.end(), other)
    if len(found) > 1:
        yield swapped
    for m in words.plain.finditer(folded):
        yield sentence[: m.start()] + sentence[m.end() :]


def _near(sentence: str, facts: Facts) -> list[Mention]:
    """What the findings assert of the things that a sentence names."""
    return [
        fact
        for mention in read(sentence, facts.words.language)
        for fact in facts.of(mention)
        if fact.state in ASSERTED
    ]


def _degrees(sentence: str, facts: Facts) -> Iterator[str]:
    """The degree that the findings give, where it agrees with the noun; else none."""
    folded = fold(sentence)
    wrong = [m for m in facts.words.degrees.finditer(folded) if m.lastgroup in SCALE]
    said = read(sentence, facts.words.language)
    for m in wrong:
        for fact in _near(sentence, facts):
            theirs = fold(fact.sentence)
            noun = _WORD.search(folded, said[0].start)
            same = noun and re.search(rf"\b{noun[0]}\b", theirs) is not None
            for right in facts.words.degrees.finditer(theirs):
                agrees = _form(right[0]) == _form(m[0]) or (
                    same and _is_adverb(right[0]) == _is_adverb(m[0])
                )
                if (
                    right.lastgroup in SCALE
                    and agrees
                    and not theirs[: right.start()].endswith(" de ")
                ):
                    yield _put(sentence, *m.span(), fact.sentence[slice(*right.span())].lower())
    for m in wrong:
        yield sentence[: m.start()] + sentence[m.end() :].lstrip()


def _is_adverb(word: str) -> bool:
    return word.endswith(("ly", "mente"))


def _form(word: str) -> str:
    """Adverb, gender and number, by a word's ending."""
    found = _ENDING.search(word)
    return found[0] if found else ""


def _numbers(sentence: str, facts: Facts) -> Iterator[str]:
    """The findings' number of the same kind, where there is one only."""
    folded = fold(sentence)
    own = [fact.sentence for fact in _near(sentence, facts)] or list(facts.wording.sentences)
    right: dict[str, dict[float, str]] = {}
    for text in own:
        for number in numbers.read(fold(text), facts.words):
            at = fold(text).find(number.text)
            right.setdefault(number.kind, {})[number.value] = text[at : at + len(number.text)]
    said = numbers.read(folded, facts.words)
    for number in sorted(numbers.strange(said, facts.numbers)):
        known = right.get(number.kind, {})
        at = folded.find(number.text)
        one = number.kind == "count" and 1.0 in (number.value, *known)  # the noun would not agree
        if len(known) == 1 and at >= 0 and not one:
            (words,) = known.values()
            yield sentence[:at] + words + sentence[at + len(number.text) :]


def _hedges(sentence: str, facts: Facts) -> Iterator[str]:
    """Words of doubt for words of proof, else "possible" before all or before what is doubtful."""
    words, folded = _words(facts.words.language), fold(sentence)
    for pattern, doubt in words.soften:
        for m in pattern.finditer(folded):
            yield _put(sentence, m.start(), m.end(), doubt)
    certain = [m for m in read(sentence, facts.words.language) if m.state is Assertion.PRESENT]
    bare = not words.determiners.match(folded) and not facts.words.verbs.search(folded)
    if bare and len(certain) == 1 and "," not in sentence[: certain[0].start]:
        yield doubted(sentence, facts.words.language)
    for mention in certain:
        yield doubted(sentence, facts.words.language, mention.start)


def doubted(text: str, language: str, at: int = 0) -> str:
    """A text with "possible" before what stands at a place of it."""
    words, head, tail = _words(language), text[:at], text[at:]
    first = re.match(r"\w+", tail)
    many = bool(first and first[0].endswith("s") and not first[0].endswith(("is", "us", "ss")))
    if not tail[1:2].isupper():
        tail = tail[:1].lower() + tail[1:]
    return f"{head}{words.hedge[many]} {tail}"


def _claims(sentence: str, facts: Facts) -> Iterator[str]:
    """Without "new", "acute" and the like, where it then still tells a finding."""
    language = facts.words.language
    for m in _words(language).loose.finditer(fold(sentence)):
        text = sentence[: m.start()] + sentence[m.end() :].lstrip()
        if any(n.state in ASSERTED and n.concept != "acute_disease" for n in read(text, language)):
            yield text
