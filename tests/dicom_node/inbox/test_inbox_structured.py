"""Findings out of a Structured Report, and which of a study's reports are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset
from storage_fixtures import NOON, instance

from dicom_node.inbox import structured
from dicom_node.routing import texts
from processors.impressions.sections import Sections
from storage import StoredInstance

BASIC = "1.2.840.10008.5.1.4.1.1.88.11"
NUMBER = {"findings": ("121070", "DCM"), "impression": ("121072", "DCM"), "other": ("1", "99X")}


def item(kind: str, name: tuple[str, str], said: str = "", *inner: Dataset) -> Dataset:
    made, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator = name
    code.CodeMeaning = "x"
    made.ValueType, made.ConceptNameCodeSequence = kind, [code]
    if said:
        made.TextValue = said
    if inner:
        made.ContentSequence = list(inner)
    return made


def text(said: str, name: tuple[str, str] = ("1", "99X")) -> Dataset:
    return item("TEXT", name, said)


@pytest.mark.parametrize(
    ("content", "sections"),
    [
        pytest.param(
            [
                item("CONTAINER", NUMBER["findings"], "", text("Uno."), text("Dos.")),
                item("CONTAINER", NUMBER["impression"], "", text("Tres.")),
            ],
            Sections("Uno.\nDos.", "Tres."),
            id="TID 2000",
        ),
        pytest.param(
            [text("Uno.", ("121071", "DCM")), text("Dos.", ("121073", "DCM"))],
            Sections("Uno.", "Dos."),
            id="named texts without containers",
        ),
        pytest.param(
            [item("CONTAINER", NUMBER["other"], "", text("HALLAZGOS: no"))],
            Sections(),
            id="texts elsewhere do not count",
        ),
        pytest.param(
            [
                item(
                    "CONTAINER",
                    NUMBER["findings"],
                    "",
                    item("CONTAINER", NUMBER["other"], "", text("Uno.")),
                )
            ],
            Sections("Uno."),
            id="a container within the section",
        ),
        pytest.param([], Sections(), id="empty"),
    ],
)
def test_sections(content: list[Dataset], sections: Sections) -> None:
    report = Dataset()
    report.ContentSequence = content
    assert structured.read(report) == sections


@pytest.mark.parametrize(
    ("said", "found"),
    [("es-ES", "es"), ("en", "en"), ("spa", "es"), ("eng", "en"), ("fr", ""), ("est", "")],
)
def test_language(said: str, found: str) -> None:
    code = Dataset()
    code.CodeValue = said
    spoken = item("CODE", ("121049", "DCM"))
    spoken.ConceptCodeSequence = [code]
    report = Dataset()
    report.ContentSequence = [spoken]
    assert structured.language(report) == found


def stored(number: int, **more: Any) -> StoredInstance:
    new = instance(number)
    one = StoredInstance(
        new.sop_uid, BASIC, "", "1", "1", new.sha256, 1, "p", "PACS", "h", {}, NOON
    )
    return replace(one, **more)


LATER = NOON + timedelta(seconds=1)
VERIFIED = {"VerificationFlag": "VERIFIED"}
OURS = {"ContributingEquipment": ["dictamen project"]}


@pytest.mark.parametrize(
    ("instances", "drafted", "processors"),
    [
        pytest.param([stored(1)], False, ["impressions"], id="findings"),
        pytest.param([stored(1, headers=VERIFIED)], False, [], id="a final without a draft"),
        pytest.param([stored(1, headers=VERIFIED)], True, ["agreement"], id="a final"),
        pytest.param(
            [stored(1), stored(2, headers=VERIFIED)], False, [],
            id="both at once: no draft behind what was signed",
        ),
        pytest.param(
            [stored(1), stored(2, headers=VERIFIED)], True, ["agreement"], id="drafted before"
        ),
        pytest.param(
            [stored(1, headers=VERIFIED), stored(2, received_at=LATER)], False,
            ["impressions", "agreement"], id="an addendum",
        ),
        pytest.param([stored(1, headers=OURS)], True, [], id="our own"),
        pytest.param([stored(1, sop_class="1.2.840.10008.5.1.4.1.1.7")], True, [], id="an image"),
    ],
)  # fmt: skip
def test_which_reports_are_read(
    instances: list[StoredInstance], drafted: bool, processors: list[str]
) -> None:
    assert [run.processor for run in texts(instances, drafted=drafted)] == processors


def test_of_several_findings_the_newest_is_read() -> None:
    late = stored(2, received_at=NOON.replace(hour=13))
    (run,) = texts([late, stored(1)], drafted=False)
    assert run.instances == (late.sop_uid,)
