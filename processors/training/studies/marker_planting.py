"""Plants a marker whose place is known: the cause that an explanation is asked to find.

A white "L" on the network's input, as a burned-in letter is white on an equalised film. In: images,
shares, a random generator. Out: images with markers, and where these are. Never: a place that
depends on the class, or else the place would be a second cause.
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
SEEN = 0.4  # greys (of 1) by which the marker is brighter than what it covers, on average
TRIES = 50
LETTER = np.zeros((HIGH, WIDE), bool)
LETTER[:, :STROKE] = LETTER[HIGH - STROKE :] = True


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


def drawn_masks(images: ImageSet, generator: np.random.Generator) -> Masks:
    """A place for the marker in each image, (n, size, size): at random where it can be seen.

    On an equalised film a third of all places is nearly white, and a white letter there is none.
    Drawn anew there; after TRIES the darkest of the places tried.
    """
    return np.stack([_place(film, generator) for film in images.inputs])


def _place(film: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.bool_]:
    best, least = np.zeros(film.shape, bool), np.inf
    for _ in range(TRIES):
        top = int(generator.integers(EDGE, film.shape[0] - HIGH - EDGE + 1))
        left = int(generator.integers(EDGE, film.shape[1] - WIDE - EDGE + 1))
        grey = float(film[top : top + HIGH, left : left + WIDE][LETTER].mean()) / WHITE
        if grey < least:
            best, least = np.zeros(film.shape, bool), grey
            best[top : top + HIGH, left : left + WIDE] = LETTER
        if least <= 1 - SEEN:
            break
    return best


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
