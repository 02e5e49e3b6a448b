"""Outlines of a mask: every piece is drawn, where it lies and as large as it is."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import grid_points_in_poly

from processors.adapters.outlines import outlines


def drawn(mask: np.ndarray) -> np.ndarray:
    """The pixels whose middle some outline holds."""
    held = np.zeros_like(mask)
    for one in outlines(mask, "1.2"):
        corners = np.array(one.points)[:, ::-1] - 0.5  # (row, column) of pixels' middles
        held |= np.asarray(grid_points_in_poly(mask.shape, corners))
    return held


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((48, 64), bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(boxes((4, 10, 20, 40)), id="one"),
        pytest.param(boxes((0, 0, 48, 64)), id="all of it"),
        pytest.param(boxes((2, 2, 12, 12), (20, 30, 40, 60)), id="apart"),
        pytest.param(boxes((2, 2, 12, 12), (12, 12, 32, 40)), id="touch with a corner"),
        pytest.param(boxes((2, 20, 12, 32), (12, 2, 32, 20)), id="touch with the other corner"),
    ],
)
def test_every_piece_is_drawn(mask: np.ndarray) -> None:
    missed, added = mask & ~drawn(mask), drawn(mask) & ~mask
    assert missed.sum() + added.sum() <= 4 * len(outlines(mask, "1.2"))  # corners may be cut


def test_a_hole_is_closed() -> None:
    mask = boxes((4, 10, 40, 50))
    mask[15:25, 20:30] = False
    assert drawn(mask)[15:25, 20:30].all()
    assert len(outlines(mask, "1.2")) == 1
