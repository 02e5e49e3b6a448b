"""How far a cue in front of a span reaches: lists, commas, degrees, and what is denied of a thing.

In: a folded sentence, a cue and a span of it. Out: whether the cue still speaks of the span: "no A,
B or C" does of all three, "no A or B, C" of two, "no A seen, B" and "removal of A, B" of one; "no
calcification of the nodule" does not deny the nodule. Never: a state; that is for `assertion`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from processors.impressions.lexicon import SCALE, Lexicon, lexicon

STOPS = re.compile(r"[;:]|\.\s|\s[-–—]+\s")
FEW = re.compile(r"\s*(?:\w+\s+){0,2}")
_PLACE = re.compile(r"\s+(?:\w+\s+){0,3}")
_AFTER_COMMA = re.compile(r",\s*(?:and |y |e )?$")
# by its ending; "infiltrado" names a thing
ADJECTIVE = re.compile(
    r"(?!infiltrad)\w+(?:ed|ar|ic|al|ous|ant|ive|ary|ad[oa]s?|ic[oa]s?|os[oa]s?)"
)
_WORD = re.compile(r"\w+")
_FAR = 80  # characters before a verb in which the thing stands that it speaks of
_NEAR = 25  # characters behind a span in which its side stands


@lru_cache(maxsize=256)
def cues(sentence: str, language: str) -> tuple[tuple[int, int, str], ...]:
    """Cues that reach forward: start, end, class; in order."""
    found = lexicon(language).before.finditer(sentence)
    return tuple((m.start(), m.end(), m.lastgroup or "") for m in found)


def is_blocked(sentence: str, begin: int, start: int, end: int, words: Lexicon, cue: str) -> bool:
    """Whether a comma or an "and" between a cue and the span ends the cue's reach."""
    between = sentence[begin:start]
    comma = between.rfind(",")
    either = words.either.search(between)
    item = between[comma + 1 :] if comma >= 0 else ""
    rest = sentence[begin:]
    ended = words.breaks.search(rest, start - begin)
    clause = STOPS.split(rest[: ended.start() if ended else len(rest)])[0]
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
        return not words.disjoined.fullmatch(joined[-1][0]) and (
            _graded(item, "", words) or _described(sentence[end:], words)
        )
    listed = words.disjoined.search(rest, comma + 1, ended.start() if ended else len(rest))
    return not listed and (
        _graded(item, sentence[end : end + 20], words)
        or _sided(sentence, end, words)
        or _sized(item, sentence[end : end + _NEAR], words)
        or words.articles.match(item.lstrip()) is not None
    )


