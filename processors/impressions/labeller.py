"""Reads the fourteen chest findings, and what the grounding needs beside them, from report text.

In: text in English or Spanish. Out: Mentions: a concept, the finding it belongs to, whether it is
asserted, doubted or denied, its sides, degrees and measurements, and the sentence it stands in.
Never: an image, a model, a guess at what a report leaves unsaid. How a state is read: `assertion`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from processors.impressions.assertion import Assertion, assertion
from processors.impressions.dictated import MARK, Hit, describes, in_rows, runs_on, unjoined
from processors.impressions.lexicon import FINDINGS, Lexicon, Structure, concepts, lexicon
from processors.impressions.reach import FEW
from processors.impressions.text import fold, sentences

COUNT = frozenset({"single", "multiple"})
_RANK = (Assertion.ABSENT, Assertion.UNCERTAIN, Assertion.PRESENT)
_ADJACENT = re.compile(r"\s+(?:\w+\s+)?")
_AGED = ("calcification", "granuloma")  # what says itself that something is old
_NEAR = 60  # characters between a structure's name and what is said of it


@dataclass(frozen=True, slots=True)
class Mention:
    """One naming of a concept in a sentence.

    finding: one of FINDINGS or "". sides: of {left, right}. degrees: of {mild, moderate, severe,
    single, multiple}. sizes: in mm, largest first. old: said to be old, healed or
    calcified. start, end: in the whole text.
    """

    concept: str
    finding: str
    state: Assertion
    sentence: str
    start: int
    end: int
    sides: frozenset[str] = frozenset()
    degrees: frozenset[str] = frozenset()
    sizes: tuple[float, ...] = ()
    old: bool = False


def read(text: str, language: str) -> tuple[Mention, ...]:
    """Every mention in order, except of history, conditions and other persons.

    Raises ValueError for a language without phrase list.
    """
    return tuple(
        replace(m, start=m.start + span.start, end=m.end + span.start)
        for span in sentences(text)
        for m in _sentence(span.text, language)
    )


def summary(mentions: Iterable[Mention]) -> Mapping[str, Assertion]:
    """The state of each finding that is mentioned: present before uncertain before absent."""
    states: dict[str, Assertion] = {}
    for mention in mentions:
        if mention.finding:
            known = states.get(mention.finding, Assertion.ABSENT)
            states[mention.finding] = max(known, mention.state, key=_RANK.index)
    return {finding: states[finding] for finding in FINDINGS if finding in states}


@lru_cache(maxsize=256)
def _sentence(text: str, language: str) -> tuple[Mention, ...]:
    words, folded = lexicon(language), fold(text)
    hits = [
        Hit(m.lastgroup or "", m.start(), m.end(), m.span(), denied=_denies(m, folded, words))
        for m in words.concepts.finditer(folded)
    ]
    hits += _again(folded, hits, words)
    hits += [
        replace(h, concept=concepts()[h.concept].also) for h in hits if concepts()[h.concept].also
    ]
    named = tuple(hits)
    for structure in words.structures:
        hits += _said_of(structure, folded, named, words)
    hits.sort(key=lambda hit: hit.start)
    first = min((hit.end for hit in hits), default=len(folded))
    states = [
        _state(_told_of(hit, hits, folded), hit, language, beside=first <= hit.start)
        for hit in hits
    ]
    for i in range(1, len(hits)):
        if states[i] is Assertion.ABSENT and runs_on(folded, hits, i, words):
            states[i] = Assertion.PRESENT
        elif states[i] is Assertion.ABSENT and (
            unjoined(folded, hits, i, words)
            or (states[i - 1] is Assertion.UNCERTAIN and describes(folded, hits, i, words))
        ):
            states[i] = Assertion.UNCERTAIN
    for i, denied in in_rows(folded, hits, words).items():
        states[i] = Assertion.ABSENT if denied else Assertion.PRESENT
    for i in range(len(hits) - 1):
        pair = states[i : i + 2]
        between = folded[hits[i].end : hits[i + 1].start]
        if pair == [Assertion.PRESENT] * 2 and _alternative(between, words):
            states[i] = states[i + 1] = Assertion.UNCERTAIN
    found = []
    for i, (hit, state) in enumerate(zip(hits, states, strict=True)):
        if state is None:
            continue
        around = _around(folded, hits, i, words)
        found.append(
            Mention(
                hit.concept,
                concepts()[hit.concept].finding,
                state,
                text,
                hit.start,
                hit.end,
                sides_in(around, words),
                degrees_in(around, words),
                sizes_in(around, words),
                _is_old(folded, hits, hit, words),
            )
        )
    return tuple(found)


def _denies(name: re.Match[str], folded: str, words: Lexicon) -> bool:
    """Whether a concept's own words hold a denial: "mediastino no ensanchado"."""
    inside = words.before.finditer(folded, name.start() + 1, name.end())
    return any(cue.lastgroup == "negated" for cue in inside)


