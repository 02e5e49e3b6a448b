"""The bar that a model must clear: what brightness, border, sharpness and shape tell by themselves.

A model whose AUC does not exceed these by more than its interval has proved nothing about lungs.
Statistics of the picture as stored, before any equalisation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TRIVIAL = 15
Numbers = NDArray[np.float64]


def trivial_statistics(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, deviation, percentiles 1 5 25 50 75 95 99, border mean and deviation, log sharpness,
    width/height, top minus bottom, left minus right; of an image in 0..1."""
    rows, columns = image.shape
    edge = max(1, min(rows, columns) // 20)
    border = np.ones(image.shape, bool)
    border[edge:-edge, edge:-edge] = False
    rim = image[border]
    halves = (
        _mean(image[: rows // 2]) - _mean(image[rows // 2 :]),
        _mean(image[:, : columns // 2]) - _mean(image[:, columns // 2 :]),
    )
    spread = np.percentile(image, (1, 5, 25, 50, 75, 95, 99))
    sharp = np.log(laplace(image).var() + 1e-8)
    values = [image.mean(), image.std(), *spread, rim.mean(), rim.std(), sharp, columns / rows]
    return np.array([*values, *halves], np.float32)


def _mean(part: NDArray[np.float32]) -> np.floating:
    """0 of what has no pixel: a picture one pixel high has no upper half."""
    return part.mean() if part.size else np.float32(0)


def trivial_scores(
    known: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32]
) -> dict[str, Numbers]:
    """Scores of the asked films by two classifiers trained on the known ones; nothing tuned."""
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "boosting": GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0),
    }
    return {
        name: np.asarray(model.fit(known, labels).predict_proba(asked)[:, 1])
        for name, model in models.items()
    }
