"""Reads findings and impression out of a DICOM Structured Report (TID 2000 and alike, PS3.16).

In: the data set of a text SR. Out: its Sections, its language, and who verified it.
A container's concept name says which section its texts belong to; texts elsewhere do not count.
Never: pixels, a measurement, a code taken for a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from processors.impressions import sections
from processors.impressions.sections import Sections
from reports.identity import quiet

_LANGUAGE = "121049"  # DCM: Language of Content Item and Descendants
_SPOKEN = {"en": "en", "eng": "en", "es": "es", "spa": "es"}  # RFC 5646, ISO 639-2
_DEEPEST = 20


def read(report: Dataset) -> Sections:
    """The sections of the document."""
    with quiet():
        return sections.of(_texts(report, (), 0))


def language(report: Dataset) -> str:
    """en, es, or "" where the document does not say or speaks another one."""
    with quiet():
        for item in report.get("ContentSequence") or ():
            if _LANGUAGE in _names(item):
                said = str(_first(item, "ConceptCodeSequence").get("CodeValue", "")).lower()
                return _SPOKEN.get(said.partition("-")[0].strip(), "")
    return ""


def reader(report: Dataset) -> str:
    """Who verified the document, by name; "" if nobody did."""
    with quiet():
        return str(_first(report, "VerifyingObserverSequence").get("VerifyingObserverName", ""))


def _texts(
    parent: Dataset, names: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], str]]:
    for item in list(parent.get("ContentSequence") or ()) if depth < _DEEPEST else ():
        own = _names(item)
        here = own if sections.named(own) else names
        if item.get("ValueType") == "TEXT" and here:
            yield here, str(item.get("TextValue") or "")
        if item.get("ValueType") == "CONTAINER":
            yield from _texts(item, here, depth + 1)


def _names(item: Dataset) -> tuple[str, ...]:
    name = _first(item, "ConceptNameCodeSequence")
    return tuple(str(name.get(word, "")) for word in ("CodeValue", "CodeMeaning"))


def _first(item: Dataset, keyword: str) -> Dataset:
    return next(iter(item.get(keyword) or ()), Dataset())
