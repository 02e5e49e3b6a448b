"""Plants a marker whose place is known: the cause that an explanation is asked to find.

A white "L" on the network's input, as a burned-in letter is white on an equalised film. In: images,
shares, a random generator. Out: images with markers, and where these are. Never: a place that
depends on the film or on its class, or else the place would be a second cause.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processors.training.data import ImageSet

Masks = NDArray[np.bool_]
HIGH, WIDE, STROKE = 12, 9, 3  # pixels of the network's input
EDGE = 2  # pixels kept free at the image's edge
WHITE = 255


@dataclass(frozen=True, slots=True)
class Planting:
    """Which share of each class carries the marker: a confounder as far as they differ."""

    positives: float
    negatives: float


CLEAN = Planting(0.0, 0.0)


def confounder(share: float) -> Planting:
    """The marker agrees with the label in this share of all films, whichever their class.

    So at 80 % it lies to the model on one film in five of both classes: with none on the negatives
    it would still never be wrong where it is seen.
    """
    return Planting(share, round(1 - share, 6))


def drawn_masks(count: int, size: int, generator: np.random.Generator) -> Masks:
    """A place at random for the marker in each of `count` images, (count, size, size)."""
    letter = np.zeros((HIGH, WIDE), bool)
    letter[:, :STROKE] = letter[HIGH - STROKE :] = True
    masks = np.zeros((count, size, size), bool)
    tops = generator.integers(EDGE, size - HIGH - EDGE + 1, count)
    lefts = generator.integers(EDGE, size - WIDE - EDGE + 1, count)
    for mask, top, left in zip(masks, tops, lefts, strict=True):
        mask[top : top + HIGH, left : left + WIDE] = letter
    return masks


def carriers(
    positive: NDArray[np.bool_], planting: Planting, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Which images carry the marker, (n,): exactly the planting's share of each class."""
    chosen = np.zeros(len(positive), bool)
    for films, share in ((positive, planting.positives), (~positive, planting.negatives)):
        index = generator.permutation(np.flatnonzero(films))
        chosen[index[: round(share * len(index))]] = True
    return chosen


def planted(images: ImageSet, masks: Masks, chosen: NDArray[np.bool_]) -> ImageSet:
    """The images, the chosen ones with their marker; a new set, the given one stays."""
    white = masks & chosen[:, None, None]
    return replace(images, inputs=np.where(white, np.uint8(WHITE), images.inputs))
