"""Plants a marker whose place is known: the cause that an explanation is asked to find.

Three kinds, on the network's input: a white "L", as a burned-in letter is white on an equalised
film; a bright spot; a dark block that hides what lies under it. In: images, shares, a random
generator. Out: images with markers, and where these are. Never: a place that depends on the class,
or else the place would be a second cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processors.training.data import ImageSet

Masks = NDArray[np.bool_]
HIGH, WIDE, STROKE = 12, 9, 3  # of the letter, pixels of the network's input
SPOT, BLOCK = 9, 12  # across
EDGE = 2  # pixels kept free at the image's edge
SEEN = 0.4  # greys (of 1) by which the marker differs from what it covers, on average
TRIES = 50


@dataclass(frozen=True, slots=True)
class Marker:
    """stamp: which pixels it paints, (rows, columns); grey: 0..255."""

    stamp: NDArray[np.bool_]
    grey: int


def _letter() -> NDArray[np.bool_]:
    found = np.zeros((HIGH, WIDE), bool)
    found[:, :STROKE] = found[HIGH - STROKE :] = True
    return found


def _disc(across: int) -> NDArray[np.bool_]:
    from_middle = np.arange(across) - (across - 1) / 2
    return np.asarray(np.hypot(*np.meshgrid(from_middle, from_middle)) <= across / 2)


TAG = "tag"
KINDS: Mapping[str, Marker] = {
    TAG: Marker(_letter(), 255),
    "spot": Marker(_disc(SPOT), 255),
    "obstruction": Marker(np.ones((BLOCK, BLOCK), bool), 0),
}


@dataclass(frozen=True, slots=True)
class Planting:
    """Which share of each class carries a marker of a kind: a confounder as far as they differ."""

    positives: float
    negatives: float
    kind: str = TAG


CLEAN = Planting(0.0, 0.0)


def confounder(share: float, kind: str = TAG) -> Planting:
    """The marker agrees with the label in this share of all films, whichever their class.

    So at 80 % it lies to the model on one film in five of both classes: with none on the negatives
    it would still never be wrong where it is seen.
    """
    return Planting(share, round(1 - share, 6), kind)


def drawn_masks(images: ImageSet, generator: np.random.Generator, kind: str = TAG) -> Masks:
    """A place for the marker in each image, (n, size, size): at random where it can be seen."""
    return masks_of(images.inputs, KINDS[kind], generator)


def masks_of(inputs: NDArray[np.uint8], marker: Marker, generator: np.random.Generator) -> Masks:
    """A place for the marker in each input (n, size, size).

    On an equalised film a third of all places is nearly white, and a white letter there is none.
    Drawn anew there; after TRIES the place where it differs most of those tried.
    """
    return np.stack([_place(film, marker, generator) for film in inputs])


def _place(
    film: NDArray[np.uint8], marker: Marker, generator: np.random.Generator
) -> NDArray[np.bool_]:
    best, most = np.zeros(film.shape, bool), -np.inf
    (high, wide), stamp = marker.stamp.shape, marker.stamp
    for _ in range(TRIES):
        top = int(generator.integers(EDGE, film.shape[0] - high - EDGE + 1))
        left = int(generator.integers(EDGE, film.shape[1] - wide - EDGE + 1))
        covered = film[top : top + high, left : left + wide][stamp].mean()
        seen = abs(marker.grey - float(covered)) / 255
        if seen > most:
            best, most = np.zeros(film.shape, bool), seen
            best[top : top + high, left : left + wide] = stamp
        if most >= SEEN:
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


def painted(inputs: NDArray[np.uint8], where: Masks, marker: Marker) -> NDArray[np.uint8]:
    """The inputs (n, size, size) with the marker's grey there."""
    return np.where(where, np.uint8(marker.grey), inputs)


def planted(images: ImageSet, masks: Masks, chosen: NDArray[np.bool_], kind: str = TAG) -> ImageSet:
    """The images, the chosen ones with their marker; a new set, the given one stays."""
    where = masks & chosen[:, None, None]
    return replace(images, inputs=painted(images.inputs, where, KINDS[kind]))
