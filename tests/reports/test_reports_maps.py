"""An explanation that is one map and no frames: its picture, its numbers, and what is withheld."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import pytest
from jsonschema import validate
from pydicom.dataset import Dataset
from report_cases import (
    MADE_AT,
    OPTIONS,
    analysis,
    explanation,
    items,
    present,
    read,
    segments,
    source,
    study,
    undetermined,
)

from processors.analysis import Analysis, Check, Explanation
from processors.explain import METHODS
from reports import content, drawing, pictures, secondary_capture, write_all
from reports.model import KINDS
from reports.result import result
from reports.wording import EN, ES, words

SCHEMA = json.loads(resources.files("reports").joinpath("result.schema.json").read_text())
HOW = "On the last feature map (16 x 16)."
REASON = "the map changes with the settings of the method"


def map_of(image: Dataset, method: str = "gradcam", shown: bool = True, **more: Any) -> Explanation:
    difference = np.zeros((64, 64), np.float32)
    difference[20:30, 20:30] = 1.0
    checks = (
        Check("deletion_area", 0.12, 0.31, at_least=False),
        Check("map_stability", 0.9 if shown else 0.2, 0.5),
    )
    said = Explanation(
        "pneumonia", str(image.SOPInstanceUID), method, (), difference, checks, shown,
        "" if shown else REASON, how=HOW,
    )  # fmt: skip
    return replace(said, **more)


def of(*explanations: Explanation, image: Dataset) -> Analysis:
    return analysis(study(image), (present(image),), explanations)


def captions(monkeypatch: pytest.MonkeyPatch, told: Analysis, image: Dataset) -> dict[str, str]:
    """The words of each picture, by its kind, with the titles of its panels."""
    drawn: list[str] = []
    compose = drawing.compose

    def watched(layout, caption, *rest):
        drawn.append("\n".join([*layout.titles, *(line.text for line in caption)]))
        return compose(layout, caption, *rest)

    monkeypatch.setattr(drawing, "compose", watched)
    made = secondary_capture.write(told, study(image), OPTIONS, MADE_AT)
    kinds = [report.kind for report in made]
    if "strip" in kinds:  # seven frames in one object
        at = kinds.index("strip")
        drawn[at : at + 7] = ["strip"]
    return dict(zip(kinds, drawn, strict=True))


@pytest.mark.parametrize(
    ("methods", "kinds"),
    [
        pytest.param(["traversal"], ["overlay", "strip"], id="strip alone"),
        pytest.param(["gradcam"], ["overlay", "map"], id="map alone"),
        pytest.param(["traversal", "lime"], ["overlay", "strip", "map"], id="strip first"),
        pytest.param(["lime", "traversal"], ["overlay", "strip", "map"], id="map first"),
        pytest.param(["lime", "shap"], ["overlay", "map", "map"], id="two maps"),
    ],
)
def test_each_method_has_its_picture(methods: list[str], kinds: list[str]) -> None:
    image = source()
    strip = explanation(image, "pneumonia")
    told = of(*(strip if m == "traversal" else map_of(image, m) for m in methods), image=image)
    made = secondary_capture.write(told, study(image), OPTIONS, MADE_AT)
    assert [report.kind for report in made] == kinds
    assert len({report.uid for report in made}) == len(kinds)


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [
        (0.1234, 0.31, ("0.12", "0.31")),
        (0.0034, 0.0021, ("0.003", "0.002")),
        (0.29996, 0.3, ("0.29996", "0.30000")),
        (0.5, 0.5, ("0.50", "0.50")),
    ],
)
def test_a_number_and_its_limit_are_told_apart(
    value: float, limit: float, said: tuple[str, str]
) -> None:
    assert content.told_apart(value, limit) == said


def test_the_picture_of_a_map_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = source()
    said = captions(monkeypatch, of(map_of(image), image=image), image)["map"]
    for words_ in (
        "Original",
        "Grad-CAM: orange raises the answer; what lowers it is not shown",
        "Pneumonia: PRESENT  71 %",
        "Grad-CAM: Explanation tested: 2 of 2 checks passed",
        HOW,
        "answer while what it names is erased 0.12 (at most 0.31)",
        "rank correlation under other settings 0.90 (at least 0.50)",
        "not where a disease is",
        "AI DRAFT",
        OPTIONS.label,
    ):
        assert words_ in said


def test_original_and_map_stand_side_by_side() -> None:
    """The same film twice: as it came, and orange where the map is, grey where it is not."""
    image = source()
    made = secondary_capture.write(of(map_of(image), image=image), study(image), OPTIONS, MADE_AT)
    (report,) = [one for one in made if one.kind == "map"]
    pixels = read(report).pixel_array.astype(int)
    red, blue = pixels[..., 0], pixels[..., 2]
    orange = (red - blue > 60)[: len(pixels) // 2]
    columns = np.flatnonzero(orange.any(0))
    assert columns.size
    assert columns.min() > pixels.shape[1] / 2  # nothing is painted on the original
    assert read(report).SeriesNumber == 9805
    assert read(report).SeriesDescription.startswith("AI DRAFT evidence map")


def test_a_signed_map_says_what_blue_is(monkeypatch: pytest.MonkeyPatch) -> None:
    image = source()
    signed = map_of(image, "shap")
    difference = signed.difference.copy()
    difference[40:50] = -0.5
    told = of(replace(signed, difference=difference), image=image)
    assert (
        "SHAP: orange raises the answer, blue lowers it"
        in captions(monkeypatch, told, image)["map"]
    )


@pytest.mark.parametrize(
    ("lowest", "said"),
    [
        pytest.param(0.0, "Evidence: orange raises the answer", id="nothing lowers it"),
        pytest.param(-0.5, "Evidence: orange raises, blue lowers it", id="something does"),
    ],
)
@pytest.mark.parametrize("drawn_by", [pictures.strip, pictures.mosaic])
def test_the_map_beside_a_strip_says_what_its_colours_are(
    monkeypatch: pytest.MonkeyPatch, drawn_by: Any, lowest: float, said: str
) -> None:
    image = source()
    strip = explanation(image, "pneumonia")
    difference = np.full((64, 64), lowest, np.float32)
    difference[20:30, 20:30] = 1.0
    written: list[str] = []
    monkeypatch.setattr(pictures, "write", lambda *args, **_: written.append(args[2]))
    monkeypatch.setattr(drawing, "write", lambda *args, **_: written.append(args[2]))
    drawn_by(replace(strip, difference=difference), present(image), OPTIONS)
    assert said in written


def test_a_withheld_map_is_not_drawn_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    image = source()
    told = of(explanation(image, "pneumonia"), map_of(image, shown=False), image=image)
    found = captions(monkeypatch, told, image)
    assert list(found) == ["overlay", "strip"]
    assert "Strip: Explanation tested: 2 of 2 checks passed" in found["overlay"]
    assert f"Grad-CAM: EXPLANATION NOT SHOWN: {REASON}" in found["overlay"]


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("shown", [True, False], ids=["shown", "withheld"])
def test_texts_carry_method_numbers_and_how(language: str, shown: bool) -> None:
    image = source()
    told = of(map_of(image, "occlusion", shown=shown), image=image)
    options = replace(OPTIONS, language=language)
    made = write_all(told, study(image), options, MADE_AT, KINDS)
    by_kind = {report.kind: report for report in made}
    assert ("map" in by_kind) is shown
    name = {"en": "Occlusion", "es": "Oclusión"}[language]
    value = {"en": "0.12 (at most 0.31)", "es": "0,12 (como mucho 0,31)"}[language]
    failed = words(language).failed
    for kind in ("text_report", "structured_report"):
        said = "\n".join(str(i.get("TextValue", "")) for i in items(read(by_kind[kind])))
        said = " ".join(said.split())
        assert f"{name}: {HOW}" in said
        assert value in said
        assert (failed in said) is not shown
        assert (REASON in said) is not shown
    message = "\n".join("|".join(fields) for fields in segments(by_kind["hl7_oru"]))
    assert f"{name}: " in message


def test_the_reports_refer_to_the_map_that_goes_out_with_them() -> None:
    image = source()
    made = write_all(of(map_of(image), image=image), study(image), OPTIONS, MADE_AT, KINDS)
    uids = {report.kind: report.uid for report in made}
    for kind in ("text_report", "structured_report"):
        (report,) = [one for one in made if one.kind == kind]
        assert uids["map"] in str(read(report).CurrentRequestedProcedureEvidenceSequence)


def test_the_result_as_json_says_how() -> None:
    image = source()
    told = of(explanation(image, "pneumonia"), map_of(image), image=image)
    made = write_all(told, study(image), OPTIONS, MADE_AT, KINDS)
    found = result(told, made)
    validate(found, SCHEMA)
    assert [one["how"] for one in found["explanations"]] == ["", HOW]
    assert "map" in [one["kind"] for one in found["reports"]]


def test_a_strip_alone_is_not_named() -> None:
    """What stands in the reports of a node that explains by strips only has not changed."""
    image = source()
    told = of(explanation(image, "pneumonia"), image=image)
    said = content.explanation_lines(told, told.findings[0], EN)
    assert said == ["Explanation tested: 2 of 2 checks passed"]
    other = undetermined(image)
    assert content.explanation_lines(told, other, EN) == ["No tested explanation of this answer"]


@pytest.mark.parametrize("language", [EN, ES], ids=["en", "es"])
def test_every_method_and_check_of_a_map_has_a_name(language) -> None:
    names = {"deletion_area", "insertion_area", "map_stability", "map_in_organ"}
    assert set(language.methods) == set(METHODS)
    assert set(language.checks) == names | {"surrogate_fit", "network_agreement"}
