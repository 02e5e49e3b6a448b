"""Our own words for drafts: what a mention is called, what a sentence may lose, what is counted.

In: a mention or a sentence, the language. Out: a sentence by rule, a sentence without its idle
ends, counts of classes of words. The words stand in `phrases/drafting_*.toml`.
Never: a side, degree, number or doubt that the mention does not have; a word of somebody's report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from processors.impressions.assertion import Assertion
from processors.impressions.labeller import Mention
from processors.impressions.lexicon import SCALE, compiled, table
from processors.impressions.text import fold

_MASK = re.compile(r"\b[Xx]{3,}\b(?:[-/][Xx]{3,}\b)*")
_HANGING = re.compile(r"\s+(?=[.,;:])")
_LIST_NUMBER = re.compile(r"^\s*\d{1,2}[.)]\s+(?=\D)")


@dataclass(frozen=True, slots=True)
class Phrasing:
    """The phrases of one language. names: of concepts; degrees: plain form, form of sized things.
    flags, asked: classes of words of findings and of indications."""

    language: str
    normals: tuple[str, ...]
    unremarkable: tuple[str, ...]
    sentence: str
    possible: str
    names: Mapping[str, Mapping[str, Any]]
    degrees: Mapping[str, tuple[str, str]]
    sides: Mapping[str, str]
    lead: re.Pattern[str]
    tail: re.Pattern[str]
    keep: re.Pattern[str]
    unnamed: re.Pattern[str]
    flags: Mapping[str, re.Pattern[str]]
    asked: Mapping[str, re.Pattern[str]]


@cache
def phrasing(language: str) -> Phrasing:
    """The phrases of en or es."""
    data = table(f"drafting_{language}")
    return Phrasing(
        language=language,
        normals=tuple(data["normals"]),
        unremarkable=tuple(data["unremarkable"]),
        sentence=data["sentence"],
        possible=data["possible"],
        names=data["names"],
        degrees={name: (forms[0], forms[1]) for name, forms in data["degrees"].items()},
        sides=data["sides"],
        lead=re.compile(rf"(?:{'|'.join(data['trims']['lead'])})\s+"),
        tail=re.compile(rf"(?:{'|'.join(data['trims']['tail'])})\s*$"),
        keep=re.compile(rf"(?<!\w)(?:{'|'.join(data['trims']['keep'])})\s*$"),
        unnamed=compiled(data["unnamed"]),
        flags={name: compiled(phrases) for name, phrases in data["flags"].items()},
        asked={name: compiled(phrases) for name, phrases in data["asked"].items()},
    )


def said(mention: Mention, language: str) -> str:
    """Our own sentence for what a mention asserts; "" for what it denies or has no name, or whose
    name is not what the sentence says ("empyema" is no hemothorax)."""
    words = phrasing(language)
    named = words.names.get(mention.concept)
    if named is None or mention.state is Assertion.ABSENT:
        return ""
    if words.unnamed.search(fold(mention.sentence)):
        return ""
    several = "multiple" in mention.degrees or len(mention.sides) > 1
    plural = bool(named.get("many") or (several and "plural" in named))
    form = 2 * plural + (named.get("gender") == "f")  # of the four forms of a Spanish adjective
    scale = mention.degrees & SCALE
    degree = words.degrees[next(iter(scale))] if len(scale) == 1 else ("", "")
    side = "both" if len(mention.sides) > 1 else next(iter(mention.sides), "")
    doubt = words.possible if mention.state is Assertion.UNCERTAIN else ""
    if doubt and plural and language == "es":
        doubt += "s"
    filled = words.sentence.format(
        doubt=doubt,
        name=named["plural"] if plural and "plural" in named else named["name"],
        degree=_inflected(degree[bool(named.get("sized"))], form),
        side=_inflected(words.sides.get(side, ""), form),
        size=_size(mention.sizes, language),
    )
    return finished(filled)


def shortened(sentence: str, language: str) -> str:
    """A sentence without "There is a" before and "is seen" behind; itself where nothing is left."""
    words = phrasing(language)
    text = sentence.strip().rstrip(".! ")
    for _ in range(2):
        folded = fold(text)
        if m := words.lead.match(folded):
            text = text[m.end() :]
    folded = fold(text)
    m = words.tail.search(folded)
    if m and not words.keep.search(folded, 0, m.start()):
        text = text[: m.start()]
    return finished(text) or finished(sentence)


def cleaned(sentence: str) -> str:
    """A sentence without de-identification masks, list number and hanging marks."""
    return finished(_LIST_NUMBER.sub("", _HANGING.sub("", _MASK.sub("", sentence))))


def finished(text: str) -> str:
    """One blank between words, a capital at the start, a full stop at the end; "" for no word."""
    plain = " ".join(text.split()).strip(" ,;:.-*•·")
    stop = "" if plain.endswith("?") else "."
    return f"{plain[0].upper()}{plain[1:]}{stop}" if plain else ""


def counts(text: str, classes: Mapping[str, re.Pattern[str]]) -> list[float]:
    """How often a text has a word of each class."""
    folded = fold(text)
    return [float(len(pattern.findall(folded))) for pattern in classes.values()]


def _inflected(forms: str, form: int) -> str:
    found = forms.split()
    return found[form] if len(found) == 4 else forms


def _size(sizes: Iterable[float], language: str) -> str:
    told = [f"{size:g}".replace(".", "," if language == "es" else ".") for size in sizes]
    return f"{' x '.join(told)} mm" if told else ""
