"""Where the organ is on one picture: rules and a hand-drawn template, nothing learnt.

In: a picture squeezed to a square, (size, size) greys in 0..1, equalised or not. Out: a mask of the
same shape, or None where the organ is not found. For measuring, on many films, how much of a
model's evidence lies where it can; a rough outline, never a segmentation to be shown.

Thresholds lose a white lung, so lungs are found by what surrounds them: a hand-drawn chest of plain
greys is laid over the film and correlated, on a grid of places and sizes, then in small steps, each
half by itself. Its constants were chosen on training films, 50 of them with walls, apices and bases
marked by eye. None means no likeness at all: much that is no chest still gets a field.

Counted by eye on 50 films (25 children, 25 adults) drawn at random from the training part: 3
failures: two children with white lungs (field too wide and high, over the shoulders), one child not
found. On 50 of the validation part: 4 failures: a turned child (a quarter of one lung missed),
three adults with small or white lungs (field reaches into neck or shoulder). About as many again
miss a rim of 10 to 20 % of one lung. Heads, 25 of the validation part: 1 failure (noise taken for
head); low necks are cut. Breasts, 25: none, at most a corner of the scan is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, binary_opening, gaussian_filter, label
from skimage.draw import polygon2mask
from skimage.filters import threshold_otsu
from skimage.measure import points_in_poly
from skimage.morphology import convex_hull_image

from processors.analysis import Pixels
from processors.vae.normalise import greys_of, resize_area

Mask = NDArray[np.bool_]
Reals = NDArray[np.float64]
Points = tuple[tuple[float, float], ...]

# The chest's own frame. Across: 0 the spine, -1 and 1 the widest walls, the patient's right first,
# as on the film; down: 0 the apices, 1 the costophrenic angles. Drawn by hand.
MEDIAL: Points = ((0.42, 0.0), (0.24, 0.05), (0.16, 0.18), (0.13, 0.5))
WALL: Points = ((0.96, 1), (1, 0.84), (0.97, 0.6), (0.9, 0.38), (0.78, 0.18), (0.6, 0.04))
RIGHT: Points = (*MEDIAL, (0.15, 0.86), (0.35, 0.82), (0.58, 0.82), (0.8, 0.89), *WALL)
LEFT: Points = (*MEDIAL, (0.12, 0.88), (0.35, 0.87), (0.58, 0.86), (0.8, 0.91), *WALL)
HEART: Points = (
    *((-0.14, 0.3), (0.2, 0.3), (0.35, 0.5), (0.6, 0.75)),
    *((0.6, 0.9), (-0.28, 0.9), (-0.3, 0.65)),
)
BELLY: Points = ((-1.0, 0.8), (1.0, 0.8), (1.05, 1.25), (-1.05, 1.25))
TRUNK: Points = (
    *((-1.0, -0.1), (1.0, -0.1), (1.04, 0.4), (1.1, 1.05)),
    *((1.05, 1.25), (-1.05, 1.25), (-1.1, 1.05), (-1.04, 0.4)),
)
SPINE = 0.18  # half its width
GREYS = {"lung": 0.25, "wall": 0.7, "heart": 0.8, "bone and belly": 0.85}  # equalised
POINTS = 20  # template points across and down

# A place is six parts of the picture's side: spine, widths of the right and the left half, apex,
# heights of the right and the left half.
EXPECTED = (  # the value of healthy and ill, children and adults, and how far it may be off
    *((0.5, 0.07), (0.125, 0.08)),  # spine, apex
    *((0.74, 0.12), (0.68, 0.16), (-0.13, 0.25)),  # width, height, logarithm of height to width
    *((0.0, 0.06), (0.0, 0.06)),  # right less left: widths, heights
)
PRIOR = 0.04  # correlation that one squared deviation costs
FLOOR = 0.01  # variance below which contrast counts as noise
LEAST = 0.35  # correlation below which there is no chest

GRID = 64  # pixels of the picture in which the template is sought
BLUR = 1.2
AIR, NEUTRAL = 0.13, 0.42  # darker than that at a side edge is air beside the body, no lung
STEPS = (0.04, 0.02, 0.01)  # of the refinement, in parts of the side
MOVES = np.array(
    [
        *((1, 0, 0, 0, 0, 0), (1, 1, -1, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)),
        *((0, 0.7, 0.7, 0, 0, 0), (0, 0, 0, 1, 0, 0), (0, 0, 0, 1, -1, -1)),
        *((0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0.7, 0.7)),
    ]
)

HEAD_POWER = 1.4  # compresses the dark
ECHO = 0.03  # equalised grey above black


@dataclass(frozen=True, slots=True)
class Places:
    """Candidates: six numbers each (n, 6); pixel (n, points) under each template point; weight
    (n, points), 0 beside the picture; the template's mean and variance, and the price, (n,).
    """

    six: Reals
    pixel: NDArray[np.intp]
    weight: NDArray[np.float32]
    mean: Reals
    variance: Reals
    price: Reals


@lru_cache(maxsize=1)
def _template() -> NDArray[np.float32]:
    """Points of the chest's frame, (4, n): across, down, the grey expected, weight (sum 1)."""
    fine = 4 * POINTS
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, fine), np.linspace(-0.1, 1.25, fine))

    def drawn(corners: Points, side: int = 1) -> Mask:
        points = np.stack([side * across.ravel(), down.ravel()], 1)
        return np.asarray(points_in_poly(points, corners)).reshape(across.shape)

    grey = np.full(across.shape, GREYS["wall"])
    grey[drawn(BELLY) | (abs(across) < SPINE)] = GREYS["bone and belly"]
    grey[drawn(RIGHT, -1) | drawn(LEFT)] = GREYS["lung"]
    grey[drawn(HEART)] = GREYS["heart"]
    trunk = drawn(TRUNK)
    layers = np.stack([across, down, grey * trunk, trunk]).astype(np.float32)
    x, y, g, w = (resize_area(layer, POINTS, POINTS).ravel() for layer in layers)
    kept = w > 0.3
    return np.stack([x, y, g / np.maximum(w, 0.3), w / w[kept].sum()])[:, kept]


