"""The code table: what may stand in a report, and what is refused when it is loaded."""

from __future__ import annotations

from importlib import resources

import pytest
from pydicom.dataset import Dataset
from report_cases import source

from processors.analysis import Code
from reports import codes
from reports.codes import CodeTableError

SHIPPED = resources.files("reports").joinpath("codes.yaml").read_text(encoding="utf-8")
PUBLIC_TABLES_THAT_FAIL = [
    "300928002", "9494007", "196121004", "73122008", "249674008",
    "129614006", "60567007", "78381009", "30186007", "42548006",
]  # fmt: skip


def test_every_shipped_code_is_sound():
    table = codes.table()
    every = [
        *table.concepts.values(), *table.modalities.values(), *table.sites.values(),
        *table.labels.values(), *(row.code for row in table.procedures),
    ]  # fmt: skip
    assert len(every) > 80
    assert [code for code in every if codes.fault(code)] == []
    assert table.version


@pytest.mark.parametrize("number", PUBLIC_TABLES_THAT_FAIL)
def test_verhoeff_refuses_wrong_public_codes(number: str):
    assert not codes.verhoeff(number)


@pytest.mark.parametrize("number", ["52101004", "399208008", "816094009"])
def test_verhoeff_accepts(number: str):
    assert codes.verhoeff(number)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not codes.verhoeff(wrong)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        pytest.param(Code("233604008", "SCT", "Pneumonia"), "check digit", id="check digit"),
        pytest.param(Code("X" * 17, "99SITE", "Long"), "longer than 16", id="value too long"),
        pytest.param(Code("1", "99SITE", "x" * 65), "longer than 64", id="meaning too long"),
        pytest.param(Code("M-1", "SRT", "Retired"), "SRT", id="retired scheme"),
        pytest.param(Code("", "SCT", "None"), "value is empty", id="no value"),
        pytest.param(Code("1", "DCM", "a\\b"), "plain text", id="backslash"),
    ],
)
def test_fault(code: Code, word: str):
    assert word in codes.fault(code)
    assert not codes.usable(code)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(("52101004", "52101005"), ["concepts.present", "check digit"], id="digit"),
        pytest.param(('version: "2026-11"', ""), ["version"], id="no version"),
        pytest.param(("  absent:", "  present:"), ["present"], id="twice the same key"),
        pytest.param(("meaning: Lung}", f"meaning: {'x' * 70}}}"), ["sites.lung"], id="long"),
    ],
)
def test_load_refuses(change: tuple[str, str], words: list[str]):
    assert change[0] in SHIPPED
    with pytest.raises(CodeTableError) as caught:
        codes.load(SHIPPED.replace(*change, 1))
    assert all(word in str(caught.value) for word in words)


def test_all_faults_at_once():
    broken = SHIPPED.replace("52101004", "52101005").replace("39607008", "39607009")
    with pytest.raises(CodeTableError) as caught:
        codes.load(broken)
    assert "concepts.present" in str(caught.value)
    assert "sites.lung" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "code", "language", "name"),
    [
        ("pneumonia", None, "en", "Pneumonia"),
        ("Pneumonia", None, "es", "Neumonía"),
        ("pleural_effusion", None, "es", "Derrame pleural"),
        ("nothing known", Code("1", "99SITE", "Meaning of it"), "es", "Meaning of it"),
        ("air_trapping", None, "en", "Air trapping"),
    ],
)
def test_display(label: str, code: Code | None, language: str, name: str):
    assert codes.display(label, code, language) == name


@pytest.mark.parametrize(
    ("modality", "part", "value"),
    [
        ("DX", "CHEST", "399208008"),
        ("CR", "", "399208008"),
        ("DX", "KNEE", "363679005"),
        ("MG", "BREAST", "71651007"),
        ("MR", "BRAIN", "816077007"),
        ("OT", "", "363679005"),
    ],
)
def test_procedure(modality: str, part: str, value: str):
    assert codes.procedure(source(Modality=modality, BodyPartExamined=part)).value == value


@pytest.mark.parametrize(
    ("region", "part", "value"),
    [
        pytest.param("51185008", "", "399208008", id="chest"),
        pytest.param("T-D3000", "", "399208008", id="chest, as older devices say"),
        pytest.param("72696002", "", "363679005", id="knee"),
        pytest.param("72696002", "CHEST", "399208008", id="the plain word goes first"),
    ],
)
def test_procedure_of_a_film_that_names_its_region_by_code(region: str, part: str, value: str):
    """Body Part Examined is optional in DX, Anatomic Region Sequence is not."""
    film, item = source(Modality="DX", BodyPartExamined=part), Dataset()
    item.CodeValue = region
    film.AnatomicRegionSequence = [item]
    assert codes.procedure(film).value == value
