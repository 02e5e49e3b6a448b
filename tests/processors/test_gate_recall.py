"""The figures of a gate: what counts as refused, intervals, and what is said to miss the floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_cases import BUNDLES

from processors.gate._picture import is_blank
from processors.training.gate_lateral import folds_of
from processors.training.gate_lessons import CHEST
from processors.training.gate_recall import (
    Flags,
    empty_exposures,
    lesson_of,
    lines,
    share,
    small,
    table,
    weights_of,
)


def flags(refused: int, of: int) -> Flags:
    return [(str(number), number < refused) for number in range(of)]


def test_interval_is_over_patients_and_not_over_films() -> None:
    films = [(str(number // 50), number < 50) for number in range(100)]  # two patients of 50 films
    alone = share(flags(50, 100))
    together = share(films)
    assert (together.value, together.n) == (alone.value, alone.n) == (0.5, 100)
    assert (together.low, together.high) == (0.0, 1.0)
    assert 0.38 < alone.low < 0.44


@pytest.mark.parametrize(
    ("refused", "of", "at_least"), [(7, 7, 0.59), (200, 200, 0.982), (0, 5, 0.0)]
)
def test_a_class_without_a_miss_still_has_a_bound(refused: int, of: int, at_least: float) -> None:
    assert share(flags(refused, of)).at_least == pytest.approx(at_least, abs=0.001)


GOOD: dict[str, dict[str, Flags]] = {
    "accepted": {"set": flags(1, 100)},
    "unjudged": {},
    "refused": {"other": flags(99, 100), "blank": flags(50, 50)},
    "64": {"accepted": flags(2, 100), "refused": flags(100, 100)},
}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        pytest.param({}, [], id="all reached"),
        pytest.param({"accepted": {"set": flags(3, 100)}}, ["false refusals"], id="cost"),
        pytest.param({"refused": {"other": flags(97, 100)}}, ["other"], id="recall"),
        pytest.param(
            {"64": {"accepted": flags(3, 100), "refused": flags(97, 100)}},
            ["false refusals at 64 px", "all others at 64 px"],
            id="at 64 px",
        ),
    ],
)
def test_what_misses_the_floor_is_said(changes: dict[str, Any], missed: list[str]) -> None:
    found = table(GOOD | changes)
    assert found["missed"] == missed
    assert lines(found)[-1] == f"below the floor: {', '.join(missed) or 'nothing'}"


def test_every_empty_exposure_is_blank() -> None:
    assert all(map(is_blank, empty_exposures()))


@pytest.mark.parametrize("shape", [(288, 144), (64, 64), (50, 224)])
def test_long_side_becomes_64_pixels(shape: tuple[int, int]) -> None:
    brought = small(np.zeros(shape, np.float32))
    assert max(brought.shape) == 64
    assert brought.shape[0] / brought.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.05)


def test_the_file_of_a_gate_says_what_it_learned() -> None:
    assert lesson_of(weights_of(BUNDLES / "chest")) is CHEST


def test_a_patient_is_in_one_fold() -> None:
    fold_of = folds_of(["a", "b", "a", "c", "d", "e"], 5)
    assert sorted(fold_of.values()) == [0, 1, 2, 3, 4]
