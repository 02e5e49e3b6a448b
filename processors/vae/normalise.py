"""Turns a film of any size and exposure into the network's input, and grey values back.

One square resize by area (of long films after `reduced`), then histogram equalisation: afterwards
every film has the same brightness, contrast and shape, so that a model cannot read its answer from
them. The same as MONAI's `Resize(mode="area")` and `HistogramNormalize` (a test compares them),
without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

Image = NDArray[np.float32]
BINS = 256
ENOUGH = 1024  # pixels of a long side: more than any panel or network here takes


def _edges(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    steps = np.arange(size)
    return steps * length // size, -(-(steps + 1) * length // size)


def resize_area(image: Image, rows: int, columns: int) -> Image:
    """Mean of the source pixels under each target pixel (adaptive average pooling)."""
    top, bottom = _edges(image.shape[0], rows)
    left, right = _edges(image.shape[1], columns)
    lines = _sums(image, top, bottom)
    sums = _sums(np.ascontiguousarray(lines.T), left, right).T
    return np.asarray(sums / ((bottom - top)[:, None] * (right - left)), dtype=np.float32)


def _sums(
    image: NDArray[Any], first: NDArray[np.intp], last: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The sum of the rows from each first to before its last: whole rows add fast."""
    sums = np.empty((len(first), image.shape[1]))
    for row, (above, below) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        np.add.reduce(image[above:below], axis=0, dtype=np.float64, out=sums[row])
    return sums


def reduced(image: Image) -> Image:
    """A film of twice ENOUGH or longer by the means of whole blocks of its pixels, so that it is at
    least ENOUGH long; any other as it is. What is shown and judged is smaller still: a detector's
    10 MB need be read once only."""
    factor = max(image.shape) // ENOUGH
    if factor < 2:
        return image
    picture = Picture.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.reduce(factor), dtype=np.float32)


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
    small = resize_area(reduced(image), size, size)
    greys = greys_of(small)
    return greys.to_network(small), greys
