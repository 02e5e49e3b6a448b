"""Refuses by header: what an instance says of itself, before any pixel is read.

Each rule is a function from a header to the kind of its refusal, or None; they are asked in order
of how far an instance is from being a film that the model may judge. A header that says nothing
passes: then the pixels decide. CID 4010 and PS3.3 C.8.11.5 for views, C.7.6.1.1.1 for orientation.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from processors.gate._card import Terms
from processors.gate._regions import (
    ANIMAL,
    CHEST_CODES,
    ELSEWHERE,
    FRONTAL,
    HUMAN,
    LATERAL,
    SILENT,
    SURELY_ELSEWHERE,
)
from processors.gate._text import first, items, meanings, number, values, words, words_of

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame siblings below it
SCANNED = ("SD", "SI", "DRW", "SYN")  # ConversionType: document, scanned image, drawing, synthetic
OUR_NAME = "DICTAMEN"
ANATOMY = "AnatomicRegionSequence"
SAID_OF_SERIES = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionProtocolName",
    "AcquisitionDeviceProcessingDescription",
)
SAID_OF_STUDY = (
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)
GREY = ("MONOCHROME1", "MONOCHROME2")

Rule = Callable[[Dataset, Terms], str | None]


def refused_kind(header: Dataset, terms: Terms) -> tuple[str, int] | None:
    """The kind of the first rule that refuses, and that rule's number; None when none does."""
    for number_of_rule, rule in enumerate(RULES):
        kind = rule(header, terms)
        if kind is not None:
            return kind, number_of_rule
    return None


def says_frontal(header: Dataset) -> bool:
    """Whether the header states a frontal view, which pixels may then contradict."""
    return _view(header) == "frontal"


def says_mirrored(header: Dataset) -> bool:
    """Rows run to the patient's right: the picture is a mirror image of the usual display."""
    row, _ = _orientation(header)
    return row.startswith("R")


def _no_image(header: Dataset, _: Terms) -> str | None:
    return None if number(header, "Rows") and number(header, "Columns") else "not-an-image"


def _capture(header: Dataset, _: Terms) -> str | None:
    """Results, ours or another program's, and scanned papers; films sent as captures pass."""
    equipment = items(header, "ContributingEquipmentSequence")
    if any(OUR_NAME in first(item, "Manufacturer") for item in equipment):
        return "secondary-capture"
    # some archives write the values of ImageType in one, parted by a blank
    secondary = "SECONDARY" in " ".join(values(header, "ImageType")).split()
    capture = first(header, "SOPClassUID").startswith(SECONDARY_CAPTURE)
    other = first(header, "Modality") in ("OT", "SC")
    if (secondary and (capture or other)) or first(header, "ConversionType") in SCANNED:
        return "secondary-capture"
    return None


def _modality(header: Dataset, terms: Terms) -> str | None:
    return None if first(header, "Modality") in terms.modalities else "modality"


def _species(header: Dataset, _: Terms) -> str | None:
    stated = words(first(header, "PatientSpeciesDescription")) | meanings(
        header, "PatientSpeciesCodeSequence"
    )
    if stated and not stated & HUMAN:
        return "species"
    described = words_of(header, (*SAID_OF_SERIES, *SAID_OF_STUDY))
    return "species" if described & ANIMAL else None


def _processing(header: Dataset, _: Terms) -> str | None:
    intent = first(header, "PresentationIntentType")
    return "for-processing" if intent == "FOR PROCESSING" else None


def _frames(header: Dataset, _: Terms) -> str | None:
    stated = first(header, "NumberOfFrames")
    return "frames" if stated and number(header, "NumberOfFrames") != 1 else None


def _colour(header: Dataset, _: Terms) -> str | None:
    stated = first(header, "PhotometricInterpretation")
    return "colour" if stated and stated not in GREY else None


def _side(header: Dataset, terms: Terms) -> str | None:
    sides = (number(header, "Rows") or 0, number(header, "Columns") or 0)
    return "resolution" if min(sides) < terms.shortest_side else None


def _body_part(header: Dataset, terms: Terms) -> str | None:
    wanted = frozenset(terms.body_parts)
    examined = words_of(header, ("BodyPartExamined",)) - SILENT
    region = meanings(header, ANATOMY)
    if any(first(one, "CodeValue") in CHEST_CODES for one in items(header, ANATOMY)):
        region = region | wanted
    stated = [said for said in (examined, region) if said]
    fitting = [said for said in stated if said & wanted and not said & ELSEWHERE]
    if stated and not fitting:
        return "body-part"
    if len(fitting) < len(stated):
        return "contradiction"
    series = words_of(header, SAID_OF_SERIES)
    study = words_of(header, SAID_OF_STUDY)
    for said in (series,) if stated else (series, study):
        if said & SURELY_ELSEWHERE and not said & wanted:
            return "contradiction" if stated else "body-part"
    return None


def _view_rule(header: Dataset, _: Terms) -> str | None:
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


RULES: tuple[Rule, ...] = (
    _no_image,
    _capture,
    _modality,
    _species,
    _processing,
    _frames,
    _colour,
    _side,
    _body_part,
    _view_rule,
)
