"""The numbers of a text, each with what it counts, and which of a draft's stand nowhere.

In: folded text. Out: Numbers: lengths (mm), times, levels of the spine, ordinals (ribs), counts.
Never: the number of a list item, a date, a number without a kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from processors.impressions.lexicon import Lexicon

_LEVEL = re.compile(r"(?<!\w)([tdlc])\s?-?(\d{1,2})(?!\w)")
_NTH = re.compile(
    r"(?<!\w)(\d{1,2})(?:st|nd|rd|th|[oaº°])(?!\w)"
    r"|(?<!\w)(?:ribs?|costillas?|arcos?(?: costal(?:es)?)?) (\d{1,2})(?!\w)"
)
_TIMES = ("day", "week", "month", "year")


@dataclass(frozen=True, slots=True, order=True)
class Number:
    """kind: length (mm), day, week, month, year, percent, level-x, ordinal or count."""

    kind: str
    value: float
    text: str = field(compare=False)


def read(folded: str, words: Lexicon) -> frozenset[Number]:
    """Every number of a folded text that has a kind."""
    found = set()
    for m in words.units.finditer(folded):
        unit = m.lastgroup or ""
        factor = {"mm": 1.0, "cm": 10.0}.get(unit)
        for part in (m["value"], m["second"], m["third"]):
            if part:
                value = float(part.replace(",", "."))
                kind = "length" if factor else unit
                found.add(Number(kind, round(value * (factor or 1.0), 2), m[0].strip()))
    for m in _LEVEL.finditer(folded):
        region = {"d": "t"}.get(m[1], m[1])
        found.add(Number(f"level-{region}", float(m[2]), m[0]))
    found |= {Number("ordinal", float(m[1] or m[2]), m[0]) for m in _NTH.finditer(folded)}
    for kind, pattern in (("ordinal", words.ordinals), ("count", words.cardinals)):
        for m in pattern.finditer(folded):
            found.add(Number(kind, float((m.lastgroup or "n0")[1:]), m[0]))
    return frozenset(found)


def strange(said: frozenset[Number], known: frozenset[Number]) -> set[Number]:
    """Numbers of a draft that the findings do not hold.

    Times and counts are strange only beside others of their kind: a draft may advise a control in
    three months, and count what the findings list.
    """
    kinds = {number.kind for number in known}
    free = (*_TIMES, "count", "percent")
    return {n for n in said - known if n.kind not in free or n.kind in kinds}