def is_over(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
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


def is_whole(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
    """Whether a denial had its own verb in front of the span: "no A seen, B", "no A is seen B"."""
    between = sentence[cue[1] : start]
    for verb in words.closing.finditer(between):
        behind = between[verb.end() :].lstrip()
        tied = words.ties.match(behind) or words.disjoined.search(behind)
        ahead = between[: verb.start()].rstrip()
        told = behind.startswith(",") or words.concepts.search(ahead)
        if told and not tied and not _ends_joined(ahead, words):  # "no A or identified B"
            return not _goes_on(sentence, end, words)
    return False


def is_loose(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
    """Whether the span is the second of two things that no "or" joins, and more is said of it, or
    the first is no finding that stands in such lists: "no A, B under the diaphragm", "no
    obstruction, B". What has a side of its own is told apart elsewhere (`labeller`).
    """
    rest = STOPS.split(sentence[cue[1] :])[0].rstrip(" .")
    ended = words.breaks.search(rest, end - cue[1])
    listed = rest[: ended.start() if ended else len(rest)]
    first, _, second = listed.partition(",")
    if not first or "," in second or cue[1] + len(first) >= start or words.joins.search(listed):
        return False
    own = sentence[cue[1] + len(first) + 1 : start], sentence[end : cue[1] + len(listed)]
    beside = " ".join((own[0], *own[1].split()[:2]))
    if words.sides.search(beside) and words.concepts.search(first):
        return False
    if not words.qualities.sub("", first).strip():
        return False  # "no acute, displaced fracture"
    if words.limits.search(own[1]) and words.units.search(own[1]):
        return False  # "no effusion, nodules larger than 4 mm"
    if any(words.qualities.sub("", part).strip() for part in own):
        return True
    described = words.degrees.fullmatch(first.strip()) or ADJECTIVE.fullmatch(first.split()[-1])
    return not described and words.concepts.search(first) is None


def is_beyond(sentence: str, cue: tuple[int, int], start: int, words: Lexicon) -> bool:
    """Whether the span stands behind the comma of a denial of one thing: "resolved A, new B"."""
    if words.brief.fullmatch(sentence, *cue) is None or "," not in sentence[cue[1] : start]:
        return False
    rest = STOPS.split(sentence[cue[1] :])[0]
    return words.joins.search(rest) is None


def is_of_before(sentence: str, begin: int, stop: int, start: int, words: Lexicon) -> bool:
    """Whether a verb of going speaks of the thing right before it: "pneumothorax resolved effusion
    stable"; not with an article behind it: "derrame estable, se ha resuelto el neumotorax"."""
    if words.gone.fullmatch(sentence, begin, stop) is None or "," in sentence[stop : start + 1]:
        return False
    if words.meant.match(sentence[stop:].lstrip()):
        return False
    named = [m.end() for m in words.concepts.finditer(sentence, max(0, begin - _FAR), begin)]
    return bool(named) and not words.sides.sub("", sentence[named[-1] : begin]).strip()


def _goes_on(sentence: str, end: int, words: Lexicon) -> bool:
    """Whether a list has its "or" behind the span."""
    ended = words.breaks.search(sentence, end)
    return (
        words.disjoined.search(sentence, end, ended.start() if ended else len(sentence)) is not None
    )


def has_none_of_its_own(
    sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon
) -> bool:
    """Whether each denied item has its own "no", and the span has none: "no A, no B, C"."""
    between = sentence[cue[1] : start]
    if "," not in between or words.disjoined.search(between, between.rfind(",")):
        return False
    comma = _AFTER_COMMA.search(sentence, 0, cue[0])
    if comma is None or _goes_on(sentence, end, words):
        return False
    every = cues(sentence, words.language)
    return any(kind == "negated" and stop <= comma.start() for _, stop, kind in every)


def _lasts(rest: str, words: Lexicon) -> bool:
    """Whether a span is said to be there by the words right behind it."""
    verb = words.lasting.search(rest)
    if verb is None or words.joins.search(rest, 0, verb.start()):
        return False
    return FEW.fullmatch(f"{rest[: verb.start()].strip()} ") is not None


def _graded(item: str, rest: str, words: Lexicon) -> bool:
    """Whether an item of a list has a degree or an age of its own, which things denied have not."""
    after = re.match(r"\s+(\w+)", rest)
    return any(
        m.lastgroup in SCALE
        for piece in (item, after[1] if after else "")
        for m in words.degrees.finditer(piece)
    ) or bool(words.lasts.match(item.lstrip()))


def _described(rest: str, words: Lexicon) -> bool:
    """Whether in Spanish a degree or an age stands behind the span, where adjectives do: "sin
    derrame y fracturas costales antiguas"."""
    if words.language != "es":
        return False
    first, second = (*_WORD.findall(rest.partition(",")[0])[:2], "", "")[:2]
    told = [first] if words.ties.fullmatch(first) else [first, second]
    return any(
        words.lasts.fullmatch(word)
        or any(m.lastgroup in SCALE for m in words.degrees.finditer(word))
        for word in told
    )


def _sided(sentence: str, end: int, words: Lexicon) -> bool:
    """Whether the span has a side of its own behind it, which things denied seldom have."""
    side = words.sides.search(sentence, end)
    if side is None or side.lastgroup == "both":
        return False
    return (
        _PLACE.fullmatch(sentence, end, side.start()) is not None
        and words.joins.search(sentence, end, side.start()) is None
    )


def is_annexed(sentence: str, cue: tuple[int, int], start: int, end: int, words: Lexicon) -> bool:
    """Whether an "and" leads to the span, which has words of its own: "no A and old B"."""
    between = sentence[cue[1] : start]
    joined = list(words.joins.finditer(between))
    if (
        not joined
        or words.disjoined.fullmatch(joined[-1][0])
        or words.brief.fullmatch(sentence, *cue)
    ):
        return False
    own = words.qualities.sub("", between[joined[-1].end() :]).strip()
    tied = words.ties.match(own) or words.that.search(own) or own.startswith(",")
    return bool(own) and not tied and not _goes_on(sentence, end, words)


def is_measured(between: str, words: Lexicon) -> bool:
    """Whether a size stands in front of a span, which things denied do not have: "no A 3 cm B"."""
    return not words.limits.search(between) and _sized(between, "", words)


def _sized(item: str, rest: str, words: Lexicon) -> bool:
    """Whether an item of a list was measured, which things denied were not."""
    behind = STOPS.split(rest)[0].partition(",")[0]
    sizes = (m for piece in (item, behind) for m in words.units.finditer(piece))
    return any(
        m.lastgroup in ("mm", "cm") and not words.limits.search(m.string, 0, m.start())
        for m in sizes
    )


def is_presupposed(sentence: str, stop: int, start: int, words: Lexicon) -> bool:
    """Whether a denial is of something else about the span: "no calcification of the nodule"."""
    between = sentence[stop:start]
    for m in words.about.finditer(between):
        if not between[m.end() :].strip():
            other = between[: m.start()].strip()
            parallel = other.endswith(",") or _ends_joined(other, words)  # "of A and of the B"
            return (
                bool(other)
                and "(" not in other
                and not parallel
                and words.trace.fullmatch(other) is None
            )
    return False


def _ends_joined(text: str, words: Lexicon) -> bool:
    return any(m.end() == len(text) for m in words.joins.finditer(text))


def is_spoken_for(sentence: str, begin: int, stop: int, start: int, words: Lexicon) -> bool:
    """Whether what is lacking is a sign of the span: "lack of lung markings suggests ..."."""
    between = sentence[stop:start]
    known = words.signs.match(between.lstrip()) is not None
    if not known and words.lacking.fullmatch(sentence, begin, stop) is None:
        return False
    read_so = (
        m
        for m in words.reading.finditer(between)
        if known or between[: m.start()].rstrip()[-1:] == ","
    )
    says = (*words.speaks.finditer(between), *read_so)
    said = next((m for m in says if FEW.fullmatch(f"{between[m.end() :].strip()} ")), None)
    if said is None:
        return False
    sign = between[: said.start()].strip(" ,")
    return bool(sign) and words.trace.fullmatch(sign) is None
