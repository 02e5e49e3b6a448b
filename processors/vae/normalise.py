"""Turns a film of any size and exposure into the network's input, and grey values back.

One square resize by area, then histogram equalisation: afterwards every film has the same
brightness, contrast and shape, so that a model cannot read its answer from them. The same as
MONAI's `Resize(mode="area")` and `HistogramNormalize` (a test compares them), without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
BINS = 256


def _edges(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    steps = np.arange(size)
    return steps * length // size, -(-(steps + 1) * length // size)


def resize_area(image: Image, rows: int, columns: int) -> Image:
    """Mean of the source pixels under each target pixel (adaptive average pooling)."""
    total = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    total[1:, 1:] = image.astype(np.float64).cumsum(0).cumsum(1)
    top, bottom = _edges(image.shape[0], rows)
    left, right = _edges(image.shape[1], columns)
    tall, wide = total[bottom] - total[top], (bottom - top)[:, None] * (right - left)[None]
    means = (tall[:, right] - tall[:, left]) / wide
    return np.asarray(means, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Greys:
    """One film's monotone map between its own greys and the network's."""

    own: NDArray[np.float64]
    network: NDArray[np.float64]

    def to_network(self, image: Image) -> Image:
        return np.asarray(np.interp(image, self.own, self.network), dtype=np.float32)

    def to_own(self, image: Image) -> Image:
        """The inverse; where several own greys share one network grey, the lowest that occurs."""
        levels, first = np.unique(self.network, return_index=True)
        lowest = self.own[first]
        return np.asarray(np.interp(image, levels, lowest), dtype=np.float32)


def greys_of(image: Image) -> Greys:
    """The map that equalises this image's histogram (Gonzalez & Woods, section 3.3)."""
    counts, edges = np.histogram(image.ravel(), BINS)
    heights = counts.cumsum().astype(np.float64)
    span = heights[-1] - heights[0]
    level = (heights - heights[0]) / span if span > 0 else np.full(BINS, 0.5)
    return Greys((edges[:-1] + edges[1:]) / 2, level)


def network_input(image: Image, size: int) -> tuple[Image, Greys]:
    """The (size, size) input in 0..1 of a film, and the map that made it."""
    small = resize_area(image, size, size)
    greys = greys_of(small)
    return greys.to_network(small), greys
