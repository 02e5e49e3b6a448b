"""From the head's totals to probabilities, thresholds and bands, on the images kept for it.

In: totals and answers of one question's tuning images. Out: its Calibration, which the card holds
and the processor applies. One temperature for the question and one offset per answer (Guo et al.,
arXiv:1706.04599; Platt 1999 where there is one answer); each threshold has the highest sensitivity
+ specificity; the undetermined band around it is as wide as to hold as many tuning images as the
threshold judges wrongly, so that a weak model says "undetermined" often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.metrics import roc_curve

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
CLEAREST = 0.25  # of the images without a finding: how absent a counterfactual should look
PRIOR = 0.02  # pull of each parameter towards (temperature 1, offset 0), in images' log-loss


@dataclass(frozen=True, slots=True)
class Operating:
    """Where one answer is called: probability of the threshold, and the band around it.

    clear: log-odds below which the clearest quarter of the images without it lies. tuned: images
    with it and without it that all this rests on.
    """

    threshold: float
    band: tuple[float, float]
    clear: float
    tuned: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """logit of an answer = total / temperature + offset; "no finding", if any, has logit 0."""

    temperature: float
    offsets: tuple[float, ...]
    none: bool
    operating: tuple[Operating, ...] = ()

    def margins(self, totals: Numbers) -> Numbers:
        """(n, answers) log-odds of each answer against the others, of totals (n, answers)."""
        logits = totals / self.temperature + np.array(self.offsets)
        every = np.pad(logits, ((0, 0), (0, 1))) if self.none else logits
        rivals = [logsumexp(np.delete(every, k, 1), axis=1) for k in range(logits.shape[1])]
        return np.asarray(logits - np.stack(rivals, 1))

    def probabilities(self, totals: Numbers) -> Numbers:
        return np.asarray(1 / (1 + np.exp(-self.margins(totals))))


def calibrate(totals: Numbers, labels: Labels, none: bool) -> Calibration:
    """totals (n, answers); labels (n,): number of the answer, `answers` for "no finding"."""
    scaled = _scaled(totals, labels, none)
    margins = scaled.margins(totals)
    found = tuple(operating(margins[:, k], labels == k) for k in range(totals.shape[1]))
    return Calibration(scaled.temperature, scaled.offsets, none, found)


def _scaled(totals: Numbers, labels: Labels, none: bool) -> Calibration:
    answers = totals.shape[1]

    def made(values: Numbers) -> Calibration:
        return Calibration(float(np.exp(-values[0])), tuple(map(float, values[1:])), none)

    def cost(values: Numbers) -> float:
        logits = totals * np.exp(values[0]) + values[1:]
        every = np.pad(logits, ((0, 0), (0, 1))) if none else logits
        right = every[np.arange(len(labels)), labels]
        lost = (logsumexp(every, axis=1) - right).sum()
        return float(lost + PRIOR * np.square(values).sum())

    return made(minimize(cost, np.zeros(answers + 1), method="L-BFGS-B").x)


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def operating(margins: Numbers, positive: NDArray[np.bool_]) -> Operating:
    """Threshold and band of one answer from calibrated log-odds."""
    false, true, cuts = roc_curve(positive, margins)
    best = 1 + int(np.argmax((true - false)[1:]))  # the first cut is infinite: nobody is ill
    cut = _middle(margins, float(cuts[best]))
    wrong = float(((margins >= cut) != positive).mean())
    half = float(np.quantile(np.abs(margins - cut), min(max(wrong, 0.02), 0.35)))
    clear = float(np.quantile(margins[~positive], CLEAREST))
    band = (_probability(cut - half), _probability(cut + half))
    tuned = (int(positive.sum()), int((~positive).sum()))
    return Operating(_probability(cut), band, clear, tuned)


def _middle(margins: Numbers, cut: float) -> float:
    """Half-way to the next image below, so that no tuning image sits on the threshold."""
    below = margins[margins < cut]
    return (cut + float(below.max())) / 2 if len(below) else cut
