"""Slices without and with a tumour from the same scan: one half of a head mirrored onto the other.

The set of head MR has no slice of the same source without a tumour, so nothing would teach a model
to say "none". A head is nearly symmetric: where the boxed tumour lies in one half, the other half
mirrored onto it gives a slice without tumour, same scanner, same contrast. The tumour's half
mirrored gives its control, a slice as symmetric with two tumours, so that symmetry tells nothing.

A tumour on the midline has no such half, and a mirrored head keeps nothing of the other side. So
the tumour is also erased: its box filled smoothly from its rim, with the grain of a scan. An equal
box elsewhere in the same head, filled alike, is the control: a filled place tells nothing.
Synthetic; for training and for a first look at false positives, no replacement for real slices.
What an erased tumour did to the head around it stays, and is taught as no sign of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.explain.field import FIELDS
from processors.explain.inpainting import smooth
from processors.vae.normalise import Image, resize_area

LOOK = 128  # pixels of the copy in which the midline is sought
ALIKE = 0.7  # correlation of the two halves below which a slice is no frontal or axial one
APART = 0.02  # of the width, between midline and box
SEARCH = 0.06  # of the width, to both sides of the head's centre
GRAIN = 0.03  # of full scale: noise in what is filled
TRIES = 24  # of a place elsewhere
Box = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Twins:
    """without: the healthy half twice; with_two: the tumour's half twice, and its two boxes."""

    without: Image
    with_two: Image
    boxes: tuple[Box, Box]


@dataclass(frozen=True, slots=True)
class Erased:
    """without: the tumour filled; beside: an equal place elsewhere in the head filled."""

    without: Image
    beside: Image


def _mirrored(picture: Image, middle: int, keep_left: bool) -> Image:
    """One side of the midline (column) on both; columns without a partner stay as they are."""
    made = picture.copy()
    wide = min(middle, picture.shape[1] - middle)
    left, right = slice(middle - wide, middle), slice(middle, middle + wide)
    if keep_left:
        made[:, right] = picture[:, left][:, ::-1]
    else:
        made[:, left] = picture[:, right][:, ::-1]
    return made


def midline(picture: Image) -> tuple[int, float]:
    """The column about which the head is most alike its mirror image, and that correlation."""
    small = resize_area(picture, LOOK, LOOK)
    head = FIELDS["head"](small)
    if head is None:
        return picture.shape[1] // 2, 0.0
    columns = np.flatnonzero(head.any(0))
    centre, reach = (columns[0] + columns[-1] + 1) / 2, round(SEARCH * LOOK)
    best, most = LOOK // 2, -1.0
    for middle in range(round(centre) - reach, round(centre) + reach + 1):
        wide = min(middle, LOOK - middle)
        if wide < LOOK // 5:
            continue
        left = small[:, middle - wide : middle]
        right = small[:, middle : middle + wide][:, ::-1]
        likeness = float(np.corrcoef(left.ravel(), right.ravel())[0, 1])
        if likeness > most:
            best, most = middle, likeness
    return round(best * picture.shape[1] / LOOK), most


def twins(picture: Image, boxes: tuple[Box, ...]) -> Twins | None:
    """The twins of a slice with one box (x, y, width, height in pixels), or None where the head is
    not symmetric or the box does not lie in one half."""
    if len(boxes) != 1:
        return None
    (x, y, wide, high), columns = boxes[0], picture.shape[1]
    middle, likeness = midline(picture)
    on_left = x + wide < middle - APART * columns
    on_right = x > middle + APART * columns
    mirror = 2 * middle - x - wide
    if likeness < ALIKE or not (on_left or on_right) or not 0 <= mirror <= columns - wide:
        return None
    without = _mirrored(picture, middle, keep_left=on_right)
    with_two = _mirrored(picture, middle, keep_left=on_left)
    return Twins(without, with_two, ((x, y, wide, high), (float(mirror), y, wide, high)))


def elsewhere(
    box: NDArray[np.bool_], field: NDArray[np.bool_], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """The same mask moved to another part of the field; where it fits best of some tries."""
    best, fit = box, -1.0
    for _ in range(TRIES):
        moved = np.roll(box, tuple(generator.integers(0, box.shape[0], 2)), (0, 1))
        good = float(field[moved].mean()) if not (moved & box).any() else -1.0
        if good > fit:
            best, fit = moved, good
    return best


def erased(picture: Image, boxes: tuple[Box, ...], generator: np.random.Generator) -> Erased | None:
    """The slice with its boxes (x, y, width, height in pixels) filled, and with an equal place
    filled; None without a box or where no such place is free of them."""
    box = np.zeros(picture.shape, bool)
    for x, y, wide, high in boxes:
        box[int(y) : math.ceil(y + high), int(x) : math.ceil(x + wide)] = True
    if not box.any():
        return None
    head = FIELDS["head"](picture)
    other = elsewhere(box, head if head is not None else np.ones_like(box), generator)
    if (other & box).any():
        return None
    grain = generator.normal(0, GRAIN, picture.shape).astype(np.float32)
    without, beside = (
        np.where(hole, np.clip(smooth(picture, hole) + grain, 0, 1), picture)
        for hole in (box, other)
    )
    return Erased(without, beside)
