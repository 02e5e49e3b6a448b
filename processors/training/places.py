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


def lot(name: str) -> float:
    """A number in 0..1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def box_mask(sample: Sample, shape: tuple[int, ...], size: int) -> NDArray[np.bool_]:
    """The sample's boxes (x, y, width, height in stored pixels) on a (size, size) grid."""
    found = np.zeros((size, size), bool)
    for x, y, wide, high in sample.boxes:
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
                return np.asarray(resize_area(mask, size, size) > 0.1, dtype=np.bool_)
            if sample.boxes:
                return box_mask(sample, shape, size)
        inside = field(seen) if field else None
        return inside if inside is not None else np.zeros((size, size), bool)

    return place
