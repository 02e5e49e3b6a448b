"""Deletion and insertion: does a map's order of the cells name what the answer rests on?

In: a Subject and a rank of its cells. Out: areas under the probability while cells are greyed or
uncovered in that order. Never: a network but the subject's own.
Source: Petsiuk et al., BMVC 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processors.explain.subject import Subject
from processors.vae.latent import Array, upsample

STEPS = 8  # pictures of a deletion or insertion curve, beside the first
ORDERS = 19  # of no meaning: a map of no meaning beats all of them once in twenty


@dataclass(frozen=True, slots=True)
class Curves:
    """Areas under the probability, 0..1: cells of the highest rank greyed first (low is good), or
    uncovered first from a picture all grey (high is good)."""

    deletion: float
    insertion: float


def curves(subject: Subject, rank: Array) -> Curves:
    """Of one order of the cells, rank (g, g). Grey: the picture's mean, as in the erasing study.

    The network's input is changed and not equalised anew: a picture mostly grey would come out of
    equalising as black and white.
    """
    image, cells = subject.film.network, rank.size
    place = np.empty(cells, np.float32)
    place[np.argsort(-rank.ravel(), kind="stable")] = np.arange(cells)
    wide = upsample(place.reshape(rank.shape), image.shape[0] // rank.shape[0])
    first = [wide < cells * step / STEPS for step in range(STEPS + 1)]
    grey = np.float32(image.mean())
    pictures = [np.where(mask, grey, image) for mask in first]
    pictures += [np.where(mask, image, grey) for mask in first]
    answers = 1 / (1 + np.exp(-subject.margins(np.stack(pictures))))
    deleted, inserted = answers[: STEPS + 1], answers[STEPS + 1 :]
    return Curves(float(np.trapezoid(deleted) / STEPS), float(np.trapezoid(inserted) / STEPS))


def by_chance(subject: Subject) -> Curves:
    """The best deletion and the best insertion of ORDERS random orders, the same at every call."""
    grid = subject.film.latent.shape[-1]
    generator = np.random.default_rng(0)
    found = [curves(subject, generator.random((grid, grid), np.float32)) for _ in range(ORDERS)]
    return Curves(min(c.deletion for c in found), max(c.insertion for c in found))


def by_cell(values: Array, grid: int) -> Array:
    """Mean of a map (size, size) in each cell, (grid, grid)."""
    factor = values.shape[0] // grid
    return np.asarray(values.reshape(grid, factor, grid, factor).mean((1, 3)))
