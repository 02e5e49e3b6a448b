"""Checks of explanations and contours, each against a case that must pass and one that must not."""

from __future__ import annotations

import numpy as np
import pytest

from processors.analysis import Check, Frame
from processors.explain import faithfulness
from processors.explain.regions import evidence_map, regions


def _cells(*hot: tuple[int, int]) -> np.ndarray:
    cells = np.full((16, 16), -8.0, np.float32)
    for place in hot:
        cells[place] = 4.0
    return cells


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        pytest.param(faithfulness.reaches(0.2, 0.4), True, id="last frame called absent"),
        pytest.param(faithfulness.reaches(0.41, 0.4), False, id="last frame keeps its answer"),
        pytest.param(faithfulness.monotone([0.1, 0.3, 0.3, 0.9]), True, id="rising"),
        pytest.param(faithfulness.monotone([0.1, 0.5, 0.495, 0.9]), True, id="rounding"),
        pytest.param(faithfulness.monotone([0.1, 0.5, 0.4, 0.9]), False, id="falls back"),
        pytest.param(faithfulness.exchanged(0.2), True, id="a fifth exchanged"),
        pytest.param(faithfulness.exchanged(0.7), False, id="another film"),
        pytest.param(faithfulness.organ(0.9), True, id="in the organ"),
        pytest.param(faithfulness.organ(0.5), False, id="half of it beside the organ"),
        pytest.param(faithfulness.corners(_cells((8, 5))), True, id="in the lung"),
        pytest.param(faithfulness.corners(_cells((2, 2))), False, id="upper left letter"),
        pytest.param(faithfulness.corners(_cells((3, 13))), False, id="upper right letter"),
        pytest.param(faithfulness.corners(_cells((13, 2))), True, id="lower corner is no alarm"),
        pytest.param(faithfulness.control(0.8, 0.4), True, id="control keeps the answer"),
        pytest.param(faithfulness.control(0.2, 0.4), False, id="control flips too"),
    ],
)
def test_checks(check: Check, passed: bool) -> None:
    assert check.passed is passed


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_every_failure_has_words(language: str) -> None:
    checks = [
        faithfulness.reaches(1, 0),
        faithfulness.monotone([1, 0]),
        faithfulness.exchanged(1),
        faithfulness.corners(_cells((2, 2))),
        faithfulness.control(0, 1),
        faithfulness.organ(0),
    ]
    words = faithfulness.failure(checks, language).split("; ")
    assert len(words) == len(set(words)) == len(checks)


def test_no_failure_no_words() -> None:
    assert faithfulness.failure([faithfulness.exchanged(0.1)], "es") == ""


def test_map_is_a_share() -> None:
    assert evidence_map(_cells((8, 5), (3, 12))).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(2048, 1024), (512, 512), (100, 300)], ids=str)
def test_contour_encloses_the_deciding_cell(shape: tuple[int, int]) -> None:
    (region,) = regions(_cells((4, 12)), "1.2", shape)
    points = np.array(region.points)
    centre = np.array([(12.5 / 16) * shape[1], (4.5 / 16) * shape[0]])
    assert (points.min(0) < centre).all()
    assert (centre < points.max(0)).all()
    assert len(points) >= 7
    assert region.points[0] == region.points[-1]


def test_two_places_two_contours_and_a_border_stays_closed() -> None:
    found = regions(_cells((4, 4), (12, 15)), "1.2", (160, 160))
    assert len(found) == 2
    for region in found:
        assert region.points[0] == region.points[-1]
        assert all(0 <= x <= 160 and 0 <= y <= 160 for x, y in region.points)


def _way(*probabilities: float) -> list[Frame]:
    """From the original (alpha 0) to the frame with least (alpha -1), then one with more."""
    alphas = np.linspace(0, -1, len(probabilities))
    frames = [(float(a), p) for a, p in zip(alphas, probabilities, strict=True)]
    pixels = np.zeros((2, 2), np.uint8)
    return [Frame(pixels, alpha, p) for alpha, p in reversed([*frames, (1.0, 0.99)])]


@pytest.mark.parametrize(
    ("probabilities", "share"),
    [
        pytest.param((0.9, 0.1), 0.5, id="half-way between two frames"),
        pytest.param((0.9, 0.8, 0.2), 0.75, id="in the second half"),
        pytest.param((0.9, 0.1, 0.6), 0.25, id="the first fall counts"),
        pytest.param((0.4, 0.1), 0.0, id="already below"),
        pytest.param((0.4, 0.4, 0.4), 0.0, id="already below, nothing to exchange"),
        pytest.param((0.9, 0.7), None, id="never"),
    ],
)
def test_distance_to_the_other_answer(
    probabilities: tuple[float, ...], share: float | None
) -> None:
    found = faithfulness.distance(_way(*probabilities), 0.5)
    assert found == (share if share is None else pytest.approx(share))
