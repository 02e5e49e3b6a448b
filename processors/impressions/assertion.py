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
from functools import lru_cache

from processors.impressions.lexicon import Lexicon, lexicon

_STOPS = re.compile(r"[;:]|\.\s")
_COMMA = re.compile(r"[,;.]")
_ITEMS = re.compile(r"(?:\s*,\s*\w+(?: \w+){0,2})+\s+")  # ", B, C " of "A, B, C and D are ..."
_WORDS = re.compile(r"\s*(?:\w+\s+){0,2}")
_PHRASE = re.compile(r"\s*(?:\w+\s+){0,4}")
_SHORT = re.compile(r"(?: \w+){0,8} *[,;] *(?:\w+ )?")
_PLACE = re.compile(r"\s+(?:(?:en|in|on|at|of|de|del) )?(?:(?:the|el|la) )?(?:(?:base|lobulo) )?")
_AFTER_COMMA = re.compile(r",\s*(?:and |y |e )?$")
_SHORT_OF = re.compile(r"(?: \w+){0,8} ")
_NEAR = 25  # characters behind a span in which its side stands
_TAIL_WORDS = 3  # words after "no se observa" that still leave it speaking of what stood before it


class Assertion(StrEnum):
    """What a sentence says of a finding now."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"


ASSERTED = (Assertion.PRESENT, Assertion.UNCERTAIN)


@lru_cache(maxsize=256)
def _cues(sentence: str, language: str) -> tuple[tuple[int, int, str], ...]:
    """Cues that reach forward: start, end, class; in order."""
    found = lexicon(language).before.finditer(sentence)
    return tuple((m.start(), m.end(), m.lastgroup or "") for m in found)


def _blocked(sentence: str, begin: int, start: int, end: int, words: Lexicon, cue: str) -> bool:
    """Whether a comma or an "and" between a cue and the span ends the cue's reach."""
    between = sentence[begin:start]
    comma = between.rfind(",")
    either = words.either.search(between)
    item = between[comma + 1 :] if comma >= 0 else ""
    rest = sentence[begin:]
    ended = words.breaks.search(rest, start - begin)
    clause = _STOPS.split(rest[: ended.start() if ended else len(rest)])[0]
    if cue == "uncertain":
        through = sentence[begin + comma + 1 : end]
        listed = either or words.disjoined.search(clause, max(0, end - begin))
        return comma >= 0 and (
            listed is None or bool(words.verbs.search(item) or words.causes.search(through))
        )
    if comma >= 0 and words.verbs.search(item):
        return True
    if comma >= 0 and not words.disjoined.search(between) and _lasts(sentence[end:], words):
        return True
    joined = list(words.joins.finditer(between))
    if comma < 0:
        if not joined:
            return False
        item = between[joined[-1].end() :]
        return not words.disjoined.fullmatch(joined[-1][0]) and _graded(item, "", words)
    listed = words.disjoined.search(rest, comma + 1, ended.start() if ended else len(rest))
    return not listed and (
        _graded(item, sentence[end : end + 20], words) or _sided(sentence, end, words)
    )


