"""How much two texts share, word by word: what the choice of a draft is trained on and looks at.

In: texts. Out: words without accents, and F1 of shared words, of shared pairs and of the longest
common sequence (as ROUGE-1, -2 and -L count them, with plurals cut instead of stemmed, so that
English and Spanish count alike). Never: a published figure; that is for the package rouge-score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from processors.impressions.text import fold

_WORD = re.compile(r"[a-z0-9]+")
_LIST_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)](?=\s+\D|$)")
_SHORTEST = 4  # letters from which a word of its own content counts, and a plural is cut


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The words of a text in order, singular, without list numbers and masks."""
    return tuple(_singular(w) for w in _WORD.findall(_LIST_NUMBER.sub(" ", fold(text))))


@lru_cache(maxsize=4096)
def content(text: str) -> frozenset[str]:
    """The words of a text that are long enough to mean something by themselves."""
    return frozenset(w for w in words(text) if len(w) >= _SHORTEST)


def _singular(word: str) -> str:
    if len(word) < _SHORTEST or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word.removesuffix("s")


def f1(ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, float, float]:
    """F1, 0..1, of words, of pairs of words, and of the longest common sequence."""
    return (
        _shared(ours, theirs),
        _shared(list(pairwise(ours)), list(pairwise(theirs))),
        _ratio(_longest(ours, theirs), len(ours), len(theirs)),
    )


@lru_cache(maxsize=65536)
def _counted(text: str) -> tuple[Counter[object], Counter[object]]:
    found = words(text)
    return Counter(found), Counter(pairwise(found))


def shared(ours: str, theirs: str) -> float:
    """Mean F1 of the words and of the pairs of words of two texts, 0..1; quick for many texts."""
    both = zip(_counted(ours), _counted(theirs), strict=True)
    return sum(_ratio((a & b).total(), a.total(), b.total()) for a, b in both) / 2


def _shared(ours: Sequence[object], theirs: Sequence[object]) -> float:
    common = sum((Counter(ours) & Counter(theirs)).values())
    return _ratio(common, len(ours), len(theirs))


def _ratio(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def _longest(ours: Sequence[str], theirs: Sequence[str]) -> int:
    row = [0] * (len(theirs) + 1)
    for word in ours:
        corner = 0
        for i, other in enumerate(theirs, 1):
            above = row[i]
            row[i] = corner + 1 if word == other else max(above, row[i - 1])
            corner = above
    return row[-1]
