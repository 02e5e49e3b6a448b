"""The outlines of a mask: closed contours in the pixel grid of the stored image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours, label, regionprops

from processors.analysis import Region

CORNERS = 7  # least number of points of a region
MOST = 10  # the largest pieces; a viewer shows no more of use
ROUGH = 0.7  # pixels by which the outline may be simplified


def outlines(mask: NDArray[np.bool_], instance_uid: str) -> tuple[Region, ...]:
    """Contours of the pieces of a mask (rows, columns), the largest first; holes are closed."""
    parts = label(mask, connectivity=1)  # of what meets at a corner alone one contour would be lost
    pieces = sorted(regionprops(parts), key=lambda piece: (-piece.area, piece.label))
    found = []
    for piece in pieces[:MOST]:
        top, left = piece.bbox[:2]
        (contour, *_) = sorted(find_contours(np.pad(piece.image_filled, 1), 0.5), key=len)[::-1]
        short = approximate_polygon(contour, ROUGH)
        points = (short if len(short) >= CORNERS else contour) - 0.5 + np.array([top, left])
        points[-1] = points[0]
        if len(points) >= CORNERS:
            listed = tuple((float(column), float(row)) for row, column in points)
            found.append(Region(instance_uid, listed, shows="extent"))
    return tuple(found)