def _again(folded: str, hits: Iterable[Hit], words: Lexicon) -> list[Hit]:
    """Concepts meant again without being named: "none on the right, but on the left", "not seen,
    but cannot be excluded"."""
    found = []
    for pattern, doubt in ((words.elsewhere, False), (words.undecided, True)):
        for m in pattern.finditer(folded):
            named = [h for h in hits if h.start < m.end()]
            if named and named[-1].end <= m.start():
                probe = (m.end() - 1, m.end())
                concept = named[-1].concept
                found.append(Hit(concept, *m.span(), probe, doubt=doubt, again=True))
    return found


def _is_old(folded: str, hits: Iterable[Hit], hit: Hit, words: Lexicon) -> bool:
    """Whether a finding is for certain said to be old: beside it, or as a granuloma of its
    sentence; "possibly old" and "not calcified" are not."""
    lesion = concepts()[hit.concept].finding == "lung_lesion"
    granulomas = [h.probe for h in hits if h.concept == "granuloma"] if lesion else []
    lead = folded[max(0, hit.start - _NEAR) : hit.start]
    start = hit.start - len(re.split(r"[,;.]", lead)[-1])
    before = [h for h in hits if h.end <= hit.start and h.concept not in _AGED]
    if before:
        start = max(start, min(_between(folded, before[-1], hit, words), hit.start))
    stop = _border(folded, hit.end, min(len(folded), hit.end + _NEAR), words, hit.end + _NEAR)
    beside = [m.span() for m in words.known.finditer(folded, start, stop)]
    return any(
        assertion(folded, *span, words.language) is Assertion.PRESENT
        for span in (*granulomas, *beside)
    )


def _told_of(hit: Hit, hits: Iterable[Hit], folded: str) -> str:
    """The sentence as far as it may speak of what is well: "heart is normal and effusion resolved"
    turns no heart."""
    behind = [h.start for h in hits if hit.turned and h.start >= hit.end]
    return f"{folded[: min(behind)]}~" if behind else folded  # the mark: no sentence ends there


def _state(folded: str, hit: Hit, language: str, *, beside: bool) -> Assertion | None:
    """beside: whether another thing is named before it, of which a denial may be."""
    state = assertion(folded, *hit.probe, language)
    if state is None or hit.denied:
        return state and Assertion.ABSENT
    if hit.turned:
        if state is Assertion.ABSENT and beside:
            # "no effusion heart normal"
            start, end = (at - hit.start for at in hit.probe)
            state = assertion(folded[hit.start :], start, end, language) or state
        return Assertion.PRESENT if state is Assertion.ABSENT else Assertion.ABSENT
    doubt = hit.doubt or concepts()[hit.concept].hedged
    return Assertion.UNCERTAIN if doubt and state is Assertion.PRESENT else state


def _said_of(structure: Structure, folded: str, hits: Iterable[Hit], words: Lexicon) -> list[Hit]:
    """What a sentence says of a structure: "the heart is enlarged", "clear lungs"."""
    found = []
    for name in structure.names.finditer(folded):
        if any(h.start < name.end() and name.start() < h.end for h in hits):
            continue
        said = _predicate(structure, folded, name, words)
        if said:
            kind, start, end = said
            if kind == "normal" and _is_excepted(folded, end, hits, words):
                kind = "borderline"
            low, high = min(start, name.start()), max(end, name.end())
            found.append(
                Hit(
                    structure.concept,
                    low,
                    high,
                    (start, end),
                    turned=kind == "normal",
                    doubt=kind == "borderline",
                )
            )
    return found


def _is_excepted(folded: str, end: int, hits: Iterable[Hit], words: Lexicon) -> bool:
    """Whether what is well is not well in a place, of which no more is said: "clear except on the
    left"."""
    rest = folded[end:].lstrip(" ,")
    return words.excepts.match(rest) is not None and all(h.end <= end for h in hits)


