"""What stands beside a denied thing without a word that joins them, as it is dictated.

In: a folded sentence, its hits in order, and the place of one that a denial seems to reach. Out:
whether it is told for itself ("no effusion left rib fracture"), or nobody can say ("no effusion
cardiomegaly"). Never: a state of its own; `labeller` puts these over what `assertion` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processors.impressions.lexicon import SCALE, Lexicon, concepts
from processors.impressions.reach import ADJECTIVE

MARK = re.compile(r"[,;:]|\s[-–—]+\s")
# what in English takes another finding's name before its own ("tuberculosis infection"), and whose
_HEADS = frozenset({"consolidation", "infection", "infiltrate", "mass", "nodule", "opacity"})
_LUNG = (
    *("lung_opacity", "lung_lesion", "consolidation", "pneumonia", "edema", "atelectasis"),
    *("tuberculosis", "interstitial_pattern"),
)
_POINT = re.compile(r"(?<=\d)[.,](?=\d)|(?<=\w)-(?=\w)")  # "3.0 cm", "wedge-shaped" are words too
_LEAD = re.compile(r"[\s,;:]*(?:\w+\s+){0,3}")
_DENIALS = frozenset({"absent", "no"})
_SOME = re.compile(r"\w+(?:\s+\w+){0,3}")


@dataclass(frozen=True, slots=True)
class Hit:
    """A concept's place in a sentence; `probe` is the span whose state is asked."""

    concept: str
    start: int
    end: int
    probe: tuple[int, int]
    turned: bool = False  # the probe says that the concept is absent: "normal", "clear"
    doubt: bool = False
    denied: bool = False  # the denial stands within its words: "mediastinum not widened"
    again: bool = False  # meant, not named: its words are all that describes it


def in_rows(folded: str, hits: Sequence[Hit], words: Lexicon) -> Mapping[int, bool]:
    """Whether each hit is denied, where the whole sentence is a row of things each with its word
    behind it, one of them a denial: "effusion absent pneumothorax present". Of any other sentence
    nothing.
    """
    told: dict[int, str] = {}
    position, said = 0, None
    for i, hit in enumerate(hits):
        if hit.turned or hit.again or hit.doubt:
            return {}
        if said is None or hit.start >= position:
            said = words.row.search(folded, hit.end)
            parts = ((position, hit.start), (hit.end, said.start() if said else len(folded)))
            if said is None or not all(_is_bare(folded[a:b], words) for a, b in parts):
                return {}
            position = said.end()
        told[i] = said.lastgroup or ""
    kinds = set(told.values())
    if folded[position:].strip(" .,;") or ("no" in kinds and kinds - {"no", "yes"}):
        return {}  # "opacity no effusion seen" is no row
    return {i: kind in _DENIALS for i, kind in told.items()} if kinds & _DENIALS else {}


def _is_bare(part: str, words: Lexicon) -> bool:
    """Whether these few words neither deny nor doubt nor name a thing."""
    few = _LEAD.fullmatch(f"{part.strip()} ") is not None
    return few and not words.before.search(part) and not words.concepts.search(part)


def _beside_a_list(denied: str, own: str, words: Lexicon) -> bool:
    """Whether what is on both sides stands behind a list of denials that had its "or", or behind a
    single one (in English: named so before its noun): "no pneumothorax or mass, bilateral
    effusions"."""
    side = words.sides.search(own)
    if side is None:
        return False
    clause = re.split(r"[.;:]", denied)[-1]
    begun = max((cue.end() for cue in words.before.finditer(clause)), default=0)
    listed = clause[begun:]  # "no pneumothorax, no mass, ..." are two lists of one
    first = words.language == "es" or not own[: side.start()].strip()
    return ("," not in listed and first) or words.joins.search(listed) is not None


