"""Where on the film the evidence lies: closed contours in the pixel grid of the stored image.

The head's own share of each cell, smoothed, cut at the level that holds most of the evidence.
A pointer to where the model looked, not the outline of a lesion: a cell is 1/16 of the film.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.draw import polygon2mask
from skimage.measure import approximate_polygon, find_contours

from processors.analysis import Region
from processors.vae.latent import Array, shares

HELD = 0.6  # share of the evidence that the contours enclose
SMALLEST = 0.05  # share of the evidence below which one contour is not drawn
MOST = 3
FINE = 8  # steps per cell
CORNERS = 7  # least number of points of a region


def evidence_map(cells: Array) -> Array:
    """Share of the decision per place, (g * FINE, g * FINE), smoothed; sums to 1."""
    wide = gaussian_filter(np.kron(shares(cells), np.ones((FINE, FINE))), FINE * 0.6)
    return np.asarray(wide / wide.sum(), dtype=np.float32)


def _level(field: Array) -> float:
    ordered = np.sort(field.ravel())[::-1]
    return float(ordered[int(np.searchsorted(np.cumsum(ordered), HELD))])


def _points(contour: Array, field: Array, shape: tuple[int, int]) -> Array:
    """(column, row) on the source grid, closed, at least CORNERS points, inside the image."""
    short = approximate_polygon(contour, 1.0)
    if len(short) < CORNERS:
        short = contour
    inner = short - 1 + 0.5  # the padding's pixel, then centres to edges
    scale = np.array(shape) / np.array(field.shape)
    placed = np.clip(inner * scale, 0, np.array(shape))
    placed[-1] = placed[0]
    return np.asarray(placed[:, ::-1], dtype=np.float32)


def regions(cells: Array, instance_uid: str, shape: tuple[int, int]) -> tuple[Region, ...]:
    """Contours, most evidence first, on the stored grid (rows, columns) of the instance."""
    field = evidence_map(cells)
    padded = np.pad(field, 1)
    found = []
    for contour in find_contours(padded, _level(field)):
        inside = polygon2mask(padded.shape, contour)
        share = float(padded[inside].sum())
        if share >= SMALLEST and len(contour) >= CORNERS:
            found.append((share, contour))
    found.sort(key=lambda pair: -pair[0])
    return tuple(
        Region(instance_uid, tuple((float(x), float(y)) for x, y in _points(c, field, shape)))
        for _, c in found[:MOST]
    )
