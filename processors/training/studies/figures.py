"""How a study writes its numbers: the mean over images with its 95 % interval, by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from processors.training.data import Sample
from processors.training.measure import Numbers, estimate


def patients_of(samples: Sequence[Sample]) -> list[str]:
    return [sample.patient for sample in samples]


def mean(values: Sequence[float] | Numbers, samples: Sequence[Sample]) -> dict[str, Any]:
    """{"n", "value", "low", "high"}; of fewer than two images the count alone."""
    held = np.asarray(values, dtype=np.float64)
    if len(held) < 2:
        return {"n": len(held)}
    found = estimate(lambda i: float(held[i].mean()), patients_of(samples))
    return {"n": len(held), **found.record()}


def ratio(ours: Numbers, theirs: Numbers, samples: Sequence[Sample]) -> dict[str, Any]:
    """Ratio of the two means over the same images."""
    if len(ours) < 2:
        return {"n": len(ours)}
    found = estimate(lambda i: float(ours[i].mean() / theirs[i].mean()), patients_of(samples))
    return {"n": len(ours), **found.record()}
