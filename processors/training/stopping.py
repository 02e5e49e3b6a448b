"""Early stopping: the weights that answer best on images that do not fit, and when to stop.

Of use where a site's set is so small that the last weights know it by heart. Kept in memory: a
stopped and continued run forgets what was best before. Never: reads `val`.
Source: Prechelt, Early stopping - but when? LNCS 1524 (1998).
"""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import NDArray

from processors.training import fit
from processors.training.data import ImageSet
from processors.vae.network import SpatialVAE


def log_loss(model: SpatialVAE, images: ImageSet) -> float:
    """Mean cross-entropy, in nats, over the questions whose answers are known."""
    totals, costs = fit.totals(model, images).astype(np.float64), []
    for number, (_, none) in enumerate(model.shape.questions):
        target = images.answers(number)
        if (target >= 0).any():
            rows = totals[target >= 0][:, fit.rows_of(model.shape, number)]
            costs.append(_cross_entropy(rows, target[target >= 0], none))
    return float(np.mean(costs))


def _cross_entropy(rows: NDArray[np.float64], target: NDArray[np.int64], none: bool) -> float:
    logits = np.pad(rows, ((0, 0), (0, 1))) if none else rows
    own = logits[np.arange(len(target)), target]
    return float((np.logaddexp.reduce(logits, axis=1) - own).mean())


class Best:
    """The best network so far of one run."""

    def __init__(self, patience: int) -> None:
        self._patience, self._waited, self._loss = patience, 0, math.inf
        self._kept: SpatialVAE | None = None

    def goes_on(self, model: SpatialVAE, tuning: ImageSet) -> bool:
        """Looks at the network; False when it has not become better `patience` times in a row."""
        loss = log_loss(model, tuning)
        if loss < self._loss:
            self._loss, self._waited, self._kept = loss, 0, copy.deepcopy(model)
        else:
            self._waited += 1
        return self._waited < self._patience

    def network(self, last: SpatialVAE) -> SpatialVAE:
        """The best one looked at; the last one where none was."""
        return last if self._kept is None else self._kept
