"""The strip's cheap ways give what the plain ways give: each map, picture, frame and answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import resize
from tiny_bundle import tiny_images

from processors.analysis import Explanation
from processors.explain.subject import Film, Scale, Subject, Witnessed, donors_of, read_film
from processors.explain.traversal import (
    ALPHAS,
    DEEPER,
    FEW,
    LIFT,
    NEAREST,
    changes,
    control,
    enlarged,
    explain,
    less,
    map_of,
    painted,
    pictures,
)
from processors.runtime import Bundle, open_bundle
from processors.vae.latent import Exchange, margin, nearest, paths, traverse


class Linear:
    """Networks whose pictures follow their latents, which random weights' do not."""

    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 4)))[0].T

    def encode(self, images: np.ndarray) -> np.ndarray:
        cells = images.reshape(-1, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4, 64)
        return np.einsum("nyxp,cp->ncyx", cells - 0.5, self.basis).astype(np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        cells = np.einsum("ncyx,cp->nyxp", latents, self.basis).reshape(-1, 4, 4, 8, 8) + 0.5
        return cells.transpose(0, 1, 3, 2, 4).reshape(-1, 1, 32, 32).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    """Averages without the finding are darker, those with it brighter."""
    made = replace(open_bundle(str(tiny_folder), "cpu"), networks=Linear())
    for name, latents in made.donors.items():
        if name.startswith("latents_"):
            towards = made.head.weight[0] * (1 if "pneumonia" in name else -1)
            latents[:] = 0.3 * towards[:, None, None] / np.linalg.norm(towards)
    return made


def _subject(bundle: Bundle, number: int, side: int = 48) -> Subject:
    """An ill film, called present whatever the random weights say; wider than the network."""
    small = tiny_images(8, size=32, seed=number).inputs[1].astype(np.float32) / 255
    film = read_film("1.2", resize(small, (side, side + 9), order=1), bundle)
    row = bundle.row(0, 0)
    p = 1 / (1 + np.exp(-margin(film.latent, row)))
    band = (float(p) * 0.8, float(p) * 0.9)
    return Subject("pneumonia", film, bundle, row, Scale(band[1], band), *donors_of(bundle, 0, 0))


@pytest.mark.parametrize("shape", [(224, 224), (512, 301), (32, 32), (20, 50)], ids=str)
def test_enlarged_as_skimage_does(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).standard_normal((2, 32, 32)).astype(np.float32)
    for found, each in zip(enlarged(maps, shape), maps, strict=True):
        wanted = resize(each, shape, order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def _plain_picture(film: Film, change: np.ndarray) -> np.ndarray:
    """One frame as it was first written."""
    floor, ceiling = np.minimum(film.network, 0.05), np.maximum(film.network, 0.98)
    after = film.greys.to_own(np.clip(film.network + change, floor, ceiling))
    own = gaussian_filter(after - film.greys.to_own(film.network), 0.7)
    wide = resize(own, film.picture.shape, order=1, mode="edge", anti_aliasing=False)
    return np.rint(np.clip(film.picture + wide, 0, 1) * 255).astype(np.uint8)


def test_many_pictures_at_once_are_the_same_pictures(bundle: Bundle) -> None:
    film = _subject(bundle, 0).film
    moved = np.random.default_rng(1).normal(0, 0.2, (3, 32, 32)).astype(np.float32)
    moved[1] = 0
    for found, change in zip(pictures(film, moved), moved, strict=True):
        wanted = _plain_picture(film, change).astype(int)
        assert np.abs(found - wanted).max() <= 1  # a grey on the edge of rounding
        assert (found != wanted).mean() < 1e-3
        np.testing.assert_array_equal(found, painted(film, change))
    np.testing.assert_array_equal(pictures(film, moved)[1], np.rint(film.picture * 255))


def _plain(subject: Subject) -> tuple[np.ndarray, list[float]]:
    """The seven frames one by one, every latent decoded and every frame read again."""
    film, row = subject.film, subject.row
    found, _ = less(subject)
    frames, own = [], margin(film.latent, row)
    for alpha in ALPHAS:
        latent = film.latent - alpha * (found.latent - film.latent)
        if alpha > 0:
            latent = traverse(film.latent, row, own + alpha * LIFT)
        frames.append(_plain_picture(film, changes(subject, [latent])[0]))
    return np.stack(frames), [subject.judge(frame[None])[0] for frame in frames]


def _frames(explanation: Explanation) -> np.ndarray:
    return np.stack([frame.pixels for frame in explanation.frames]).astype(int)


@pytest.mark.parametrize("number", range(3))
def test_a_strip_is_what_its_frames_are_one_by_one(bundle: Bundle, number: int) -> None:
    subject = _subject(bundle, number)
    explanation = explain(subject, "en")
    pixels, answers = _plain(subject)
    assert [frame.alpha for frame in explanation.frames] == list(ALPHAS)
    assert np.abs(_frames(explanation) - pixels).max() <= 1
    assert (_frames(explanation) != pixels).mean() < 1e-3
    found = [frame.probability for frame in explanation.frames]
    np.testing.assert_allclose(found, answers, atol=1e-4)
    assert np.ptp(answers) > 20 * 1e-4  # else any order of frames would do


@pytest.mark.parametrize("number", range(3))
def test_the_map_of_a_strip_says_for_and_never_against(bundle: Bundle, number: int) -> None:
    """An opacity that goes darkens: painted by that sign it would seem to lower the answer."""
    subject = _subject(bundle, number)
    found = explain(subject, "en")
    assert changes(subject, [less(subject)[0].latent]).min() < 0
    assert found.difference.min() >= 0
    np.testing.assert_array_equal(
        found.difference, enlarged(map_of(subject), subject.film.picture.shape)
    )


def test_without_donors_nothing_is_shown(bundle: Bundle) -> None:
    subject = _subject(bundle, 0)
    empty = replace(subject, donors=subject.donors[:0])
    assert not explain(empty, "en").shown
    assert explain(empty, "en").frames == ()


@pytest.mark.parametrize(
    ("told", "failed"),
    [
        pytest.param(None, "", id="nobody was asked"),
        pytest.param(Witnessed(0.3, 0.1), "", id="more than random changes"),
        pytest.param(Witnessed(0.3, 0.0), "witness_gain", id="no more than random changes"),
        pytest.param(Witnessed(0.5, 0.1, 0.5), "", id="as much as the bundle asks"),
        pytest.param(Witnessed(0.4, 0.1, 0.5), "witness_agreement", id="less than it asks"),
    ],
)
def test_strips_that_convince_nobody_are_not_made(bundle: Bundle, told, failed: str) -> None:
    subject = _subject(bundle, 0)
    asked = replace(subject, scale=replace(subject.scale, witness=told))
    found = explain(asked, "en")
    assert bool(found.frames) is not bool(failed)
    checks = {c.name: c.passed for c in found.faithfulness if c.name.startswith("witness")}
    assert [name for name, passed in checks.items() if not passed] == [failed] * bool(failed)
    assert bool(checks) is (told is not None)
    if failed:
        assert not found.shown
        assert "independent network" in found.reason
        assert "red independiente" in explain(asked, "es").reason


@pytest.mark.parametrize(
    ("clear", "typical"),
    [
        pytest.param(None, -1.5, id="an older bundle: clearly below the band"),
        pytest.param(-4.0, -4.0, id="as absent as true cases"),
        pytest.param(-0.2, -1.5, id="true cases are not clear: below the band all the same"),
    ],
)
def test_a_counterfactual_looks_as_absent_as_true_cases(clear, typical: float) -> None:
    low = 1 / (1 + np.exp(1.0))
    assert Scale(0.5, (float(low), 0.6), clear).typical == pytest.approx(typical)


def test_a_clear_frame_goes_further_where_few_cells_do(bundle: Bundle) -> None:
    near = _subject(bundle, 0)
    far = replace(near, scale=replace(near.scale, clear=near.scale.goal - 1))
    row = near.row
    assert margin(less(far)[0].latent, row) <= margin(less(near)[0].latent, row)


def _plain_less(subject: Subject) -> Exchange:
    """Every goal in turn: the first that flips with few cells; else the least that flips."""
    film, scale = subject.film, subject.scale
    donors = nearest(film.latent, subject.donors, subject.row, NEAREST)
    goals = (scale.typical, *(scale.goal - deeper for deeper in DEEPER))
    way = paths(film.latent, subject.row, donors, min(goals))
    tried = []
    for goal in goals:
        found = way.at(goal)
        answer = subject.judge(pictures(film, changes(subject, [found.latent])))[0]
        tried.append((found, answer < scale.band[0], found.taken.mean()))
        if answer < scale.band[0] and found.taken.mean() <= FEW:
            return found
    flipped = [one for one in tried if one[1]]
    return min(flipped, key=lambda one: one[2])[0] if flipped else tried[-1][0]


@pytest.mark.parametrize("clear", [None, 2.0, 6.0])
@pytest.mark.parametrize("low", [0.8, 0.3, 0.1, 0.01, 0.0001])
def test_the_last_frame_is_what_trying_every_goal_in_turn_finds(
    bundle: Bundle, low: float, clear: float | None
) -> None:
    for number in range(4):
        one = _subject(bundle, number)
        p = 1 / (1 + np.exp(-margin(one.film.latent, one.row)))
        scale = Scale(float(p) * 0.9, (float(p) * low, float(p) * 0.9))
        one = replace(one, scale=replace(scale, clear=clear and scale.goal - clear))
        found, wanted = less(one)[0], _plain_less(one)
        np.testing.assert_array_equal(found.taken, wanted.taken)
        np.testing.assert_array_equal(found.latent, wanted.latent)


def test_the_control_holds_the_finding_where_it_was_exchanged(bundle: Bundle) -> None:
    """Of averages that look alike, the one with most evidence in these cells."""
    subject = _subject(bundle, 0)
    towards = subject.row.weight[0] / np.linalg.norm(subject.row.weight[0])
    weak, strong = np.zeros((2, *subject.film.latent.shape), np.float32)
    strong[:, 1, 1] = 3 * towards
    taken = np.zeros(weak.shape[1:], bool)
    taken[1, 1] = True
    both = replace(subject, doubles=np.stack([weak, strong]))
    alone = replace(subject, doubles=strong[None])
    np.testing.assert_array_equal(control(both, taken), control(alone, taken))
