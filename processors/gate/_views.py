"""Frontal views of the chest by header: CID 4010 and PS3.3 C.8.11.5 for views, C.7.6.1.1.1 for
orientation.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from processors.gate._regions import FRONTAL, LATERAL
from processors.gate._said import SAID_OF_SERIES
from processors.gate._text import meanings, values, words_of


def says_frontal(header: Dataset) -> bool:
    """Whether the header states a frontal view, which pixels may then contradict."""
    return _view(header) == "frontal"


def says_mirrored(header: Dataset) -> bool:
    """Rows run to the patient's right: the picture is a mirror image of the usual display."""
    row, _ = _orientation(header)
    return row.startswith("R")


def refused(header: Dataset) -> str | None:
    view = _view(header)
    if view in ("view", "contradiction", "rotated"):
        return view
    said = words_of(header, SAID_OF_SERIES)
    if said & LATERAL and not said & FRONTAL:
        return "contradiction" if view == "frontal" else "view"
    return None


def _view(header: Dataset) -> str:
    """frontal, view (another one), rotated, contradiction, or nothing stated."""
    position = words_of(header, ("ViewPosition",))
    coded = meanings(header, "ViewCodeSequence")
    row, column = _orientation(header)
    claims = set()
    for said in (position, coded):
        if said & LATERAL:
            claims.add("view")
        elif said & FRONTAL:
            claims.add("frontal")
    if row[:1] in ("A", "P") and column[:1] in ("F", "H"):
        claims.add("view")
    if claims == {"view", "frontal"}:
        return "contradiction"
    upright = (row[:1], column[:1])
    if upright[0] in ("F", "H") or (upright[0] in ("L", "R") and upright[1] == "H"):
        return "rotated"
    return claims.pop() if claims else ""


def _orientation(header: Dataset) -> tuple[str, str]:
    stated = values(header, "PatientOrientation")
    return (stated[0], stated[1]) if len(stated) == 2 else ("", "")
