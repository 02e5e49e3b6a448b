"""Fits LightGBM models, each answer out of fold, on one thread and the same in every run.

In: tables, targets, folds. Out: answers for rows that the model has not seen, and the model on all
rows as LightGBM's text. Never: a row's own fold in what answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from processors.impressions.statements import Numbers
from processors.training.impressions.examples import Folds

_ALWAYS: Mapping[str, Any] = {
    "num_threads": 1,
    "verbosity": -1,
    "seed": 20,
    "deterministic": True,
    "force_row_wise": True,
    "bagging_freq": 1,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's kind and size. more: further parameters of LightGBM."""

    objective: str
    rounds: int
    leaves: int = 15
    rate: float = 0.05
    least: int = 20
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            **_ALWAYS,
            "objective": self.objective,
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": self.least,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.75,
            **self.more,
        }


STATEMENTS = Shape("binary", 150)
ASSERTS = Shape("binary", 120)
LENGTH = Shape("regression", 120)
WORTH = Shape("regression", 300, leaves=31, rate=0.04, least=30)
# without a site's neighbours there is less to see, and a leaf of few candidates is chance
ALONE = replace(WORTH, least=200)


def fit(
    shape: Shape, table: Numbers, target: Numbers, weight: Numbers | None = None
) -> lightgbm.Booster:
    """A model on all rows."""
    return lightgbm.train(
        shape.parameters, lightgbm.Dataset(table, target, weight=weight), shape.rounds
    )


def out_of_fold(
    shape: Shape,
    table: Numbers,
    target: Numbers,
    fold: Folds,
    weight: Numbers | None = None,
) -> NDArray[np.float32]:
    """The answer to each row of models that saw no row of its fold."""
    found = np.zeros(len(table), np.float32)
    for number in np.unique(fold):
        held = fold == number
        part = None if weight is None else weight[~held]
        found[held] = fit(shape, table[~held], target[~held], part).predict(table[held])
    return found
