"""Where the evidence of a finding may lie on a training image: its box, its mask, or the organ.

Weak supervision for the head: of a finding that has such a place, the joint probability of the
answer *and* a cell inside is trained. A box is used for a fixed share of the images that have one,
chosen by the image's name, so that the figures say what few boxes buy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.explain.field import FIELDS
from processors.training.data import Place, Sample
from processors.training.plan import PlanError
from processors.vae.normalise import Image, resize_area

BEYOND = 1.01  # of the picture's side: where a box that was rounded may end


def lot(name: str) -> float:
    """A number in 0..1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def box_mask(sample: Sample, shape: tuple[int, ...], size: int) -> NDArray[np.bool_]:
    """The sample's boxes (x, y, width, height in stored pixels) on a (size, size) grid.

    Raises ValueError for a box that leaves the picture: it is in the pixels of another.
    """
    found = np.zeros((size, size), bool)
    for x, y, wide, high in sample.boxes:
        if x + wide > shape[1] * BEYOND + 1 or y + high > shape[0] * BEYOND + 1:
            raise ValueError(
                f"{sample.path} has {shape[1]} x {shape[0]} pixels, and a box of it ends at "
                f"{x + wide:g}, {y + high:g}: boxes are in pixels of the picture as it is shown"
            )
        rows = slice(int(y * size / shape[0]), int(np.ceil((y + high) * size / shape[0])))
        columns = slice(int(x * size / shape[1]), int(np.ceil((x + wide) * size / shape[1])))
        found[rows, columns] = True
    return found


def place_of(terms: Mapping[str, Any], size: int) -> Place | None:
    """From a plan's "place": {"field": organ} and/or {"boxes": share of boxed images used}."""
    if not terms:
        return None
    name, share = str(terms.get("field", "")), float(terms.get("boxes", 0))
    if name not in ("", *FIELDS):
        raise PlanError(f"The place names the field {name!r}; known: {', '.join(FIELDS)}.")
    field = FIELDS.get(name)

    def place(
        sample: Sample, shape: tuple[int, ...], mask: Image | None, seen: Image
    ) -> NDArray[np.bool_]:
        if lot(sample.path) < share:
            if mask is not None and mask.any():
                marked = (mask > mask.max() / 2).astype(np.float32)  # 1 or 255, as masks are saved
                return np.asarray(resize_area(marked, size, size) > 0.1, dtype=np.bool_)
            if sample.boxes:
                return box_mask(sample, shape, size)
        inside = field(seen) if field else None
        return inside if inside is not None else np.zeros((size, size), bool)

    return place
