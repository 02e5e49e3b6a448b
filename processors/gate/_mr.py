"""Slices of MR by header: localizers, calculated maps, sequences that are not T1, turned slices.

Image Type: PS3.3 C.8.3.1.1.1 and what Siemens, GE and Philips write beside it. Scanning Sequence
and Echo Time: C.8.3.1. Orientation: C.7.6.2.1.1; on a usual slice rows run to the left or to the
back of the head, columns to the back or to the feet. Only what is clearly said refuses.
"""

from __future__ import annotations

import re
from itertools import pairwise

from pydicom.dataset import Dataset

from processors.gate._text import decimal, first, numbers, tokens_of, values, words

LONGEST_ECHO = 60.0  # ms; T1-weighted echoes are shorter than 30, T2-weighted ones longer than 70
LOCALIZERS = words("LOCALIZER SCOUT SURVEY LOCALIZADOR LOC AAHSCOUT AAHEAD TOPOGRAM")
MAPS = words(
    "ADC DIFFUSION TRACEW TRACE FA PERFUSION CBF CBV RCBF RCBV MTT TTP TMAX MIP PHASE P MAP "
    "SUBTRACT SUBTRACTION SUB PROJECTION VELOCITY"
)
PROJECTIONS = words("MIP MINIP MPVR PROJECTION")
NOT_T1 = words(
    "FLAIR TIRM STIR DWI ADC DTI DIFF DIFFUSION DIFUSION SWI SWAN VENBOLD TOF MRA ANGIO BOLD FMRI "
    "PERF PERFUSION ASL MRS ESPECTROSCOPIA SPECTROSCOPY TRACE TRACEW CISS FIESTA HASTE PD DP "
    "DENSITY SSFSE CBF CBV MTT"
)
T1 = re.compile(r"[A-Z]{0,2}T1(?!\d)")
T2 = re.compile(r"[A-Z]{0,2}T2(?!\d)")
T1_NAMES = words("MPRAGE BRAVO SPGR FSPGR VIBE TFL THRIVE")
ECHO_PLANAR = re.compile(r"\*?_?EP(I|SE|FID|_|2D|3D|B|\d)", re.IGNORECASE)
NO_AGENT = words("NO NONE NINGUNO NINGUNA SIN WITHOUT")
AGENTS = ("CONTRAST", "CIV", "GD", "GAD", "GADO", "GADOLINIO", "GADOLINIUM")
USUAL = {("x", "y"), ("x", "z"), ("y", "z")}  # axial, coronal, sagittal


def says_plain(header: Dataset) -> bool:
    """The header says clearly that no contrast agent was given."""
    agent = tokens_of(header, "ContrastBolusAgent")
    if agent and agent[0] in NO_AGENT:
        return True
    said = tokens_of(header, "SeriesDescription")
    following = dict(pairwise(said))
    return any(
        following.get(word, "").startswith(AGENTS)
        for word in ("SIN", "NO", "NON", "WITHOUT", "PRE")
    )


def says_mirrored(header: Dataset) -> bool:
    """Rows run to the right or to the front: a mirror image of the usual slice."""
    row, _ = _directions(header)
    return row in ("-x", "-y")


def localizer(header: Dataset) -> str | None:
    said = {*_image_type(header), *tokens_of(header, "SeriesDescription")}
    return "localizer" if said & LOCALIZERS else None


def _map(header: Dataset) -> str | None:
    """Image Type holds the name of a map after its first two values."""
    return "derived" if _image_type(header) & MAPS else None


def projection(header: Dataset) -> str | None:
    """A slice that is none: the largest or smallest values along many."""
    return "projection" if _image_type(header) & PROJECTIONS else None


def _sequence(header: Dataset) -> str | None:
    if "EP" in values(header, "ScanningSequence"):
        return "sequence"
    if (decimal(header, "DiffusionBValue") or 0.0) > 0:
        return "sequence"
    if (decimal(header, "EchoTime") or 0.0) >= LONGEST_ECHO:
        return "sequence"
    if ECHO_PLANAR.match(first(header, "SequenceName")):
        return "sequence"
    for keyword in ("SeriesDescription", "ProtocolName"):
        said = tokens_of(header, keyword)
        if any(T1.match(word) or word in T1_NAMES for word in said):
            return None
        if any(T2.match(word) or word in NOT_T1 for word in said):
            return "sequence"
    return None


def _turned(header: Dataset) -> str | None:
    row, column = _directions(header)
    if not row:
        return None
    usual = (row[1:], column[1:]) in USUAL and column in ("+y", "-z")
    return None if usual else "rotated"


def _directions(header: Dataset) -> tuple[str, str]:
    """The main direction of rows and of columns, +x to the left, +y to the back, +z to the head."""
    cosines = numbers(header, "ImageOrientationPatient")
    if len(cosines) != 6 or not any(cosines[:3]) or not any(cosines[3:]):
        return "", ""
    return _main(cosines[:3]), _main(cosines[3:])


def _main(cosines: tuple[float, ...]) -> str:
    largest = max(range(3), key=lambda axis: abs(cosines[axis]))
    return ("-" if cosines[largest] < 0 else "+") + "xyz"[largest]


def _image_type(header: Dataset) -> frozenset[str]:
    return frozenset(word for value in values(header, "ImageType")[2:] for word in value.split())


RULES = (localizer, _map, _sequence, _turned)
