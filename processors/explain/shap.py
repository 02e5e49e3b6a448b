"""SHAP: what each superpixel adds to the answer, fairly shared among all (Shapley values).

In: a Subject. Out: one signed map in log-odds; with what the background gets it sums to the film's
own answer. Background: the bundle's averages without the finding that look most like the film,
decoded: means over patients, never one patient's image. Every picture goes through the subject's
own encoder and head. Never: a sample without a seed.
Source: Lundberg & Lee, NeurIPS 2017; the package's explainer by permutations, forwards and
backwards, which is exact where no more than two superpixels act together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.analysis import Explanation
from processors.explain import faithfulness, maps
from processors.explain.subject import Subject
from processors.vae.latent import Array, nearest

NEEDS = ("shap",)
COST_MS = 7600  # the first in a process takes some ten seconds more: the package compiles
SUPERPIXELS = 64
BACKGROUND = 4  # averages: each costs as much as the whole again
BATCH = 16  # coalitions at once, each with every average
HOW = {
    "es": "{parts} superpíxeles (SLIC), {permutations} permutaciones de ida y vuelta; fondo: "
    "los {background} promedios de pacientes sin el hallazgo más parecidos. Estabilidad: otras "
    "semillas y permutaciones.",
    "en": "{parts} superpixels (SLIC), {permutations} permutations both ways; background: "
    "the {background} most similar averages over patients without the finding. Stability: other "
    "seeds and permutations.",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """permutations: orders in which superpixels come in, each also backwards; seed: which."""

    permutations: int = 4
    seed: int = 0


OTHERS = (Settings(2, 1), Settings(2, 2))


@contextmanager
def _own_chance() -> Iterator[None]:
    """The package seeds numpy's one common generator: it is put back afterwards."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


def background(subject: Subject) -> Array:
    """The averages (n, size, size) that stand for "nothing here", in the network's greys."""
    donors = nearest(subject.film.latent, subject.donors, subject.row, BACKGROUND)
    return subject.bundle.decode(donors)


def map_of(subject: Subject, settings: Settings = Settings()) -> Array:
    """(size, size): each superpixel's share in the log-odds, over its pixels' whole.

    Nothing anywhere where the bundle ships no averages without the finding.
    """
    if not len(subject.donors):
        return np.zeros_like(subject.film.network)
    import shap

    image, hidden = subject.film.network, background(subject)
    parts = maps.superpixels(image, SUPERPIXELS)
    count = int(parts.max()) + 1

    def value(shown: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean log-odds (n,) over the background, of superpixels shown (n, count), 0 or 1."""
        pictures = np.where(shown[:, None, parts] > 0, image, hidden[None])
        answers = subject.margins(pictures.reshape(-1, *image.shape))
        return np.asarray(answers.reshape(len(shown), -1).mean(1))

    with _own_chance():
        explainer = shap.explainers.Permutation(value, np.zeros((1, count)), seed=settings.seed)
        most = settings.permutations * (2 * count + 1)
        found = explainer(np.ones((1, count)), max_evals=most, batch_size=BATCH, silent=True)
    return np.asarray(found.values[0][parts], dtype=np.float32)


def explain(subject: Subject, language: str) -> Explanation:
    """The map with its checks; stable if other permutations leave it."""
    if not len(subject.donors):
        reason = faithfulness.without_donors(language)
        uid = subject.film.instance_uid
        return Explanation(subject.label, uid, "shap", (), None, (), False, reason)
    parts = int(maps.superpixels(subject.film.network, SUPERPIXELS).max()) + 1
    used, turns = min(BACKGROUND, len(subject.donors)), Settings().permutations
    how = maps.told(HOW, parts=parts, permutations=turns, background=used)
    others = [map_of(subject, each) for each in OTHERS]
    return maps.explained(subject, maps.Drawn("shap", map_of(subject), others, how), language)