def _price(six: Reals) -> Reals:
    """What the distance from the expected place costs, (n,); apices are hardly ever cut off."""
    spine, right, left, apex, tall_right, tall_left = six.T
    width, height = right + left, (tall_right + tall_left) / 2
    shape = np.stack([spine, apex, width, height, np.log(height / width)])
    uneven = np.stack([right - left, tall_right - tall_left])
    at, by = np.array(EXPECTED).T[:, :, None]
    off = (((np.concatenate([shape, uneven]) - at) / by) ** 2).sum(0)
    return np.asarray(PRIOR * (off + (np.maximum(0, -0.03 - apex) / 0.02) ** 2))


def _places(six: Reals) -> Places:
    """All of a candidate's score that does not depend on the picture."""
    across, down, grey, share = _template()
    spine, right, left, apex, tall_right, tall_left = six.T[:, :, None]
    turn = np.clip(across / 0.6 + 0.5, 0, 1)  # from the right half's height to the left's
    x = spine + across * np.where(across < 0, right, left)
    y = apex + down * (tall_right + turn * (tall_left - tall_right))
    column, row = (np.floor(at * GRID).astype(np.intp) for at in (x, y))
    on = (column >= 0) & (column < GRID) & (row >= 0) & (row < GRID)
    weight = on * share
    weight /= weight.sum(1)[:, None]
    mean = weight @ grey
    pixel = np.where(on, row * GRID + column, 0)
    return Places(six, pixel, weight, mean, weight @ grey**2 - mean**2, _price(six))


@lru_cache(maxsize=1)
def _everywhere() -> Places:
    """The coarse search: some 1500 symmetric places that are not too unlikely."""
    widths, heights = np.linspace(0.5, 1, 6), np.linspace(0.4, 1, 7)
    spines, apices = np.linspace(0.34, 0.66, 7), np.linspace(-0.02, 0.38, 9)
    six = np.array(
        [(x, w / 2, w / 2, y, h, h) for w, h, x, y in product(widths, heights, spines, apices)]
    )
    return _places(six[_price(six) < 11 * PRIOR])


