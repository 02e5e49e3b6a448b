"""From margins to probabilities, thresholds and goals, on the films kept for it.

In: margins and labels of one population's tuning films. Out: its Calibration, which the card
holds and the processor applies. Platt 1999 for slope and offset; the threshold has the highest
sensitivity + specificity; the undetermined band around it is as wide as to hold as many tuning
films as the threshold judges wrongly, so that a weak model says "undetermined" often.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

Numbers = NDArray[np.float64]
CLEAR = 0.5  # log-odds below the band at which a counterfactual may stop


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(margin / temperature + bias); goal: margin of a clear negative."""

    temperature: float
    bias: float
    threshold: float
    band: tuple[float, float]
    goal: float

    def probability(self, margins: Numbers) -> Numbers:
        return 1 / (1 + np.exp(-(margins / self.temperature + self.bias)))

    def record(self) -> dict[str, object]:
        return {k: _rounded(v) for k, v in asdict(self).items()}


def _rounded(value: float | tuple[float, ...]) -> object:
    return [round(v, 5) for v in value] if isinstance(value, tuple) else round(value, 5)


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def calibrate(margins: Numbers, labels: NDArray[np.int64]) -> Calibration:
    """The calibration of one population."""
    model = LogisticRegression(C=10.0).fit(margins[:, None], labels)
    slope = max(float(model.coef_[0, 0]), 1e-3)
    bias = float(model.intercept_[0])
    logits = margins * slope + bias
    false, true, cuts = roc_curve(labels, logits)
    best = int(np.argmax(true - false))
    cut = _middle(logits, float(cuts[best]))
    wrong = float(((logits >= cut) != labels.astype(bool)).mean())
    half = float(np.quantile(np.abs(logits - cut), min(max(wrong, 0.02), 0.35)))
    band = tuple(float(1 / (1 + np.exp(-v))) for v in (cut - half, cut + half))
    threshold = float(1 / (1 + np.exp(-cut)))
    clear = (_logit(band[0]) - CLEAR - bias) / slope
    return Calibration(1 / slope, bias, threshold, (band[0], band[1]), clear)


def _middle(logits: Numbers, cut: float) -> float:
    """Half-way to the next film below, so that no tuning film sits on the threshold."""
    below = logits[logits < cut]
    return (cut + float(below.max())) / 2 if len(below) else cut