def _predicate(
    structure: Structure, folded: str, name: re.Match[str], words: Lexicon
) -> tuple[str, int, int] | None:
    kinds = {
        "borderline": structure.borderline,
        "normal": structure.normal,
        "abnormal": structure.abnormal,
    }
    lead = max(0, name.start() - 30)
    for kind, pattern in kinds.items():
        for m in pattern.finditer(folded, lead, name.start()):
            if _is_told_of_another(folded, m.start(), words):
                continue
            between = words.of.sub("", folded[m.end() : name.start()])
            if _ADJACENT.fullmatch(between):
                return kind, *m.span()
    rest = folded[name.end() : name.end() + _NEAR]
    clause = rest.partition(";")[0]
    ends = words.clause_ends.search(clause)
    clause = clause[: ends.start()] if ends else clause
    spans = [(m.start(), kind, m) for kind, p in kinds.items() for m in p.finditer(clause)]
    if not spans:
        return None
    borders = [s for s in spans if s[1] == "borderline"]
    begin, kind, m = min(borders or spans, key=lambda s: s[0])
    copula = words.copulas.search(clause, 0, begin)
    if copula and "," in clause[copula.end() : begin]:
        return None  # "the heart is stable, the lungs are clear"
    return kind, name.end() + m.start(), name.end() + m.end()


def _is_told_of_another(folded: str, start: int, words: Lexicon) -> bool:
    """Whether an adjective is said of a structure before it: "heart is big mediastinum normal"."""
    verbs = [
        v
        for v in words.verbs.finditer(folded, max(0, start - _NEAR), start)
        if FEW.fullmatch(folded, v.end(), start) and not words.ties.search(folded, v.end(), start)
    ]
    return any(
        s.names.search(folded, max(0, v.start() - _NEAR), v.start())
        for v in verbs
        for s in words.structures
    )


def _alternative(between: str, words: Lexicon) -> bool:
    """Whether "X or Y" stands between two mentions: neither is then certain."""
    m = re.fullmatch(r"[\s,]*(\S+)\s*(?:[\w-]+\s+){0,3}", between)
    return bool(m and words.either.fullmatch(m[1])) or between.strip() == "/"


def _around(folded: str, hits: list[Hit], i: int, words: Lexicon) -> str:
    """The words that describe one mention: from what describes the one before to the next."""
    hit = hits[i]
    low, high = 0, len(folded)
    if hit.again:
        low = hit.start
    elif i:
        low = min(_between(folded, hits[i - 1], hit, words), hit.start)
    if i + 1 < len(hits) and hits[i + 1].again:
        high = hits[i + 1].start
    elif i + 1 < len(hits):
        high = max(_between(folded, hit, hits[i + 1], words), hit.end)
    elsewhere = words.not_there.search(folded, hit.end, high)
    if elsewhere:
        high = elsewhere.start()  # "on the left, none on the right"
    return folded[low:high]


def _between(folded: str, hit: Hit, after: Hit, words: Lexicon) -> int:
    """Where one mention's words end; undivided ones are the next's in English, where adjectives
    stand before the noun, and the one's before in Spanish."""
    default = hit.end if words.language == "en" else after.start
    return _border(folded, hit.end, after.start, words, default)


def _border(folded: str, end: int, start: int, words: Lexicon, default: int) -> int:
    """Where the description of one mention ends and that of the next begins."""
    marks = (p.search(folded, end, max(start, end)) for p in (MARK, words.splits))
    return min((m.start() for m in marks if m), default=default)


def sides_in(folded: str, words: Lexicon) -> frozenset[str]:
    """Sides named in folded text; both sides are left and right."""
    named = {m.lastgroup for m in words.sides.finditer(folded)}
    return frozenset({"left", "right"} if "both" in named else named - {None})  # type: ignore[arg-type]


def named_sides(folded: str, words: Lexicon) -> frozenset[str]:
    """Sides called by their name, "bilateral" apart."""
    return frozenset(m.lastgroup or "" for m in words.sides.finditer(folded)) - {"both"}


def degrees_in(folded: str, words: Lexicon) -> frozenset[str]:
    """Degrees and multiplicities named in folded text."""
    return frozenset(m.lastgroup or "" for m in words.degrees.finditer(folded))


def sizes_in(folded: str, words: Lexicon) -> tuple[float, ...]:
    """Lengths in folded text in mm, largest first."""
    sizes: list[float] = []
    for m in words.units.finditer(folded):
        factor = {"mm": 1.0, "cm": 10.0}.get(m.lastgroup or "")
        if factor:
            parts = (m["value"], m["second"], m["third"])
            sizes += [round(float(p.replace(",", ".")) * factor, 2) for p in parts if p]
    return tuple(sorted(sizes, reverse=True))
