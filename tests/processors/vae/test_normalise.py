"""The network's input: the same as MONAI's transforms, blind to exposure, invertible."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image
from tiny_bundle import tiny_plan

from processors.training.data import read_images
from processors.training.make import inference
from processors.vae.normalise import ENOUGH, greys_of, network_input, reduced, resize_area


def _film(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    film = generator.random((rows, columns)).astype(np.float32) ** 2
    film[: rows // 8] = 0
    return np.rint(film * 255).astype(np.float32) / 255


@pytest.mark.filterwarnings("ignore:NvImgCodec")  # MONAI registers all its readers
@pytest.mark.parametrize("shape", [(288, 240), (1001, 777), (64, 64), (40, 130)], ids=str)
def test_equals_the_monai_transforms_of_inference_json(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    film = _film(*shape)
    file = tmp_path / "film.png"
    Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(file)
    parser = ConfigParser(json.loads(json.dumps(inference(tiny_plan()))))
    theirs = parser.get_parsed_content("preprocessing")(str(file)).numpy()[0]
    ours, _ = network_input(film, 32)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)  # one pixel in the next of 256 bins
    assert np.abs(ours - theirs).mean() < 1e-4


@pytest.mark.filterwarnings("ignore:NvImgCodec")
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_picture_is_turned_as_its_file_says(kind: str, tmp_path: Path) -> None:
    """As every viewer turns it: it would teach and judge lying on its side."""
    upright = Image.fromarray(np.rint(_film(288, 240) * 255).astype(np.uint8))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    said = turned.getexif()
    said[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned.save(tmp_path / f"film.{kind}", exif=said, quality=100)
    (picture,) = read_images(tmp_path, [f"film.{kind}"])
    np.testing.assert_allclose(picture, np.asarray(upright) / 255, atol=0.03)
    parser = ConfigParser(json.loads(json.dumps(inference(tiny_plan()))))
    theirs = parser.get_parsed_content("preprocessing")(str(tmp_path / f"film.{kind}")).numpy()[0]
    np.testing.assert_allclose(network_input(picture, 32)[0], theirs, atol=5e-3)


@pytest.mark.filterwarnings("ignore:NvImgCodec")
@pytest.mark.parametrize("most", [4095, 65535])
def test_monai_sees_a_deep_picture_as_the_evaluation_does(most: int, tmp_path: Path) -> None:
    """Sixteen bits brought to eight by Pillow are white from 256 on."""
    file = tmp_path / "film.png"
    Image.fromarray(np.rint(_film(288, 240) * most).astype(np.uint16)).save(file)
    parser = ConfigParser(json.loads(json.dumps(inference(tiny_plan()))))
    theirs = parser.get_parsed_content("preprocessing")(str(file)).numpy()[0]
    (picture,) = read_images(tmp_path, ["film.png"])
    ours, _ = network_input(picture, 32)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
    assert np.abs(ours - theirs).mean() < 5e-4


@pytest.mark.parametrize(
    "exposure",
    [
        pytest.param(lambda x: 0.3 + 0.4 * x, id="flat"),
        pytest.param(lambda x: 0.5 * x, id="dark"),
        pytest.param(lambda x: 0.2 + 0.8 * x, id="bright"),
    ],
)
def test_brightness_and_contrast_leave_no_trace(exposure) -> None:
    film = _film(256, 256)
    before, after = network_input(film, 32)[0], network_input(exposure(film), 32)[0]
    np.testing.assert_allclose(before, after, atol=0.02)


def test_greys_return() -> None:
    film = resize_area(_film(256, 256), 32, 32)
    greys = greys_of(film)
    np.testing.assert_allclose(greys.to_own(greys.to_network(film)), film, atol=0.01)


def test_a_uniform_film_is_finite() -> None:
    assert np.isfinite(network_input(np.full((64, 64), 0.5, np.float32), 32)[0]).all()


def test_area_keeps_the_mean() -> None:
    film = _film(96, 128)
    assert resize_area(film, 32, 32).mean() == pytest.approx(film.mean(), abs=1e-5)


def _smooth(rows: int, columns: int) -> np.ndarray:
    """A film as films are, without a border that moves by less than a pixel when it is reduced."""
    return resize_bilinear(_film(12, 12, 3), (columns, rows))


def resize_bilinear(film: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("rows", "columns", "factor"),
    [(2 * ENOUGH - 1, 900, 1), (2 * ENOUGH, 1000, 2), (2500, 2048, 2), (1401, 3333, 3)],
)
def test_a_long_film_is_reduced_once_and_read_as_before(
    rows: int, columns: int, factor: int
) -> None:
    film = _smooth(rows, columns)
    less = reduced(film)
    assert less.shape == (-(-rows // factor), -(-columns // factor))
    assert reduced(less) is less
    assert less.mean() == pytest.approx(film.mean(), abs=1e-3)
    np.testing.assert_array_equal(network_input(film, 64)[0], network_input(less, 64)[0])
    whole = resize_area(film, 64, 64)
    np.testing.assert_allclose(resize_area(less, 64, 64), whole, atol=0.01)
