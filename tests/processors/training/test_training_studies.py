"""What erasing and the methods side by side say, where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_bundle import tiny_images

from processors.explain.subject import Film, Scale, Subject
from processors.runtime import Bundle, open_bundle
from processors.training.data import ImageSet, Sample
from processors.training.studies import erased, methods
from processors.training.studies.choice import chosen, judged, mixes
from processors.training.studies.figures import mean, ratio
from processors.vae.latent import Array, Row
from processors.vae.normalise import Greys


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    return open_bundle(str(tiny_folder), "cpu")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return tiny_images(24)


def _called(bundle: Bundle, low: float, high: float) -> Bundle:
    """The bundle with this undetermined band for all answers."""
    changed = {"band": [low, high], "threshold": high}
    questions = [
        {**q, "answers": [{**a, **changed} for a in q["answers"]]} for q in bundle.card["questions"]
    ]
    card = {**bundle.card, "questions": questions}
    return replace(bundle, metadata={**bundle.metadata, "dictamen": card})


def _sample(path: str, *targets: int) -> Sample:
    return Sample(path, "val", path, targets)


# -- choice ---------------------------------------------------------------------------------------


def test_names_alone_choose_and_every_mix_has_its_share() -> None:
    samples = [_sample(f"{i}.png", i % 3 - 1) for i in range(60)]
    kept = [samples[i] for i in chosen(samples, 5)]
    assert sorted(s.targets[0] for s in kept) == [0] * 5 + [1] * 5
    other_order = samples[::-1]
    assert {s.path for s in kept} == {other_order[i].path for i in chosen(other_order, 5)}
    assert {s.path for s in kept if s.targets == (0,)} != {
        s.path for s in samples if s.targets == (0,)
    }


def test_what_no_question_asks_for_is_in_no_mix() -> None:
    assert mixes([_sample("a", -1, -1), _sample("b", -1, 0)]) == {(-1, 0): [1]}


def test_a_ratio_is_of_the_means_and_one_image_has_no_interval() -> None:
    samples = [_sample("a", 0), _sample("b", 0)]
    found = ratio(np.array([1.0, 3.0]), np.array([4.0, 4.0]), samples)
    assert found["value"] == 0.5
    assert found["low"] == 0.25
    assert mean([0.5], samples[:1]) == {"n": 1}


# -- erased ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 128])
def test_a_quarter_is_hidden_the_same_each_time_and_by_name(size: int) -> None:
    hidden = erased.holes("a.png", size)
    assert 0.25 <= hidden.mean() < 0.25 + 0.25**2
    np.testing.assert_array_equal(hidden, erased.holes("a.png", size))
    assert (hidden != erased.holes("b.png", size)).any()


def test_the_hole_has_the_grey_of_what_is_left_and_nothing_of_what_was_there() -> None:
    pixels, hidden = np.full((8, 8), 40, np.uint8), np.zeros((8, 8), bool)
    hidden[2:4, 2:4] = True
    pixels[hidden] = 255
    assert (erased.erase(pixels, hidden) == 40).all()


def test_telea_fills_from_the_rim_and_leaves_what_is_seen() -> None:
    pixels, hidden = np.full((32, 32), 20, np.uint8), np.zeros((32, 32), bool)
    pixels[:, 20:] = 220
    hidden[12:18, 6:12] = True
    spoilt = erased.erase(pixels, hidden)
    assert (spoilt[hidden] > 80).all()
    made = erased.telea(spoilt, hidden)
    np.testing.assert_array_equal(made[~hidden], pixels[~hidden])
    np.testing.assert_allclose(made[hidden], 20.0, atol=2)


def test_similarity_looks_into_the_hole_alone() -> None:
    generator = np.random.default_rng(0)
    whole = generator.random((32, 32)).astype(np.float32)
    hidden = np.zeros((32, 32), bool)
    hidden[:8] = True
    other = whole.copy()
    other[16:] = 0  # spoilt farther from the hole than a window reaches
    assert erased.similarity(whole, other, hidden) == pytest.approx(1)
    other[:8] = 0
    assert erased.similarity(whole, other, hidden) < 0.5


class _Knows:
    """Networks that return the whole image whatever is hidden of it."""

    def __init__(self, whole: Array) -> None:
        self.whole = whole

    def encode(self, images: Array) -> Array:
        return np.zeros((len(images), 1, 4, 4), np.float32)

    def decode(self, latents: Array) -> Array:
        return np.repeat(self.whole[None, None], len(latents), 0)


def test_a_decoder_that_knows_the_image_fills_its_holes_perfectly(
    bundle: Bundle, images: ImageSet
) -> None:
    whole = images.inputs[0]
    hidden = erased.holes("a.png", 32)
    seer = replace(bundle, networks=_Knows(whole.astype(np.float32) / 255))
    made = erased.fillings(seer, erased.erase(whole, hidden), hidden)
    worth = {
        k: erased.similarity(whole.astype(np.float32) / 255, v, hidden) for k, v in made.items()
    }
    assert worth["bundle"] == pytest.approx(1)
    assert worth["decoded"] == pytest.approx(1)
    assert worth["telea"] < 0.9
    assert worth["grey"] < 0.9


def test_every_task_says_what_it_loses(bundle: Bundle, images: ImageSet) -> None:
    found = erased.erased(bundle, images)
    assert set(found["auc"]) == {"children/pneumonia", "adults/pneumonia"}
    for task in found["auc"].values():
        assert (task["n"], task["positive"]) == (12, 6)
        lost = task["whole"]["value"] - task["erased"]["value"]
        assert task["lost"]["value"] == pytest.approx(lost, abs=2e-4)
    assert found["ssim"]["bundle over telea"]["value"] == pytest.approx(
        found["ssim"]["bundle"]["value"] / found["ssim"]["telea"]["value"], abs=1e-3
    )
    with pytest.raises(ValueError, match="two images"):
        erased.erased(bundle, images.where([True] + [False] * 23))


# -- methods --------------------------------------------------------------------------------------


def test_every_method_is_scored_on_the_same_positives(bundle: Bundle, images: ImageSet) -> None:
    def contrary(inputs: Array) -> Array:
        """Calls the first picture ill and every changed one well."""
        return np.eye(2, dtype=np.float32)[[0, *[1] * (len(inputs) - 1)]]

    found = methods.methods(_called(bundle, 0, 0), images, 3, {0: contrary})
    assert set(found) == {"children/pneumonia", "adults/pneumonia"}
    for answer in found.values():
        assert {answer[name]["cells"]["n"] for name in methods.METHODS} == {3}
        gap = answer["inpainting"]["change"]["value"] - answer["exchange"]["change"]["value"]
        assert answer["inpainting less exchange"]["change"]["value"] == pytest.approx(gap, abs=2e-4)
        assert answer["exchange"]["own_flips"]["value"] == 0  # nothing is below a band at 0
    assert found["children/pneumonia"]["inpainting"]["witness_flips"]["value"] == 1
    assert "witness_flips" not in found["adults/pneumonia"]["inpainting"]


def test_a_bundle_without_averages_has_nothing_to_compare(bundle: Bundle, images: ImageSet) -> None:
    bare = {k: v[:0] if k.startswith("latents_") else v for k, v in bundle.donors.items()}
    assert methods.methods(replace(_called(bundle, 0, 0), donors=bare), images, 1) == {}


def _reader() -> tuple[Subject, Array]:
    """A model that calls present what is bright in one cell of 4 x 4, and its picture."""
    image = np.zeros((32, 32), np.float32)
    image[8:16, 16:24] = 1

    def encode(pictures: Array) -> Array:
        cells = pictures.reshape(len(pictures), 1, 4, 8, 4, 8).mean((3, 5))
        return np.asarray(cells, dtype=np.float32)

    row = Row(np.full((1, 1), 40, np.float32), np.full(1, -20, np.float32), np.zeros(1, np.float32))
    greys = Greys(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    film = Film("1.2", image, greys, image, encode(image[None])[0])
    fake: Any = SimpleNamespace(encode=encode, size=32)
    none = np.zeros((0, 1, 4, 4), np.float32)
    return Subject("bright", film, fake, row, Scale(0.5, (0.5, 0.5)), none, none), image


def test_the_cell_that_decides_falls_first_and_returns_first() -> None:
    subject, image = _reader()
    right = methods.by_cell(image, 4)
    best, worst = methods.curves(subject, right), methods.curves(subject, -right)
    assert best.deletion < 0.15 < 0.85 < worst.deletion
    assert worst.insertion < 0.15 < 0.85 < best.insertion


@pytest.mark.shared
@pytest.mark.parametrize(("name", "table"), [("chest", "chest_adult"), ("breast", "breast")])
def test_shipped_bundles_fill_holes_better_than_bare_grey(
    name: str, table: str, shared: Path
) -> None:
    opened, folder = open_bundle(name, "cpu"), shared / "data" / "images"
    images = judged(opened, [(folder / f"{table}.csv", folder / f"{table}.tar")], "val", 6)
    found = erased.erased(opened, images)["ssim"]
    assert found["bundle"]["low"] > found["grey"]["high"]
    assert found["bundle"]["value"] < found["unspoilt"]["value"]