def runs_on(folded: str, hits: Sequence[Hit], i: int, words: Lexicon) -> bool:
    """Whether what a denial seems to reach is told beside what it denies: "no effusion left rib
    fracture". It has a side (behind no comma also a degree) of its own and no list goes on."""
    hit, last = hits[i], hits[i - 1]
    between = folded[last.end : hit.start]
    if hit.turned or _is_denied_itself(folded, hit, words) or hit.start < last.end:
        return False
    one = "," not in between  # "no calcified left hilar adenopathy"
    if one and any(ADJECTIVE.fullmatch(folded, h.start, h.end) for h in (last, hit)):
        return False
    rest = MARK.split(folded[hit.end :])[0]
    cue = words.before.search(rest)
    far = 4 if words.language == "es" else 2  # "en lobulo inferior izquierdo"
    behind = " ".join(rest[: cue.start() if cue else len(rest)].split()[:far])
    own = f"{folded[last.end : hit.end]} {behind}"
    sided = any(m.lastgroup != "both" for m in words.sides.finditer(own))
    gone = any(m.lastgroup == "negated" for m in words.after.finditer(rest))
    ended = words.breaks.search(folded, hit.end)
    stop = min(ended.start() if ended else len(folded), _doubted(folded, hit.end, words))
    listed = words.disjoined.search(folded, hit.end, stop)
    if (
        gone
        or listed
        or words.joins.search(between)
        or words.before.search(between)
        or "/" in between
    ):
        return False
    if MARK.search(between):  # "no pneumothorax, left effusion", "..., bilateral effusions"
        told = f"{MARK.split(between)[-1]}{folded[hit.start : hit.end]} "
        told += " ".join(rest.split()[:3])
        return "," in between and (sided or _beside_a_list(folded[: last.end], told, words))
    return sided or any(m.lastgroup in SCALE for m in words.degrees.finditer(own))


def _is_denied_itself(folded: str, hit: Hit, words: Lexicon) -> bool:
    """Whether what is said of a structure holds its own denial: "the heart is not enlarged"."""
    inside = words.before.finditer(folded, hit.start, hit.probe[0])
    return hit.denied or (not hit.again and any(cue.lastgroup == "negated" for cue in inside))


def _doubted(folded: str, start: int, words: Lexicon) -> int:
    """Where a doubt begins: "no A left B may represent C or D" has its "or" behind it."""
    cues = words.before.finditer(folded, start)
    return next((c.start() for c in cues if c.lastgroup == "uncertain"), len(folded))


def unjoined(folded: str, hits: Sequence[Hit], i: int, words: Lexicon) -> bool:
    """Whether a thing stands right behind a denied one, with no comma and no "or": "no pneumothorax
    cardiomegaly", "no effusion bilateral infiltrates", as dictated. Who is to say whether it is
    denied too?"""
    hit = hits[i]
    last = next((h for h in reversed(hits[:i]) if h.end <= hit.start), None)
    if last is None or last.turned or hit.turned or _is_denied_itself(folded, hit, words):
        return False
    described = last if words.language == "en" else hit  # where adjectives stand
    if ADJECTIVE.fullmatch(folded, described.start, described.end):
        return False
    if _listed(folded, hit, words):
        return False
    between = _POINT.sub("", folded[last.end : hit.start].strip())
    if between:
        tied = words.ties.search(between) or words.verbs.fullmatch(between)
        own = _SOME.fullmatch(between) is not None and not tied
        return own and words.before.search(between) is None
    behind = " ".join(folded[hit.end :].split()[:2])
    told = words.sides.search(behind) or words.closing.search(behind)
    part = concepts()[last.concept].finding in _LUNG or last.concept in _LUNG
    head = words.language == "en" and hit.concept in _HEADS and part and not told
    return hit.concept != last.concept and not head


def describes(folded: str, hits: Sequence[Hit], i: int, words: Lexicon) -> bool:
    """Whether the thing before is an adjective of this one: "calcified granuloma"."""
    last = hits[i - 1]
    beside = not folded[last.end : hits[i].start].strip()
    return (
        words.language == "en"
        and beside
        and bool(ADJECTIVE.fullmatch(folded, last.start, last.end))
    )


def _listed(folded: str, hit: Hit, words: Lexicon) -> bool:
    """Whether a list goes on behind it, or it is itself denied there."""
    rest = MARK.split(folded[hit.end :])[0]
    gone = any(m.lastgroup == "negated" for m in words.after.finditer(rest))
    joined = words.joins.finditer(rest, 0, _doubted(rest, 0, words))
    return gone or any(
        words.disjoined.fullmatch(m[0]) or words.concepts.search(rest, m.end()) for m in joined
    )
