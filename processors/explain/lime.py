"""LIME: a linear model of the answer over superpixels shown or greyed, fitted around the film.

In: a Subject. Out: one signed map: the weight of each superpixel, in log-odds. How well the linear
model follows the answers (R squared) is a check of every map. Every picture goes through the
subject's own encoder and head. Never: a sample without a seed.
Source: Ribeiro et al., KDD 2016. Of the package its surrogate (`LimeBase`); its image part
colours, copies and masks pixel by pixel, and draws its progress in the log.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processors.analysis import Explanation
from processors.explain import faithfulness, maps
from processors.explain.subject import Subject
from processors.vae.latent import Array

NEEDS = ("lime",)
COST_MS = 4400
SUPERPIXELS = 100
KERNEL = 0.25  # width, in cosine distance from the whole film: the package's own
HOW = {
    "es": "{parts} superpíxeles (SLIC) en gris medio o no, {samples} muestras, ancho del "
    "núcleo {kernel}, R² local {fit}. Estabilidad: otras semillas y muestras.",
    "en": "{parts} superpixels (SLIC), mean grey or not, {samples} samples, kernel width "
    "{kernel}, local R² {fit}. Stability: other seeds and samples.",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """samples: pictures that the linear model is fitted to; seed: which of them."""

    samples: int = 1000
    seed: int = 0


OTHERS = (Settings(500, 1), Settings(500, 2))


@dataclass(frozen=True, slots=True)
class Fit:
    """The map (size, size), the surrogate's R squared, and the number of superpixels."""

    found: Array
    squared: float
    parts: int


def fit(subject: Subject, settings: Settings = Settings()) -> Fit:
    """The weighted ridge regression of the package on shown and greyed superpixels."""
    from lime.lime_base import LimeBase

    image = subject.film.network
    parts = maps.superpixels(image, SUPERPIXELS)
    count = int(parts.max()) + 1
    generator = np.random.default_rng(settings.seed)
    shown = generator.integers(0, 2, (settings.samples, count))
    shown[0] = 1  # the film itself: distances count from here
    pictures = np.where(shown[:, parts] > 0, image, image.mean(dtype=np.float32))
    answers = subject.margins(pictures)[:, None]
    distances = 1 - np.sqrt(shown.mean(1))  # cosine, between 0/1 rows and the row of ones
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / KERNEL**2)), random_state=settings.seed)
    _, weights, squared, _ = base.explain_instance_with_data(
        shown, answers, distances, 0, count, feature_selection="none"
    )
    each = np.zeros(count, np.float32)
    for part, weight in weights:
        each[part] = weight
    return Fit(each[parts], float(squared), count)


def map_of(subject: Subject, settings: Settings = Settings()) -> Array:
    """(size, size): what each superpixel adds to the log-odds, by the linear model."""
    return fit(subject, settings).found


def explain(subject: Subject, language: str) -> Explanation:
    """The map with its checks; stable if other samples leave it."""
    made = fit(subject)
    fitted = {"parts": made.parts, "samples": Settings().samples, "fit": round(made.squared, 2)}
    how = maps.told(HOW, kernel=KERNEL, **fitted)
    others = [map_of(subject, each) for each in OTHERS]
    fits = (faithfulness.surrogate(made.squared),)
    return maps.explained(subject, maps.Drawn("lime", made.found, others, how, fits), language)
