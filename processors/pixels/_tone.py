"""Turns stored values into grey: modality LUT, VOI LUT, inversion (PS3.3 C.11.1, C.11.2).

Where functional groups describe a frame, they win over the top level (PS3.3 C.7.6.16). A window
that is impossible, or that would leave the whole picture one grey, is what no radiologist would
keep: robust percentiles of what is visible take its place, as for an object without any window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from processors.analysis import Pixels
from processors.pixels._layout import text, whole

GROUPS = (
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "FrameDisplayShutterSequence",
    "PixelMeasuresSequence",
)
ANGIOGRAPHY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")
DARK, BRIGHT = 0.5, 99.5  # percentiles that stand in for a window
SAMPLE = 1_000_000  # pixels that are enough for a percentile
IN_CACHE = 1 << 16  # pixels on which one step follows another while they are at hand
Shown = Callable[[Pixels], Pixels]  # from values, which may be used up, to greys 0..1


def attributes_of_frame(dataset: Dataset, frame: int) -> Dataset:
    """The picture's display attributes, those of the frame's functional groups on top."""
    flat = Dataset()
    for element in dataset.group_dataset(0x0028):
        flat[element.tag] = element
    for element in dataset.group_dataset(0x0018):
        flat[element.tag] = element
    for keyword in ("PresentationLUTShape", "SOPClassUID"):
        if keyword in dataset:
            flat[keyword] = dataset[keyword]
    for item in _group_items(dataset, frame):
        for element in item:
            flat[element.tag] = element
    flat.set_original_encoding(*dataset.original_encoding)
    return flat


def padding(stored: NDArray[Any], attributes: Dataset) -> NDArray[np.bool_] | None:
    """Where the pixels are padding (PS3.3 C.7.5.1.1.2); None when nothing is."""
    value = whole(attributes, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(attributes, "PixelPaddingRangeLimit", value)
    ends = np.array([value, value if limit is None else limit], dtype=np.int64)
    if stored.dtype == np.int16:
        ends = ends.astype(np.int16)  # -2000 that was written as unsigned reads 63536
    low, high = sorted(ends)
    found: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return found if found.any() and not found.all() else None


def tone(stored: NDArray[Any], attributes: Dataset, visible: NDArray[np.bool_]) -> Pixels:
    """(rows, columns) float32 in 0..1, bone bright. visible: what counts for percentiles."""
    values = modality_values(stored, attributes)
    picture = _voi(values, attributes, visible)
    inverse = text(attributes, "PhotometricInterpretation") == "MONOCHROME1"
    # INVERSE goes with MONOCHROME1 (PS3.3 C.8.11.3.1.2): one inversion for both, never two
    if inverse or text(attributes, "PresentationLUTShape") == "INVERSE":
        np.subtract(np.float32(1.0), picture, out=picture)
    return picture


def pixel_aspect(attributes: Dataset) -> float:
    """Height over width of a pixel from the spacings or the ratio, else 1."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        pair = _numbers(attributes, keyword)
        if len(pair) == 2 and min(pair) > 0 and 0.01 < pair[0] / pair[1] < 100:
            return pair[0] / pair[1]
    return 1.0


def _group_items(dataset: Dataset, frame: int) -> Iterator[Dataset]:
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*shared[:1], *each[frame - 1 : frame]]
    for group in groups:
        for keyword in GROUPS:
            yield from (group.get(keyword) or [])[:1]


def _numbers(attributes: Dataset, keyword: str) -> list[float]:
    try:
        value = attributes.get(keyword)
        several = value if isinstance(value, (list, tuple, MultiValue)) else [value]
        numbers = [float(one) for one in several if one is not None and one != ""]
    except (TypeError, ValueError, AttributeError):
        return []
    return numbers if np.isfinite(numbers).all() else []


def modality_values(stored: NDArray[Any], attributes: Dataset) -> Pixels:
    """(rows, columns) float32 after the modality LUT or rescale (CT: Hounsfield units)."""
    values = stored.astype(np.float32)
    table = _table(attributes, "ModalityLUTSequence", values)
    if table is not None and not _table_is_for_measuring(attributes):
        entries, first, _ = table
        return entries[np.clip(stored.astype(np.int64) - first, 0, len(entries) - 1)]
    slope = (_numbers(attributes, "RescaleSlope") or [1.0])[0]
    intercept = (_numbers(attributes, "RescaleIntercept") or [0.0])[0]
    if slope not in (0.0, 1.0):
        values *= np.float32(slope)
    if intercept:
        values += np.float32(intercept)
    return values


def _table_is_for_measuring(attributes: Dataset) -> bool:
    """In angiography the modality LUT makes values linear and is not for display.

    PS3.3 C.8.7.1.1.2: with Pixel Intensity Relationship LIN or LOG the stored values are shown.
    """
    relation = text(attributes, "PixelIntensityRelationship")
    return text(attributes, "SOPClassUID") in ANGIOGRAPHY and relation in ("LIN", "LOG")


