"""Fields on drawn pictures, where the truth is known; on real films only what can be counted."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.draw import ellipse

from processors.analysis import Pixels
from processors.explain.field import FIELDS, inside
from processors.vae.normalise import network_input, resize_area

Mask = np.ndarray
SIDE = 128


def _oval(y: float, x: float, tall: float, wide: float) -> Mask:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[ellipse(y, x, tall, wide, mask.shape)] = True
    return mask


def _film(x: float = 64, base: int = 96, white: str = "", scale: float = 1) -> tuple[Pixels, Mask]:
    """A film without bones, and its lungs (upper halves of ovals); white names one without air."""
    film = np.full((SIDE, SIDE), 0.6)
    above = np.arange(SIDE)[:, None] < base
    sides = {"right": x - 25 * scale, "left": x + 25 * scale}
    lungs = {k: above & _oval(base, at, 75 * scale, 20 * scale) for k, at in sides.items()}
    for name, lung in lungs.items():
        film[lung] = 0.62 if name == white else 0.2
    film[_oval(base - 12 * scale, x + 8 * scale, 18 * scale, 15 * scale)] = 0.8
    film[:, int(x - 6) : int(x + 6)] = 0.85
    film[base:] = 0.9
    film = gaussian_filter(film, 1.5) + np.random.default_rng(1).normal(0, 0.02, film.shape)
    return np.clip(film, 0, 1).astype(np.float32), lungs["right"] | lungs["left"]


def _ramp() -> Pixels:
    return np.tile(np.linspace(1, 0, SIDE, dtype=np.float32), (SIDE, 1))


def _overlap(found: Mask | None, truth: Mask) -> float:
    assert found is not None
    assert found.shape == truth.shape
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize(
    ("film", "least"),
    [
        pytest.param(_film(), 0.7, id="healthy"),
        pytest.param(_film(white="right"), 0.65, id="right lung white"),
        pytest.param(_film(white="left"), 0.65, id="left lung white"),
        pytest.param(_film(x=54), 0.65, id="off centre"),
        pytest.param(_film(base=76, scale=0.75), 0.65, id="small and high"),
        pytest.param(_film(base=108, scale=1.2), 0.65, id="large"),
    ],
)
def test_lungs_are_where_they_were_drawn(film: tuple[Pixels, Mask], least: float) -> None:
    picture, lungs = film
    assert _overlap(FIELDS["lung"](picture), lungs) > least


def test_the_lung_behind_the_heart_belongs_to_the_field() -> None:
    field = FIELDS["lung"](_film()[0])
    assert field is not None
    assert field[70:80, 76:80].all()
    assert not field[:, 62:66].any()


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((SIDE, SIDE), np.float32), id="black"),
        pytest.param(np.random.default_rng(2).random((SIDE, SIDE), np.float32), id="noise"),
        pytest.param(_ramp(), id="brighter to the left"),
    ],
)
def test_nothing_like_a_chest_no_field(picture: Pixels) -> None:
    assert FIELDS["lung"](picture) is None


def test_head_is_the_disc_with_its_dark_middle() -> None:
    head = _oval(60, 64, 45, 35)
    picture = np.where(head & ~_oval(60, 64, 20, 15), 0.7, 0.02)
    assert _overlap(FIELDS["head"](picture.astype(np.float32)), head) > 0.93


def test_breast_leaves_border_and_letters_out() -> None:
    scan = np.zeros((SIDE, SIDE), bool)
    scan[10:100, 15:115] = True
    picture = np.where(scan, np.random.default_rng(3).uniform(0.2, 0.6, scan.shape), 0)
    picture[112:118, 20:60:3] = 1
    assert _overlap(FIELDS["breast"](picture.astype(np.float32)), scan) > 0.9  # a rim of a pixel


@pytest.mark.parametrize("organ", ["head", "breast"])
def test_nothing_to_see_no_field(organ: str) -> None:
    assert FIELDS[organ](np.zeros((SIDE, SIDE), np.float32)) is None


@pytest.mark.parametrize("organ", list(FIELDS))
@pytest.mark.parametrize("side", [96, 128])
def test_shape_is_the_pictures(organ: str, side: int) -> None:
    field = FIELDS[organ](resize_area(_film()[0], side, side))
    assert field is not None
    assert (field.shape, field.dtype) == ((side, side), np.bool_)


def test_inside_counts_cells_in_part() -> None:
    share = np.zeros((16, 16), np.float32)
    share[4, 4], share[4, 5], share[9, 9] = 0.5, 0.3, 0.2
    field = np.zeros((128, 128), bool)
    field[32:40, 32:44] = True  # cell (4, 4) and the left half of (4, 5)
    assert inside(share, field) == pytest.approx(0.65)
    assert inside(share, np.ones_like(field)) == pytest.approx(1)


def _films(shared: Path, name: str, count: int) -> list[Pixels]:
    images = shared / "data" / "images"
    with (images / f"{name}.csv").open(newline="") as listing:
        paths = [row["path"] for row in csv.DictReader(listing) if row["split"] == "val"]
    with tarfile.open(images / f"{name}.tar") as tar:
        read = [tar.extractfile(path) for path in paths[:count]]
        return [
            np.asarray(Image.open(io.BytesIO(file.read())).convert("L"), dtype=np.float32) / 255
            for file in read
            if file is not None
        ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("organ", "name"),
    [("lung", "chest_paed"), ("lung", "chest_adult"), ("head", "brain"), ("breast", "breast")],
)
def test_equalised_or_not_the_field_is_the_same(shared: Path, organ: str, name: str) -> None:
    same = []
    for film in _films(shared, name, 60):
        plain = FIELDS[organ](resize_area(film, SIDE, SIDE))
        equalised = FIELDS[organ](network_input(film, SIDE)[0])
        if plain is not None and equalised is not None:
            same.append(_overlap(plain, equalised))
    assert len(same) >= 57
    assert np.median(same) > 0.95
    assert np.percentile(same, 10) > 0.85
