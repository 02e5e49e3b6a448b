"""Numbers that say how good a set of scores is, each with its 95 % interval.

Intervals: bootstrap over patients, not over images, because the films of one patient are alike
(Efron & Tibshirani 1993, chapter 13). Pure: scores and labels in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def record(self) -> dict[str, float]:
        return {k: round(getattr(self, k), 4) for k in ("value", "low", "high")}


def _draws(patients: Sequence[str], rounds: int) -> list[NDArray[np.intp]]:
    generator = np.random.default_rng(0)
    _, group = np.unique(np.array(patients), return_inverse=True)
    members = [np.flatnonzero(group == k) for k in range(group.max() + 1)]
    sizes = len(members)
    return [
        np.concatenate([members[k] for k in generator.integers(0, sizes, sizes)])
        for _ in range(rounds)
    ]


def estimate(
    number: Callable[[NDArray[np.intp]], float],
    patients: Sequence[str],
    labels: Labels | None = None,
) -> Estimate:
    """A statistic of chosen films with its interval; labels, of a statistic that needs both
    classes: draws with one alone are left out."""
    draws = _draws(patients, ROUNDS)
    if labels is not None:
        draws = [d for d in draws if 0 < labels[d].mean() < 1]
    found = [number(d) for d in draws]
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(number(np.arange(len(patients))), float(low), float(high))


def share(values: NDArray[np.bool_], patients: Sequence[str]) -> Estimate:
    """Part of the films that are so, by patient. Where all are, or none, every draw says the same:
    then the exact interval of as many patients (Clopper & Pearson, Biometrika 26:404, 1934)."""
    found = estimate(lambda i: float(values[i].mean()), patients)
    if 0 < found.value < 1:
        return found
    sure = 1 - 0.025 ** (1 / len(set(patients)))
    return Estimate(0, 0, sure) if found.value == 0 else Estimate(1, 1 - sure, 1)


def area(labels: Labels, scores: Numbers) -> float:
    """AUC by ranks (Mann-Whitney), ties counted half; each class must occur."""
    ill = labels == 1
    positive = int(ill.sum())
    ranks = float(rankdata(scores)[ill].sum()) - positive * (positive + 1) / 2
    return ranks / (positive * (len(labels) - positive))


def auc(labels: Labels, scores: Numbers, patients: Sequence[str]) -> Estimate:
    """Area under the ROC curve."""
    return estimate(lambda i: area(labels[i], scores[i]), patients, labels)


def auc_gain(labels: Labels, ours: Numbers, theirs: Numbers, patients: Sequence[str]) -> Estimate:
    """Paired difference of two AUCs on the same films."""

    def gain(i: NDArray[np.intp]) -> float:
        return area(labels[i], ours[i]) - area(labels[i], theirs[i])

    return estimate(gain, patients, labels)


def calibration_error(labels: Labels, probabilities: Numbers, bins: int = 10) -> float:
    """Expected calibration error over bins with equally many films.

    Source: Naeini et al., AAAI 2015; equal-mass bins: Nixon et al., CVPR workshops 2019.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(labels[p].mean() - probabilities[p].mean()) * len(p) for p in parts if len(p)]
    return float(sum(gaps) / len(labels))


def fair_calibration_error(probabilities: Numbers, bins: int = 10, rounds: int = 500) -> Estimate:
    """What `calibration_error` shows of a perfectly calibrated model that gives these
    probabilities, because bins of few films never match: mean, and where 95 % of it lies."""
    generator = np.random.default_rng(0)
    drawn = (generator.random(len(probabilities)) < probabilities for _ in range(rounds))
    found = [calibration_error(d.astype(np.int64), probabilities, bins) for d in drawn]
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(float(np.mean(found)), float(low), float(high))
