"""Turns one frame of any image instance into the array a radiologist would see.

In: a data set with its pixel data. Out: float32 (rows, columns), 0..1, bone bright (the sense of
MONOCHROME2), on the stored pixel grid: `render`; what was measured (CT: HU): `values`; how much of
it is coloured: `colour`; the height of a pixel over its width: `aspect`.
Files: `read_dataset` opens one and inflates a deflated one only as far as a limit.
Order of PS3.3 C.11 and PS3.4 N.2: decode, modality LUT, VOI LUT, inversion; then what is padding or
lies behind a shutter is black. Everything a header or a codestream claims about size is compared
with what is there before an array is made. Never: a decision about what the picture shows.
Raises only `RefusedPixels` (an `UnreadablePixels`) with a `Cause` that a caller can translate.
"""

from __future__ import annotations

import warnings

import numpy as np
from pydicom.dataset import Dataset

from processors.analysis import Pixels
from processors.pixels._bounded import read_dataset
from processors.pixels._decode import coloured, is_colour, luminance, stored_values
from processors.pixels._layout import Cause, Layout, RefusedPixels, layout
from processors.pixels._shutter import open_area
from processors.pixels._tone import (
    attributes_of_frame,
    modality_values,
    padding,
    pixel_aspect,
    tone,
)

__all__ = ["Cause", "RefusedPixels", "aspect", "colour", "read_dataset", "render", "values"]


def render(dataset: Dataset, frame: int = 1) -> Pixels:
    """The frame as a radiologist sees it; frames count from 1 as in DICOM.

    Returns: (rows, columns) float32 in 0..1, owned by the caller.
    Raises: RefusedPixels (missing, too short, absurd, damaged, unsupported).
    """
    with warnings.catch_warnings():
        # pydicom warns of values that break their VR, surplus bytes and colour spaces; here the
        # checks decide, and a warning's text may hold a patient's data
        warnings.simplefilter("ignore")
        plan = layout(dataset, frame)
        stored = stored_values(dataset, plan)
        if is_colour(plan):
            return luminance(stored, dataset, plan)
        return _grey(stored, dataset, plan)


def values(dataset: Dataset, frame: int = 1) -> Pixels:
    """The frame as measured: (rows, columns) float32 after the modality LUT, without a window.

    Raises: RefusedPixels, as `render` does, and for a frame in colour, which measures nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = layout(dataset, frame)
        if is_colour(plan):
            raise RefusedPixels(Cause.UNSUPPORTED, "A picture in colour holds no measured values.")
        stored = stored_values(dataset, plan)
        return modality_values(stored, attributes_of_frame(dataset, frame))


def colour(dataset: Dataset, frame: int = 1) -> float:
    """The share of the frame's pixels that are coloured, 0..1; 0 for a frame in grey values.

    Raises: RefusedPixels, as `render` does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = layout(dataset, frame)
        if not is_colour(plan):
            return 0.0
        return coloured(stored_values(dataset, plan), dataset, plan)


def aspect(dataset: Dataset, frame: int = 1) -> float:
    """Height of one pixel divided by its width; 1.0 when nothing sensible is stated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_aspect(attributes_of_frame(dataset, frame))


def _grey(stored: np.ndarray, dataset: Dataset, plan: Layout) -> Pixels:
    attributes = attributes_of_frame(dataset, plan.frame)
    shown = open_area(attributes, (plan.rows, plan.columns))
    padded = padding(stored, attributes)
    visible = shown & ~padded if padded is not None else shown
    picture = tone(stored, attributes, visible)
    picture[~visible] = 0.0
    return picture