def _over(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
    """Whether a list of denials had its "or" before the span: "no A or B, C", "no A or B and C".

    What has a side of its own is told apart elsewhere (`labeller`).
    """
    between = sentence[cue[1] : start]
    every = list(words.joins.finditer(between))
    last = max((m.start() for m in every if words.disjoined.fullmatch(m[0])), default=-1)
    if last < 0 and words.disjoined.fullmatch(sentence, *cue) is None:
        return False
    comma = between.rfind(",")
    if not (comma > last or any(m.start() > last for m in every)):
        return False
    sided = words.sides.search(sentence, cue[1] + max(comma, last), end + _NEAR)
    return sided is None and not _goes_on(sentence, end, words)


def _goes_on(sentence: str, end: int, words: Lexicon) -> bool:
    """Whether a list has its "or" behind the span."""
    ended = words.breaks.search(sentence, end)
    return (
        words.disjoined.search(sentence, end, ended.start() if ended else len(sentence)) is not None
    )


def _own_cues(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
    """Whether each denied item has its own "no", and the span has none: "no A, no B, C"."""
    between = sentence[cue[1] : start]
    if "," not in between or words.disjoined.search(between, between.rfind(",")):
        return False
    comma = _AFTER_COMMA.search(sentence, 0, cue[0])
    if comma is None or _goes_on(sentence, end, words):
        return False
    cues = _cues(sentence, words.language)
    return any(kind == "negated" and stop <= comma.start() for _, stop, kind in cues)


def _lasts(rest: str, words: Lexicon) -> bool:
    """Whether a span is said to be there by the words right behind it."""
    verb = words.lasting.search(rest)
    if verb is None or words.joins.search(rest, 0, verb.start()):
        return False
    return _WORDS.fullmatch(f"{rest[: verb.start()].strip()} ") is not None


def _graded(item: str, rest: str, words: Lexicon) -> bool:
    """Whether an item of a list has a degree or an age of its own, which things denied have not."""
    after = re.match(r"\s+(\w+)", rest)
    return any(
        m.lastgroup in ("mild", "moderate", "severe")
        for piece in (item, after[1] if after else "")
        for m in words.degrees.finditer(piece)
    ) or bool(words.lasts.match(item.lstrip()))


def _sided(sentence: str, end: int, words: Lexicon) -> bool:
    """Whether the span has a side of its own behind it, which things denied seldom have."""
    lead = _PLACE.match(sentence, end)
    side = words.sides.match(sentence, lead.end()) if lead else None
    return side is not None and side.lastgroup != "both"


def _before(sentence: str, start: int, end: int, words: Lexicon) -> Assertion:
    cut = max((m.end() for m in _STOPS.finditer(sentence, 0, start)), default=0)
    every = _cues(sentence, words.language)
    cues = [cue for cue in every if cue[1] <= start]
    if any(kind == "pseudo" and begin < start < stop for begin, stop, kind in every):
        return Assertion.ABSENT  # "no change": denies the change, though not what did not change
    hedge, instead = False, False
    for begin, stop, kind in reversed(cues):
        if kind in ("pseudo", "passive", "hypothetical", "history"):
            continue
        if kind == "brk" or stop <= cut:
            break
        if sentence[begin:stop] == "non" and sentence[stop:start].strip(" -"):
            continue  # "no non-displaced fracture"
        if _blocked(sentence, stop, start, end, words, kind):
            if kind == "negated":
                break
            continue
        if kind == "negated" and (
            _presupposed(sentence, stop, start, words)
            or _own_cues(sentence, (begin, stop), start, end, words)
        ):
            break
        if kind == "negated" and _over(sentence, (begin, stop), start, end, words):
            return Assertion.UNCERTAIN
        if kind == "negated" and _spoken_for(sentence, begin, stop, start, words):
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


def _presupposed(sentence: str, stop: int, start: int, words: Lexicon) -> bool:
    """Whether a denial is of something else about the span: "no calcification of the nodule"."""
    between = sentence[stop:start]
    for m in words.about.finditer(between):
        if not between[m.end() :].strip():
            other = between[: m.start()].strip()
            return bool(other) and "(" not in other and words.trace.fullmatch(other) is None
    return False


def _spoken_for(sentence: str, begin: int, stop: int, start: int, words: Lexicon) -> bool:
    """Whether what is lacking is a sign of the span: "lack of lung markings suggests ..."."""
    if words.lacking.fullmatch(sentence, begin, stop) is None:
        return False
    between = sentence[stop:start]
    after_comma = (
        m for m in words.reading.finditer(between) if between[: m.start()].rstrip()[-1:] == ","
    )
    says = (*words.speaks.finditer(between), *after_comma)
    said = next((m for m in says if _WORDS.fullmatch(f"{between[m.end() :].strip()} ")), None)
    if said is None:
        return False
    sign = between[: said.start()].strip(" ,")
    return bool(sign) and words.trace.fullmatch(sign) is None


def _unsaid(sentence: str, start: int, words: Lexicon) -> bool:
    """Whether the span is history or a condition; reaching over no break (history: no comma)."""
    for _, stop, kind in reversed(_cues(sentence, words.language)):
        if stop > start:
            continue
        if kind == "brk":
            return False
        if kind == "hypothetical" or (kind == "history" and "," not in sentence[stop:start]):
            return True
    return False


def _after(sentence: str, end: int, words: Lexicon) -> Assertion | None:
    rest = sentence[end:]
    items = _ITEMS.match(rest)
    listed = items and words.joins.match(rest, items.end())
    stop = _COMMA.search(rest, listed.end() if listed else 0)
    broken = words.breaks.search(rest)
    clause = rest[: min(m.start() if m else len(rest) for m in (stop, broken))].lstrip()
    for cue in words.after.finditer(clause):
        if cue.lastgroup == "pseudo":
            return None
        tail = len(re.findall(r"\w+", clause[cue.end() :]))
        turns = words.before.match(clause, cue.start()) is not None
        if words.language == "es" and turns and tail > _TAIL_WORDS:
            return None
        return Assertion.ABSENT if cue.lastgroup == "negated" else Assertion.UNCERTAIN
    return None


def _after_all(
    sentence: str, start: int, end: int, words: Lexicon, after: Assertion | None
) -> Assertion | None:
    """What a denial leaves there: the other one of two, what nobody saw go or grow, a smaller one.

    after: what the words behind the span say.
    """
    cut = max((m.end() for m in _STOPS.finditer(sentence, 0, start)), default=0)
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
    if doubt and _WORDS.fullmatch(sentence, end, doubt.start()):
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
    return said is None and _WORDS.fullmatch(f"{lead.strip()} ") is not None


def _opposed(sentence: str, start: int, end: int, words: Lexicon) -> bool:
    """Whether the span is set against another thing: "X versus Y"."""
    return any(
        (m.start() >= end and not sentence[end : m.start()].strip())
        or (m.end() <= start and _WORDS.fullmatch(sentence, m.end(), start))
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
