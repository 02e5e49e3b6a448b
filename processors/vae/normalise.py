"""Turns a film of any size and exposure into the network's input, and grey values back.

One square resize by area, then histogram equalisation: afterwards every film has the same
brightness, contrast and shape, so that a model cannot read its answer from them. The same as
MONAI's `Resize(mode="area")` and `HistogramNormalize` (a test compares them), without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
BINS = 256


def _edges(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    steps = np.arange(size)
    return steps * length // size, -(-(steps + 1) * length // size)


def resize_area(image: Image, rows: int, columns: int) -> Image:
    """Mean of the source pixels under each target pixel (adaptive average pooling)."""
    top, bottom = _edges(image.shape[0], rows)
    left, right = _edges(image.shape[1], columns)
    # Strips between any two edges are summed once: a pixel is read once, whatever overlaps.
    cuts = np.unique(np.concatenate((top, bottom)))
    strips = np.empty((len(cuts) - 1, image.shape[1]))
    for strip, (above, below) in enumerate(pairwise(cuts.tolist())):
        np.sum(image[above:below], axis=0, dtype=np.float64, out=strips[strip])
    cells = _between(strips, cuts, (top, bottom))
    cuts = np.unique(np.concatenate((left, right)))
    strips = np.add.reduceat(cells, cuts[:-1], axis=1).T
    sums = _between(strips, cuts, (left, right)).T
    return np.asarray(sums / ((bottom - top)[:, None] * (right - left)), dtype=np.float32)


def _between(
    strips: NDArray[np.float64],
    cuts: NDArray[np.intp],
    edges: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> NDArray[np.float64]:
    """Sums from edge to edge; strips[n] holds what lies between cuts[n] and cuts[n + 1]."""
    first, last = (np.searchsorted(cuts, edge) for edge in edges)
    sums = strips[first]
    for further in range(1, int((last - first).max())):  # one or two, seldom more
        there = first + further < last
        sums[there] += strips[first[there] + further]
    return sums


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
