"""Refuses by header: what an instance says of itself, before any pixel is read.

Each rule is a function from a header to the kind of its refusal, or None; they are asked in order
of how far an instance is from being an image that the model may judge: first what is asked of all,
then what is asked of an organ's images. A header that says nothing passes, except where the organ
must be named: then the pixels decide.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from processors.gate import _mr, _us, _views
from processors.gate._card import Terms
from processors.gate._regions import ANIMAL, HUMAN, SILENT
from processors.gate._said import ANATOMY, SAID_OF_SERIES, SAID_OF_STUDY
from processors.gate._text import first, items, meanings, number, values, words, words_of

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame siblings below it
SCANNED = ("SD", "SI", "DRW", "SYN")  # ConversionType: document, scanned image, drawing, synthetic
OUR_NAME = "DICTAMEN"
GREY = ("MONOCHROME1", "MONOCHROME2")

Rule = Callable[[Dataset, Terms], str | None]


def rules(terms: Terms) -> tuple[Rule, ...]:
    """All rules that are asked of an organ's images, in order."""
    return (*COMMON, *OF_ORGAN[terms.organ.name], _named)


def refused_kind(header: Dataset, terms: Terms) -> tuple[str, int] | None:
    """The kind of the first rule that refuses, and that rule's number; None when none does."""
    for number_of_rule, rule in enumerate(rules(terms)):
        kind = rule(header, terms)
        if kind is not None:
            return kind, number_of_rule
    return None


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


def is_colour(header: Dataset) -> bool:
    """Whether the header states a photometric interpretation that can hold colour."""
    stated = first(header, "PhotometricInterpretation")
    return bool(stated) and stated not in GREY


def _colour(header: Dataset, terms: Terms) -> str | None:
    return "colour" if is_colour(header) and not terms.organ.colour else None


def _side(header: Dataset, terms: Terms) -> str | None:
    sides = (number(header, "Rows") or 0, number(header, "Columns") or 0)
    return "resolution" if min(sides) < terms.shortest_side else None


def _body_part(header: Dataset, terms: Terms) -> str | None:
    wanted, elsewhere = frozenset(terms.body_parts), terms.organ.elsewhere
    if not wanted:
        return None
    examined = words_of(header, ("BodyPartExamined",)) - SILENT
    region = meanings(header, ANATOMY)
    if _coded(header, terms):
        region = region | wanted
    stated = [said for said in (examined, region) if said]
    fitting = [said for said in stated if said & wanted and not said & elsewhere]
    if stated and not fitting:
        return "body-part"
    if len(fitting) < len(stated):
        return "contradiction"
    series = words_of(header, SAID_OF_SERIES)
    study = words_of(header, SAID_OF_STUDY)
    for said in (series,) if stated else (series, study):
        if said & terms.organ.surely_elsewhere and not said & wanted:
            return "contradiction" if stated else "body-part"
    return None


def _coded(header: Dataset, terms: Terms) -> bool:
    return any(first(one, "CodeValue") in terms.organ.codes for one in items(header, ANATOMY))


def _named(header: Dataset, terms: Terms) -> str | None:
    """Nothing in the header names the organ, and the organ must be named."""
    if not terms.organ.must_be_named or _coded(header, terms):
        return None
    said = words_of(header, ("BodyPartExamined", "ImageType", *SAID_OF_SERIES, *SAID_OF_STUDY))
    named = (said | meanings(header, ANATOMY)) & frozenset(terms.body_parts)
    return None if named else "body-part-unknown"


def _view(header: Dataset, terms: Terms) -> str | None:
    stated = first(header, "ViewPosition")
    return "view" if stated and terms.views and stated not in terms.views else None


def _projected(header: Dataset, terms: Terms) -> str | None:
    """Of a volume; a film is a projection by nature."""
    return _mr.projection(header) if terms.volume else None


def _only(rule: Callable[[Dataset], str | None]) -> Rule:
    return lambda header, _: rule(header)


COMMON: tuple[Rule, ...] = (
    _no_image,
    _capture,
    _modality,
    _species,
    _processing,
    _frames,
    _colour,
    _side,
    _body_part,
)
OF_ORGAN: dict[str, tuple[Rule, ...]] = {
    "chest": (_only(_views.refused),),
    "brain": tuple(map(_only, _mr.RULES)),
    "breast": tuple(map(_only, _us.RULES)),
    "any": (_only(_mr.localizer), _projected, _view),
}
