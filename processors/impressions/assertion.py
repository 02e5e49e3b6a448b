"""Whether a sentence asserts, doubts or denies what one of its spans names.

In: a folded sentence and a span. Out: PRESENT, UNCERTAIN, ABSENT, or None for what is history, a
question to be asked or a condition. The way is that of NegEx (Chapman et al., 2001) and ConText
(Harkema et al., 2009): cues before and after a span, each stopped by words such as "but".
Two refinements: a comma lets a negation through only within a list, and a hedge behind a negation
is swallowed by it ("no finding suggestive of") unless it is one of its own ("no effusion, possible
pneumonia"). Never: a word about the finding itself; any span may be asked about.
"""

from __future__ import annotations

import re
from enum import StrEnum

from processors.impressions.lexicon import Lexicon, lexicon
from processors.impressions.reach import (
    FEW,
    STOPS,
    cues,
    has_none_of_its_own,
    is_annexed,
    is_beyond,
    is_blocked,
    is_loose,
    is_measured,
    is_of_before,
    is_over,
    is_presupposed,
    is_spoken_for,
    is_whole,
)

_COMMA = re.compile(r"[,;.]")
_ITEMS = re.compile(r"(?:\s*,\s*\w+(?: \w+){0,2})+,?\s+")  # ", B, C " of "A, B, C and D are ..."
_PHRASE = re.compile(r"\s*(?:\w+\s+){0,4}")
_SHORT = re.compile(r"(?: \w+){0,8} *[,;] *(?:\w+ )?")
_SHORT_OF = re.compile(r"(?: \w+){0,8} ")
_TAIL_WORDS = 3  # words after "no se observa" that still leave it speaking of what stood before it


class Assertion(StrEnum):
    """What a sentence says of a finding now."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"


ASSERTED = (Assertion.PRESENT, Assertion.UNCERTAIN)


def _before(sentence: str, start: int, end: int, words: Lexicon) -> Assertion:
    cut = max((m.end() for m in STOPS.finditer(sentence, 0, start)), default=0)
    every = cues(sentence, words.language)
    ahead = [cue for cue in every if cue[1] <= start]
    if any(kind == "pseudo" and begin < start < stop for begin, stop, kind in every):
        return Assertion.ABSENT  # "no change": denies the change, though not what did not change
    hedge, instead, rest = False, False, sentence[end:].lstrip()
    for begin, stop, kind in reversed(ahead):
        if kind in ("pseudo", "passive", "hypothetical", "history"):
            continue
        if kind == "brk" or stop <= cut:
            break
        if sentence[begin:stop] == "non" and sentence[stop:start].strip(" -"):
            continue  # "no non-displaced fracture"
        if is_blocked(sentence, stop, start, end, words, kind):
            if kind == "negated":
                break
            continue
        if kind == "negated":
            cue = begin, stop
            if is_presupposed(sentence, stop, start, words):
                break
            if has_none_of_its_own(sentence, cue, start, end, words):
                break
            if is_beyond(sentence, cue, start, words):
                break
            if is_of_before(sentence, begin, stop, start, words):
                return Assertion.PRESENT if words.lasts.match(rest) else Assertion.UNCERTAIN
            if (
                is_annexed(sentence, cue, start, end, words)
                or is_measured(sentence[stop:start], words)
                or is_over(sentence, cue, start, end, words)
                or is_whole(sentence, cue, start, end, words)
                or is_loose(sentence, cue, start, end, words)
            ):
                return Assertion.UNCERTAIN
            if is_spoken_for(sentence, begin, stop, start, words):
                return Assertion.UNCERTAIN
        if kind == "uncertain":
            if instead or not words.swallowed.fullmatch(sentence, begin, stop):
                return Assertion.UNCERTAIN
            hedge = True
        elif words.instead.fullmatch(sentence, begin, stop):
            instead = True
        else:
            return Assertion.ABSENT
    if instead:
        return Assertion.ABSENT
    return Assertion.UNCERTAIN if hedge else Assertion.PRESENT


def _unsaid(sentence: str, start: int, words: Lexicon) -> bool:
    """Whether the span is history or a condition; reaching over no break (history: no comma)."""
    for _, stop, kind in reversed(cues(sentence, words.language)):
        if stop > start:
            continue
        if kind == "brk":
            return False
        if kind == "hypothetical" or (kind == "history" and "," not in sentence[stop:start]):
            return True
    return False


def _after(sentence: str, end: int, words: Lexicon) -> Assertion | None:
    rest = sentence[end:]
    listed = next(
        (m for m in words.joins.finditer(rest) if _ITEMS.fullmatch(rest, 0, m.start())), None
    )
    stop = _COMMA.search(rest, listed.end() if listed else 0)
    broken = words.breaks.search(rest)
    clause = rest[: min(m.start() if m else len(rest) for m in (stop, broken))].lstrip()
    for cue in words.after.finditer(clause):
        if cue.lastgroup == "pseudo" or _is_of_next(clause[: cue.start()], words):
            return None
        rest = clause[cue.end() :].strip()
        tail = 0 if words.nowadays.fullmatch(rest) else len(re.findall(r"\w+", rest))
        turns = words.before.match(clause, cue.start()) is not None
        gone = words.gone.fullmatch(cue[0]) and not words.meant.match(rest)
        far = tail > _TAIL_WORDS or words.concepts.search(rest)
        if words.language == "es" and turns and far and not gone:
            return None  # "derrame no se aprecia neumotorax": speaks of what follows
        return Assertion.ABSENT if cue.lastgroup == "negated" else Assertion.UNCERTAIN
    return None


def _is_of_next(between: str, words: Lexicon) -> bool:
    """Whether what follows speaks of another thing behind what was said to last: "effusion stable
    pneumothorax resolved"."""
    named = next(words.concepts.finditer(between), None)
    lasts = words.lasts.search(between, 0, named.start()) if named else None
    return lasts is not None and FEW.fullmatch(between, 0, lasts.start()) is not None


