"""How good drafts are, with intervals: by words, by findings, by what they leave out.

In: pairs with their impressions, the drafts. Out: Figures of all and of the reports whose
impression is new and asserts a finding, each with a 95 % interval (bootstrap over groups of near
duplicates). Words are counted by `overlap`, findings read by our labeller: an independent judge may
see it otherwise. Never: a figure chosen among several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.impressions.assertion import Assertion
from processors.impressions.corpus import Pair
from processors.impressions.drafting import Request
from processors.impressions.labeller import read
from processors.impressions.overlap import f1, words
from processors.impressions.statements import case, fourteen

HARD = "new impression with a finding"
_DRAWS = 1000
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A share or mean with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured on so many reports; by name."""

    reports: int
    values: dict[str, Figure]


_MEASURES: dict[str, Callable[[Table], Table]] = {
    "words": lambda t: t[..., 0] / t[..., 3],
    "pairs of words": lambda t: t[..., 1] / t[..., 3],
    "longest sequence": lambda t: t[..., 2] / t[..., 3],
    "finding F1": lambda t: _share(2 * t[..., 4], 2 * t[..., 4] + t[..., 5] + t[..., 6]),
    "unsupported findings": lambda t: _share(t[..., 7], t[..., 4] + t[..., 5]),
    "false normals": lambda t: _share(t[..., 9], t[..., 8]),
    "certain critical finding left out": lambda t: _share(t[..., 11], t[..., 10]),
}


def figures(pairs: Sequence[Pair], drafts: Sequence[str]) -> Figures:
    """The figures of drafts, one for each pair."""
    rows = np.array([_counts(p, d) for p, d in zip(pairs, drafts, strict=True)], float)
    groups: dict[str, int] = {}
    place = [groups.setdefault(p.group or f"uid {p.uid}", len(groups)) for p in pairs]
    sums = np.zeros((len(groups), rows.shape[1]))
    np.add.at(sums, place, rows)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=_DRAWS)
    drawn = times @ sums
    found = {}
    for name, measure in _MEASURES.items():
        low, high = np.percentile(measure(drawn), [2.5, 97.5])
        found[name] = Figure(float(measure(sums.sum(0))), float(low), float(high))
    return Figures(len(pairs), found)


def hard(pairs: Sequence[Pair], known: Collection[tuple[str, ...]]) -> NDArray[np.bool_]:
    """Which impressions assert a finding and are none of the known ones (`overlap.words`)."""
    return np.array(
        [
            words(p.impression) not in known and bool(fourteen(read(p.impression, p.language)))
            for p in pairs
        ],
        bool,
    )


def by_group(
    pairs: Sequence[Pair], drafts: Sequence[str], learned: Sequence[Pair] = ()
) -> dict[str, dict[str, Any]]:
    """Figures of all, and of those whose impression asserts a finding and is new: unlike any of
    those learnt from or, without these, standing once. A group without a report is left out."""
    times = Counter(words(p.impression) for p in learned or pairs)
    known = {text for text, n in times.items() if learned or n > 1}
    rows = np.flatnonzero(hard(pairs, known)).tolist()
    found = {"all": figures(pairs, drafts)}
    if rows:
        found[HARD] = figures([pairs[i] for i in rows], [drafts[i] for i in rows])
    return {group: asdict(each) for group, each in found.items()}


def _counts(pair: Pair, draft: str) -> list[float]:
    found = case(Request(pair.findings, pair.language, pair.indication))
    said = read(draft, pair.language)
    ours, theirs = fourteen(said), fourteen(read(pair.impression, pair.language))
    source = fourteen([m for s in found.statements for m in s.mentions])
    certain = [m for m in found.critical if m.state is Assertion.PRESENT]
    named = {m.concept for m in said} | {m.finding for m in said}
    left = [m for m in certain if m.concept not in named and m.finding not in named]
    return [
        *f1(words(draft), words(pair.impression)),
        1.0,
        len(ours & theirs),
        len(ours - theirs),
        len(theirs - ours),
        len(ours - theirs - source),
        float(bool(theirs)),
        float(bool(theirs) and not ours),
        float(bool(certain)),
        float(bool(left)),
    ]


def _share(part: Table, whole: Table) -> Table:
    share: Table = np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0)
    return share
