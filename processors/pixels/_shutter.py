"""Which part of a picture its display shutters leave open (PS3.3 C.7.6.11).

Edges and centres count rows and columns from 1; several shapes leave open what all leave open. A
shutter that is incomplete, or that would hide everything, is ignored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from skimage.draw import polygon2mask

from processors.pixels._layout import whole

Mask = NDArray[np.bool_]


def open_area(attributes: Dataset, shape: tuple[int, int]) -> Mask:
    """True where the picture is shown."""
    shown = np.ones(shape, dtype=np.bool_)
    stated = attributes.get("ShutterShape")
    for name in stated if isinstance(stated, (list, tuple, MultiValue)) else [stated]:
        drawn = _draw(str(name).strip().upper(), attributes, shape)
        if drawn is not None and (shown & drawn).any():
            shown &= drawn
    return shown


def _draw(name: str, attributes: Dataset, shape: tuple[int, int]) -> Mask | None:
    if name == "RECTANGULAR":
        return _rectangle(attributes, shape)
    if name == "CIRCULAR":
        return _circle(attributes, shape)
    return _polygon(attributes, shape) if name == "POLYGONAL" else None


def _rectangle(attributes: Dataset, shape: tuple[int, int]) -> Mask | None:
    edges = [
        whole(attributes, f"Shutter{edge}Edge")
        for edge in ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    ]
    if any(edge is None for edge in edges):
        return None
    top, bottom, left, right = (edge or 0 for edge in edges)
    shown = np.zeros(shape, dtype=np.bool_)
    # PS3.3 C.7.6.11: the edges themselves are the first lines that are hidden on each side
    shown[max(top, 0) : max(bottom - 1, 0), max(left, 0) : max(right - 1, 0)] = True
    return shown


def _circle(attributes: Dataset, shape: tuple[int, int]) -> Mask | None:
    centre = _whole_list(attributes, "CenterOfCircularShutter")
    radius = whole(attributes, "RadiusOfCircularShutter")
    if len(centre) != 2 or not radius or radius < 0:
        return None
    rows = np.arange(1, shape[0] + 1, dtype=np.float64)[:, None] - centre[0]
    columns = np.arange(1, shape[1] + 1, dtype=np.float64)[None, :] - centre[1]
    inside: Mask = rows**2 + columns**2 <= float(radius) ** 2
    return inside


def _polygon(attributes: Dataset, shape: tuple[int, int]) -> Mask | None:
    flat = _whole_list(attributes, "VerticesOfThePolygonalShutter")
    if len(flat) < 6 or len(flat) % 2:
        return None
    corners = np.asarray(flat, dtype=np.float64).reshape(-1, 2) - 1.0
    drawn: Mask = polygon2mask(shape, corners)
    return drawn


def _whole_list(attributes: Dataset, keyword: str) -> list[int]:
    value = attributes.get(keyword)
    if not isinstance(value, (list, tuple, MultiValue)):
        return []
    try:
        return [int(one) for one in value]
    except (TypeError, ValueError):
        return []