def _after_all(
    sentence: str, start: int, end: int, words: Lexicon, after: Assertion | None
) -> Assertion | None:
    """What a denial leaves there: the other one of two, what nobody saw go or grow, a smaller one.

    after: what the words behind the span say.
    """
    cut = max((m.end() for m in STOPS.finditer(sentence, 0, start)), default=0)
    if after is Assertion.ABSENT:
        parts = words.part_of.finditer(sentence, cut, start)
        if any(_one_phrase(sentence[m.end() : start], words) for m in parts):
            return Assertion.PRESENT  # "one of the two nodules has resolved", "none of the ..."
        behind = words.in_part.search(sentence, end)
        if behind and _SHORT_OF.fullmatch(sentence, end, behind.start()):
            return Assertion.UNCERTAIN  # "effusion in one of the two pleural spaces has resolved"
    for m in words.not_that.finditer(sentence, cut, start):
        if after is Assertion.ABSENT or _is_meant(sentence[m.end() : start], sentence[end:], words):
            return Assertion.UNCERTAIN  # "no evidence that the effusion has resolved"
    doubt = words.not_excluded.search(sentence, end)
    if doubt and FEW.fullmatch(sentence, end, doubt.start()):
        return Assertion.UNCERTAIN  # "no effusion or mass, a small nodule cannot be excluded"
    left = words.left_open.search(sentence, end)
    if left and _SHORT.fullmatch(sentence, end, left.start()):
        return Assertion.UNCERTAIN  # "no central embolism, subsegmental not excluded"
    return None


def _one_phrase(between: str, words: Lexicon) -> bool:
    """Whether a few words lead to a noun: "two left lung", and not "chest tubes removed and"."""
    return _PHRASE.fullmatch(f"{between.strip()} ") is not None and not words.joins.search(between)


def _is_meant(between: str, rest: str, words: Lexicon) -> bool:
    """Whether "no evidence that" speaks of a thing that is there: "the mass has grown", "this
    nodule is malignant"; not "the effusion is present"."""
    known = words.meant.match(between.lstrip())
    if known is None or words.exists.match(rest.lstrip()):
        return False
    lead = between.lstrip()[known.end() :]
    said = words.verbs.search(lead) or words.concepts.search(lead)
    return said is None and FEW.fullmatch(f"{lead.strip()} ") is not None


def _opposed(sentence: str, start: int, end: int, words: Lexicon) -> bool:
    """Whether the span is set against another thing: "X versus Y"."""
    return any(
        (m.start() >= end and not sentence[end : m.start()].strip())
        or (m.end() <= start and FEW.fullmatch(sentence, m.end(), start))
        for m in words.versus.finditer(sentence)
    )


def assertion(sentence: str, start: int, end: int, language: str) -> Assertion | None:
    """What a folded sentence says of its span [start, end)."""
    words = lexicon(language)
    if _unsaid(sentence, start, words):
        return None
    before = _before(sentence, start, end, words)
    after = _after(sentence, end, words)
    if Assertion.ABSENT in (before, after):
        return _after_all(sentence, start, end, words, after) or Assertion.ABSENT
    asked = sentence.lstrip().startswith("?") or "¿" in sentence[:start] or "?" in sentence[end:]
    if asked or _opposed(sentence, start, end, words) or Assertion.UNCERTAIN in (before, after):
        return Assertion.UNCERTAIN
    return Assertion.PRESENT