def _best(picture: Pixels, places: Places) -> tuple[float, float, Reals]:
    """Correlation less price, correlation, and place of the best candidate."""
    grey = picture[places.pixel]
    weighted = places.weight * grey
    mean = weighted.sum(1)
    variance = np.einsum("ij,ij->i", weighted, grey) - mean**2
    likeness = weighted @ _template()[2] - mean * places.mean
    likeness /= np.sqrt(places.variance * (variance + FLOOR))
    best = int(np.argmax(likeness - places.price))
    return float((likeness - places.price)[best]), float(likeness[best]), places.six[best]


def _prepared(picture: Pixels) -> Pixels:
    """Equalised, without the air beside a child's body, smooth; flat, (GRID * GRID,)."""
    small = resize_area(picture, GRID, GRID)
    small = greys_of(small).to_network(small)
    parts, _ = label(small < AIR)
    beside = np.union1d(parts[:, 0], parts[:, -1])
    air = np.isin(parts, beside[beside > 0])
    calm = np.where(air, np.float32(NEUTRAL), small)
    return np.asarray(gaussian_filter(calm, BLUR), dtype=np.float32).ravel()


def _chest(picture: Pixels) -> tuple[float, Reals]:
    """Correlation at the best place and the place itself, refined half by half."""
    grey = _prepared(picture)
    top, likeness, place = _best(grey, _everywhere())
    for step in STEPS:
        for _ in range(8):
            around = _places(place + step * np.concatenate([MOVES, -MOVES]))
            better = _best(grey, around)
            if better[0] <= top:
                break
            top, likeness, place = better
    return likeness, place


def _lung(picture: Pixels) -> Mask | None:
    """Both lungs of a frontal film, the part behind the heart included, the hila in part."""
    likeness, (spine, right, left, apex, tall_right, tall_left) = _chest(picture)
    if likeness < LEAST:
        return None
    fields = np.zeros(picture.shape, bool)
    for drawn, across, down in ((RIGHT, -right, tall_right), (LEFT, left, tall_left)):
        x, y = np.array(drawn).T
        corners = np.stack([apex + y * down, spine + x * across], 1)
        fields |= polygon2mask(picture.shape, corners * picture.shape - 0.5)
    return fields


def _hull(mask: Mask, least: float) -> Mask | None:
    """Convex hull of the connected parts that fill at least this share of the picture."""
    parts, _ = label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = np.isin(parts, np.flatnonzero(sizes >= least * mask.size))
    if not kept.any():
        return None
    return np.asarray(convex_hull_image(kept, offset_coordinates=False), dtype=np.bool_)


def _opened(mask: Mask, reach: int) -> Mask:
    """Without what is narrower than 2 * reach pixels; the border takes nothing away."""
    wide = binary_opening(np.pad(mask, reach, mode="edge"), iterations=reach)
    return np.asarray(wide[reach:-reach, reach:-reach], dtype=np.bool_)


def _head(picture: Pixels) -> Mask | None:
    """Head and neck of an MR slice: Otsu's threshold (IEEE Trans SMC 9:62, 1979), and the hull.

    Equalised first and the dark compressed: then most noise around the head stays below it.
    """
    even = greys_of(picture).to_network(picture)
    soft = gaussian_filter(even, len(picture) / 100) ** HEAD_POWER
    whole = binary_fill_holes(soft > threshold_otsu(soft))
    return _hull(_opened(whole, max(1, len(picture) // 64)), 0.01)


def _breast(picture: Pixels) -> Mask | None:
    """Scan field of an ultrasound picture: the hull of all echoes wider than letters.

    Equalised first: then the faint noise in a shadow lies above the border's black.
    """
    even = greys_of(picture).to_network(picture)
    echoes = gaussian_filter(even, len(picture) / 128) > even.min() + ECHO
    return _hull(_opened(echoes, max(1, len(picture) // 20)), 0.02)


FIELDS: Mapping[str, Callable[[Pixels], Mask | None]] = {
    "lung": _lung,
    "head": _head,
    "breast": _breast,
}


def inside(share: NDArray[np.float32], field: Mask) -> float:
    """Part of a share map (g, g), sum 1, in the field (size, size); border cells count in part."""
    return float((share * resize_area(field.astype(np.float32), *share.shape)).sum())
