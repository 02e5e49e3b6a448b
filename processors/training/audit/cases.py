"""One answer of a bundle with the films it is asked of: what every part of an audit works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.explain.subject import Film, Scale, Subject, scale_of
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.evaluate import answers
from processors.training.explained import subject_of
from processors.training.measure import Labels, Numbers
from processors.training.probes import SAME
from processors.vae.latent import Array, Row, margin

BATCH = 64
FEWEST = 10  # films of each class; the intervals say what so few are worth


@dataclass(frozen=True, slots=True)
class Case:
    """positive (n,): which films have the answer; the others have another answer of the question.

    latents (n, channels, g, g) and margins (n,), calibrated log-odds: of the films as they are.
    """

    bundle: Bundle
    place: tuple[int, int]
    name: str
    row: Row
    scale: Scale
    images: ImageSet
    positive: NDArray[np.bool_]
    latents: Array
    margins: Numbers

    @property
    def labels(self) -> Labels:
        return self.positive.astype(np.int64)

    @property
    def patients(self) -> list[str]:
        return [sample.patient for sample in self.images.samples]

    @property
    def goal(self) -> float:
        """Log-odds from which the answer is called present."""
        return log_odds(self.scale.threshold)

    def subject(self, i: int) -> Subject:
        """The answer on one film, in the network's greys."""
        network = self.images.inputs[i].astype(np.float32) / np.float32(255)
        film = Film(self.images.samples[i].path, network, SAME, network, self.latents[i])
        return subject_of(self.bundle, film, self.place)


def log_odds(p: float) -> float:
    inside = min(max(p, 1e-7), 1 - 1e-7)
    return float(np.log(inside / (1 - inside)))


def encoded(bundle: Bundle, inputs: NDArray[np.uint8]) -> Array:
    """Latents (n, channels, g, g) of network inputs uint8 (n, size, size)."""
    parts = [
        bundle.encode(inputs[i : i + BATCH].astype(np.float32) / np.float32(255))
        for i in range(0, len(inputs), BATCH)
    ]
    return np.concatenate(parts)


def margins_of(latents: Array, row: Row) -> Numbers:
    """Calibrated log-odds of a row's answer, (n,)."""
    return np.array([margin(latent, row) for latent in latents])


def cases(bundle: Bundle, images: ImageSet) -> Iterator[Case]:
    """Every answer that has enough films with and without it."""
    questions, latents = bundle.card["questions"], encoded(bundle, images.inputs)
    for q, k, label in answers(bundle.card):
        known = images.answers(q) >= 0
        positive = images.answers(q)[known] == k
        if min(positive.sum(), (~positive).sum()) < FEWEST:
            continue
        row, entry = bundle.row(q, k), questions[q]["answers"][k]
        yield Case(
            bundle=bundle,
            place=(q, k),
            name=f"{questions[q]['name']}/{label}",
            row=row,
            scale=scale_of(entry),
            images=images.where(known),
            positive=positive,
            latents=latents[known],
            margins=margins_of(latents[known], row),
        )