def _voi(values: Pixels, attributes: Dataset, visible: NDArray[np.bool_]) -> Pixels:
    """The picture of these values, which are used up."""
    shown = _by_table(values, attributes) or _by_window(attributes)
    if shown is None or _hides(shown, _sample(values, visible)):
        return _by_percentiles(values, visible)
    return shown(values)


def _hides(shown: Shown, seen: Pixels) -> bool:
    """Whether what is not one grey would become one; asked of a sample, which is used up."""
    if seen.size == 0 or seen.min() == seen.max():
        return False
    made = shown(seen)
    return bool(made.min() == made.max())


def _sample(values: Pixels, visible: NDArray[np.bool_]) -> Pixels:
    step = max(1, int(np.sqrt(values.size / SAMPLE)))
    if visible.all():
        return values[::step, ::step].copy()
    seen: Pixels = values[::step, ::step][visible[::step, ::step]]
    return seen if seen.size else values[visible]


def _by_percentiles(values: Pixels, visible: NDArray[np.bool_]) -> Pixels:
    seen = _sample(values, visible)
    if seen.size == 0:
        return np.zeros_like(values)
    low, high = (float(edge) for edge in np.percentile(seen, (DARK, BRIGHT)))
    if high <= low:
        low, high = float(seen.min()), float(seen.max())
    if high <= low:
        return np.zeros_like(values)
    return _ramp(values, low, high - low, at=0.0)


def _by_window(attributes: Dataset) -> Shown | None:
    """The first window, by the function it names (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centres, widths = (_numbers(attributes, f"Window{part}") for part in ("Center", "Width"))
    if not centres or not widths:
        return None
    centre, width = centres[0], widths[0]
    function = text(attributes, "VOILUTFunction") or "LINEAR"
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        return lambda values: _sigmoid(values, centre, width)
    if function == "LINEAR_EXACT":
        return lambda values: _ramp(values, centre, width)
    if width == 1:
        return lambda values: (values > centre - 0.5).astype(np.float32)
    return lambda values: _ramp(values, centre - 0.5, width - 1)


def _sigmoid(values: Pixels, centre: float, width: float) -> Pixels:
    steep = np.clip(-4.0 * (values - centre) / width, -80.0, 80.0)
    return np.asarray(1.0 / (1.0 + np.exp(steep)), dtype=np.float32)


def _ramp(values: Pixels, centre: float, width: float, at: float = 0.5) -> Pixels:
    """In place; at: the grey of the centre."""
    for rows in np.array_split(values, max(1, values.size // IN_CACHE)):
        rows -= np.float32(centre)
        rows /= np.float32(width)
        rows += np.float32(at)
        np.clip(rows, 0.0, 1.0, out=rows)
    return values


def _by_table(values: Pixels, attributes: Dataset) -> Shown | None:
    table = _table(attributes, "VOILUTSequence", values)
    if table is None:
        return None
    entries, first, bits = table
    whitest = 2.0**bits - 1
    if entries.max() < whitest / 4 or entries.max() > whitest:  # the descriptor's bits are wrong
        whitest = float(entries.max())
    if whitest <= 0:
        return None

    def shown(values: Pixels) -> Pixels:
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)
        return np.asarray((entries / np.float32(whitest))[index])

    return shown


def _table(attributes: Dataset, keyword: str, values: Pixels) -> tuple[Pixels, int, int] | None:
    """(entries, first value mapped, bits) of the first item of a LUT sequence (C.11.1.1.1)."""
    items = attributes.get(keyword) or []
    descriptor = _numbers(items[0], "LUTDescriptor") if len(items) else []
    if len(descriptor) != 3 or "LUTData" not in items[0]:
        return None
    count, first, bits = (int(number) for number in descriptor)
    if first >= 32_768 and values.min() < 0:  # written as signed, read as unsigned
        first -= 65_536
    entries = _entries(items[0].LUTData, count or 65_536, attributes)
    return None if entries is None or not 1 <= bits <= 16 else (entries, first, bits)


def _entries(data: Any, count: int, attributes: Dataset) -> Pixels | None:
    if isinstance(data, (bytes, bytearray)):
        big = attributes.original_encoding[1] is False
        kind = "u1" if len(data) in (count, count + count % 2) else (">u2" if big else "<u2")
        whole_entries = len(data) // np.dtype(kind).itemsize * np.dtype(kind).itemsize
        entries = np.frombuffer(bytes(data[:whole_entries]), dtype=kind)[:count]
    else:
        listed = data if isinstance(data, (list, tuple, MultiValue)) else [data]
        entries = np.asarray([int(one) for one in listed if one not in (None, "")])[:count]
    return entries.astype(np.float32) if entries.size else None
