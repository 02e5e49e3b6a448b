"""The slices of one CT or MR series as a volume: in order, without gaps, with its place in space.

PS3.3 C.7.6.2: Image Position and Orientation (Patient) of each slice, in mm, LPS; MONAI and NIfTI
count in RAS, so the first two axes change their sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from processors.analysis import Study

UNEVEN = 0.1  # share of the spacing by which a gap may differ from the others
TURNED = 1e-3  # difference of direction cosines that is rounding


@dataclass(frozen=True, slots=True)
class Series:
    """uids: in order of position. affine: (column, row, slice) -> mm in RAS, (4, 4).

    millilitres: of one voxel. slanted: the slices do not lie straight behind each other, as a
    tilted gantry takes them; then the affine is only that of each slice.
    """

    uids: tuple[str, ...]
    affine: NDArray[np.float64]
    millilitres: float
    slanted: bool = False


def longest(study: Study, accepted: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The accepted images of the longest series, and how many other series there are."""
    found: dict[str, list[str]] = defaultdict(list)
    for uid in accepted:
        found[str(study.header(uid).get("SeriesInstanceUID", ""))].append(uid)
    best = min(found, key=lambda series: (-len(found[series]), series))
    return tuple(found[best]), len(found) - 1


def volume(study: Study, uids: Sequence[str]) -> Series | str:
    """The volume, or the kind of refusal: geometry or slices."""
    headers = {uid: study.header(uid) for uid in uids}
    placed = {uid: _place(header) for uid, header in headers.items()}
    first = placed[uids[0]]
    if first is None or any(one is None or not _alike(one, first) for one in placed.values()):
        return "geometry"
    normal = np.cross(first.row, first.column)
    along = {uid: float(one.origin @ normal) for uid, one in placed.items() if one is not None}
    ordered = sorted(uids, key=lambda uid: (along[uid], uid))
    steps = np.diff([along[uid] for uid in ordered])
    if len(ordered) < 2:
        return "slices"
    usual = float(np.median(steps))
    if usual <= 0 or np.abs(steps - usual).max() > UNEVEN * usual:
        return "slices"
    origin = placed[ordered[0]]
    places = np.array([one.origin for uid in ordered if (one := placed[uid]) is not None])
    aside = np.diff(places, axis=0) - steps[:, None] * normal
    lps = np.eye(4)
    lps[:3, 0] = first.row * first.across
    lps[:3, 1] = first.column * first.down
    lps[:3, 2] = normal * usual
    lps[:3, 3] = origin.origin if origin is not None else 0.0
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    slanted = bool(np.linalg.norm(aside, axis=1).max() > UNEVEN * usual)
    return Series(tuple(ordered), affine, first.across * first.down * usual / 1000, slanted)


def is_in_hounsfield(header: Dataset) -> bool:
    """Whether a CT image says how its values become HU: a map of iodine or of energy does not.

    PS3.3 C.8.2.1: slope and intercept are a must, and a Rescale Type where it is no HU; some write
    US (unspecified) for HU.
    """
    stated = all(header.get(f"Rescale{part}") is not None for part in ("Slope", "Intercept"))
    unit = str(header.get("RescaleType") or "").strip().upper()
    return unit in ("", "HU", "US") and (stated or bool(header.get("ModalityLUTSequence")))


def pixel_size(header: Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in mm, of a film at its detector; None where nothing says so."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            down, across = (float(one) for one in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if min(down, across) > 0 and np.isfinite([down, across]).all():
            return down, across
    return None


@dataclass(frozen=True, slots=True)
class _Place:
    origin: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    across: float
    down: float
    grid: tuple[int, int]
    frame: str


def _place(header: Dataset) -> _Place | None:
    """Where a slice lies; None when its header does not say."""
    try:
        origin = np.array([float(one) for one in header.ImagePositionPatient])
        cosines = np.array([float(one) for one in header.ImageOrientationPatient])
        down, across = (float(one) for one in header.PixelSpacing)
        grid = (int(header.Rows), int(header.Columns))
        frame = str(header.FrameOfReferenceUID)
    except (AttributeError, TypeError, ValueError):
        return None
    whole = len(origin) == 3 and len(cosines) == 6 and min(down, across) > 0
    if not whole or not np.isfinite([*origin, *cosines]).all() or not frame:
        return None
    return _Place(origin, cosines[:3], cosines[3:], across, down, grid, frame)


def _alike(one: _Place, other: _Place) -> bool:
    turned = np.abs(np.r_[one.row - other.row, one.column - other.column]).max()
    spaced = np.allclose((one.across, one.down), (other.across, other.down), rtol=1e-3)
    return bool(turned < TURNED and spaced and one.grid == other.grid and one.frame == other.frame)
