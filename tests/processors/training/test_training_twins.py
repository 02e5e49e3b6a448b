"""Twins of a slice: the healthy half on both sides, the tumour's half on both, or none at all."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processors.training.data import UNKNOWN, Question, load
from processors.training.twins import erased, midline, twins

SIDE = 128
TUMOUR = (30.0, 50.0, 16.0, 16.0)  # x, y, width, height
ASKED = Question("tumour", 0, 120, ("glioma",), (("glioma",),), negative=("no_tumour_seen",))


def head(shift: int = 0, tumour: tuple[float, ...] | None = TUMOUR) -> np.ndarray:
    """A symmetric head about the column 64 + shift, brighter in its tumour."""
    y, x = np.mgrid[:SIDE, :SIDE] - np.array([64, 64 + shift]).reshape(2, 1, 1) + 0.5
    distance = np.hypot(x / 42, y / 52)
    found = np.where(distance < 1, 0.3 + 0.2 * np.cos(6 * distance), 0)
    if tumour:
        left, top, wide, high = map(int, tumour)
        found[top : top + high, left : left + wide] = 0.95
    return found.astype(np.float32)


@pytest.mark.parametrize("shift", [-6, 0, 5])
def test_midline(shift: int) -> None:
    column, likeness = midline(head(shift, None))
    assert abs(column - (64 + shift)) <= 1
    assert likeness > 0.9


def test_one_twin_has_no_tumour_and_the_other_two() -> None:
    made = twins(head(), (TUMOUR,))
    assert made is not None
    assert made.without.max() < 0.9
    bright = made.with_two > 0.9
    assert bright.sum() == 2 * 16 * 16
    for x, y, wide, high in made.boxes:
        assert bright[int(y) : int(y + high), int(x) : int(x + wide)].all()


@pytest.mark.parametrize(
    ("picture", "boxes"),
    [
        pytest.param(head(), ((56.0, 50.0, 16.0, 16.0),), id="tumour on the midline"),
        pytest.param(head(), (TUMOUR, (80.0, 50.0, 8.0, 8.0)), id="two tumours"),
        pytest.param(head(), (), id="no box"),
        pytest.param(
            np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32), (TUMOUR,),
            id="not symmetric",
        ),
    ],
)  # fmt: skip
def test_no_twins(picture: np.ndarray, boxes: tuple[tuple[float, ...], ...]) -> None:
    assert twins(picture, boxes) is None


def test_a_tumour_is_erased_and_an_equal_place_beside_it() -> None:
    picture = head()
    made = erased(picture, (TUMOUR,), np.random.default_rng(0))
    assert made is not None
    assert (made.without > 0.9).sum() == 0
    assert (made.beside > 0.9).sum() == 16 * 16
    for changed in (made.without, made.beside):
        assert (changed != picture).sum() == 16 * 16


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param((), id="no box"),
        pytest.param(((2.0, 2.0, SIDE - 4.0, SIDE - 4.0),), id="no place beside it"),
    ],
)
def test_nothing_is_erased(boxes: tuple[tuple[float, ...], ...]) -> None:
    assert erased(head(), boxes, np.random.default_rng(0)) is None


@pytest.mark.parametrize(("twin", "count"), [(False, 2), (True, 6)])
def test_load_adds_the_twins(tmp_path: Path, twin: bool, count: int) -> None:
    for name, tumour in (("a", TUMOUR), ("b", None)):
        grey = np.rint(head(0, tumour) * 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{name}.png")
    with (tmp_path / "t.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "labels", "boxes"])
        writer.writerow(["a.png", "train", "glioma", "30,50,16,16"])
        writer.writerow(["b.png", "train", "no_tumour", ""])
    images = load(tmp_path / "t.csv", tmp_path, (ASKED,), 64, twin=twin)
    assert len(images.samples) == len(images.inputs) == count
    found = {s.path: (s.targets, s.patient) for s in images.samples}
    assert found["a.png"] == ((0,), "a.png")
    assert found["b.png"] == ((UNKNOWN,), "b.png")
    if twin:
        assert found["a.png#without"] == ((1,), "a.png")  # "no finding", of the same patient
        assert found["a.png#two"] == ((0,), "a.png")
        assert found["a.png#erased"] == ((1,), "a.png")
        assert found["a.png#beside"] == ((0,), "a.png")
