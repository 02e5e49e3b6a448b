"""How near a draft's words are to the radiologist's, and how sure that figure is.

In: texts; near-duplicate groups. Out: ROUGE-1, -2, -L and -Lsum (F1, 0..1), their distribution,
95 % intervals by percentile bootstrap over groups. Masks of de-identification and list numbers are
taken out on both sides first, so that numbering a draft neither helps nor harms. Pure.
Never: a judgement of what is said; a swapped side leaves ROUGE-1 above .9.
Sources: Lin, ROUGE, 2004 (package rouge-score); Efron & Tibshirani 1993, chapters 8 and 13.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ROUNDS = 2000
Numbers = NDArray[np.float64]

_MASK = re.compile(r"\b[Xx]{3,}\b")
_HANGING = re.compile(r"\s+([.,;:])")
_REPEATED = re.compile(r"([.,;:])(?:\s*[.,;:])+")
_LIST_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)]\s+(?=[A-Za-zÁÉÍÓÚÑáéíóúñ¿])")
_END = re.compile(r"\n|(?<=[.!?;])\s+(?=[A-Z0-9ÁÉÍÓÚÑ¿])")
_WORD = re.compile(r"\w+")


def unmask(text: str) -> str:
    """The text without masks (XXXX) and the punctuation that they leave hanging."""
    text = _HANGING.sub(r"\1", _MASK.sub(" ", text))
    return re.sub(r"\s+", " ", _REPEATED.sub(r"\1", text)).strip(" ,;:-")


def sentences(text: str) -> list[str]:
    """Sentences without their list numbers; a decimal point ends none.

    Unlike `processors.impressions.text` it also cuts at semicolons, as the figures of other
    authors do.
    """
    parts = _END.split(_LIST_NUMBER.sub("\n", text))
    return [part.strip() for part in parts if any(char.isalpha() for char in part)]


class _Spanish:
    """Tokens for rouge-score, whose own drops letters with accents: Snowball's stems."""

    def __init__(self) -> None:
        from nltk.stem.snowball import SnowballStemmer

        self._stemmer = SnowballStemmer("spanish")

    def tokenize(self, text: str) -> list[str]:
        return [self._stemmer.stem(word) for word in _WORD.findall(text.lower())]


@lru_cache
def _scorer(language: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    if language == "en":
        return RougeScorer(list(KINDS), use_stemmer=True)
    return RougeScorer(list(KINDS), tokenizer=_Spanish())


@lru_cache(maxsize=1 << 16)
def rouge(draft: str, reference: str, language: str = "en") -> tuple[float, ...]:
    """F1 of each of KINDS, in their order; an empty draft scores 0."""
    draft, reference = unmask(draft), unmask(reference)
    found = _scorer(language).score(
        "\n".join(sentences(reference)) or reference, "\n".join(sentences(draft)) or draft
    )
    return tuple(float(found[kind].fmeasure) for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each report is drawn when whole groups are drawn with replacement.

    counts: (rounds, reports).
    """

    counts: Numbers

    def interval(self, values: Numbers) -> tuple[float, float]:
        """The 95 % interval of the mean of `values` (reports,)."""
        means = self.counts @ values / self.counts.sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        return float(low), float(high)

    def sums(self, counts: Numbers) -> Numbers:
        """Sums over the drawn reports: (reports, k) in, (rounds, k) out."""
        return np.asarray(self.counts @ counts, dtype=np.float64)


def draws(groups: Sequence[str], generator: np.random.Generator, rounds: int = ROUNDS) -> Draws:
    """Bootstrap by near-duplicate group: reports of one text are no independent witnesses."""
    index = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    times = generator.multinomial(len(index), np.full(len(index), 1 / len(index)), size=rounds)
    return Draws(times[:, [index[group] for group in groups]].astype(np.float64))


def distribution(values: Numbers, drawn: Draws) -> dict[str, float]:
    """Count, mean with its interval, standard deviation (of the reports, n in the denominator),
    minimum, quartiles and maximum."""
    low, high = drawn.interval(values)
    least, first, median, third, most = np.percentile(values, [0, 25, 50, 75, 100])
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "low": low,
        "high": high,
        "std": float(values.std()),
        "min": float(least),
        "q1": float(first),
        "median": float(median),
        "q3": float(third),
        "max": float(most),
    }


def difference(ours: Numbers, theirs: Numbers, drawn: Draws) -> dict[str, float]:
    """Mean paired difference over the same reports, with its interval."""
    low, high = drawn.interval(ours - theirs)
    return {"mean": float((ours - theirs).mean()), "low": low, "high": high}
