"""Less by forgetting: which cells go, what stands in their place, and where nothing changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from processors.explain import inpainting
from processors.explain.subject import Film, Scale, Subject
from processors.vae.latent import Array, Row
from processors.vae.normalise import Greys

SIZE, GRID = 64, 8


def _cells(image: Array) -> Array:
    factor = SIZE // GRID
    return np.asarray(image.reshape(-1, GRID, factor, GRID, factor).mean((2, 4)), np.float32)


def _subject(image: Array, expected: float = 0.25) -> Subject:
    """A model that reads brightness, and a decoder that expects one grey everywhere."""

    def encode(images: Array) -> Array:
        return _cells(images)[:, None]

    def decode(latents: Array) -> Array:
        return np.full((len(latents), SIZE, SIZE), expected, np.float32)

    row = Row(np.full((1, 1), 40, np.float32), np.full(1, -20, np.float32), np.zeros(1, np.float32))
    film = Film("1.2", image, Greys(np.arange(2.0), np.arange(2.0)), image, encode(image[None])[0])
    fake: Any = SimpleNamespace(encode=encode, decode=decode, size=SIZE)
    none = np.zeros((0, 1, GRID, GRID), np.float32)
    return Subject("bright", film, fake, row, Scale(0.5, (0.5, 0.5)), none, none)


def _bright(*cells: tuple[int, int], grey: float = 1.0) -> Array:
    image = np.full((SIZE, SIZE), 0.25, np.float32)
    for y, x in cells:
        image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = grey
    return image


@pytest.mark.parametrize(
    ("strongest", "many"),
    [([(3, 3)], 9), ([(0, 0)], 4), ([(1, 1), (5, 5)], 18), ([(3, 3), (3, 4)], 12)],
)
def test_the_deciding_cells_and_their_neighbours(
    strongest: list[tuple[int, int]], many: int
) -> None:
    cells = np.zeros((GRID, GRID), np.float32)
    for place in strongest:
        cells[place] = 20
    taken = inpainting.deciding(cells)
    assert taken.sum() == many
    assert all(taken[place] for place in strongest)


def test_evidence_that_is_everywhere_takes_as_many_cells_as_hold_it() -> None:
    taken = inpainting.deciding(np.zeros((GRID, GRID), np.float32))
    assert taken.mean() >= inpainting.HELD


def test_each_hole_has_the_grey_of_its_own_rim() -> None:
    image = np.zeros((20, 40), np.float32)
    image[:, 20:] = 1
    hole = np.zeros(image.shape, bool)
    hole[8:12, 6:10] = hole[8:12, 30:34] = True
    whole = image.copy()
    image[hole] = 0.5
    np.testing.assert_allclose(inpainting.smooth(image, hole), whole, atol=1e-6)
    assert (inpainting.smooth(image, np.ones(image.shape, bool)) == 0.5).all()


def test_a_hole_on_a_slope_goes_on_with_the_slope() -> None:
    slope = np.linspace(0, 1, 40, dtype=np.float32) * np.ones((20, 1), np.float32)
    hole = np.zeros(slope.shape, bool)
    hole[5:15, 10:25] = hole[17:, :8] = True
    spoilt = np.where(hole, np.float32(0.9), slope)
    made = inpainting.smooth(spoilt, hole)
    np.testing.assert_allclose(made[5:15, 10:25], slope[5:15, 10:25], atol=1e-5)
    np.testing.assert_array_equal(made[~hole], slope[~hole])


def test_nothing_changes_outside_of_the_region_and_the_finding_goes() -> None:
    subject = _subject(_bright((3, 3)))
    taken, change = inpainting.less(subject)
    assert taken.sum() == 9
    hole = np.kron(taken, np.ones((8, 8), bool))
    assert not change[~hole].any()
    after = subject.film.network + change
    np.testing.assert_allclose(after[24:32, 24:32], 0.25, atol=1e-6)


def _expects(subject: Subject, picture: Array) -> None:
    """From now on the decoder draws this."""
    fake: Any = subject.bundle
    fake.decode = lambda latents: np.repeat(picture[None], len(latents), 0)


def test_the_change_grows_from_the_border_inwards() -> None:
    subject = _subject(_bright((3, 3)))
    _expects(subject, _bright((2, 2), (2, 3), (2, 4), grey=0.9))
    _, change = inpainting.less(subject)
    along = change[20, 16:24]  # from the hole's left border into it, above the bright cell
    assert (np.diff(along) >= 0).all()
    assert 0 < along[0] < along[-1] / 3


def test_what_the_decoder_gets_wrong_at_the_rim_is_taken_away_inside() -> None:
    image = _bright((3, 3))
    subject = _subject(image, expected=0.6)
    hole = np.zeros(image.shape, bool)
    hole[16:40, 16:40] = True
    made = inpainting.filled(subject.bundle, image, hole)
    np.testing.assert_allclose(made, 0.25, atol=1e-5)


def test_the_prediction_is_read_again() -> None:
    """The second round sees what the first predicted, not the smooth hole."""
    image, seen = _bright((3, 3)), []
    subject = _subject(image)
    _expects(subject, _bright((3, 3), grey=0.6))
    fake: Any = subject.bundle

    def encode(images: Array) -> Array:
        seen.append(float(images[0, 28, 28]))
        return _cells(images)[:, None]

    fake.encode = encode
    hole = np.zeros(image.shape, bool)
    hole[16:40, 16:40] = True
    assert inpainting.filled(subject.bundle, image, hole)[28, 28] == pytest.approx(0.6)
    assert seen == pytest.approx([0.25, 0.6])


@pytest.mark.parametrize(("turns", "cells", "left"), [(1, 9, True), (2, 18, False), (6, 18, False)])
def test_evidence_that_is_left_is_erased_in_the_next_turn(
    turns: int, cells: int, left: bool
) -> None:
    """Two bright cells, the weaker of which decides only once the stronger is gone."""
    image = _bright((1, 1)) + _bright((5, 5), grey=0.9) - np.float32(0.25)
    taken, change = inpainting.less(_subject(image), turns)
    assert taken.sum() == cells
    assert bool((image + change)[44, 44] > 0.5) is left
