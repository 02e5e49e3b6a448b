"""What explanations are worth, on models and images whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import tiny_images

from processors.runtime import Bundle, open_bundle
from processors.training import probes
from processors.training.data import ImageSet
from processors.training.twins import elsewhere
from processors.training.witness import train_witness


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    return open_bundle(str(tiny_folder), "cpu")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """The tiny films; where the square of the ill ones is drawn is the place of all."""
    made = tiny_images(24)
    places = made.places.copy()
    places[:, 10:22, 8:16] = True
    return replace(made, places=places)


def _present(bundle: Bundle) -> Bundle:
    """Calls everything present, so that every ill film is explained."""
    changed = {"band": [0.0, 0.0], "threshold": 0.0}
    questions = [
        {**q, "answers": [{**a, **changed} for a in q["answers"]]} for q in bundle.card["questions"]
    ]
    card = {**bundle.card, "questions": questions}
    return replace(bundle, metadata={**bundle.metadata, "dictamen": card})


def test_a_witness_learns_what_is_there(images: ImageSet) -> None:
    witness = train_witness(images, 0, 2, steps=60, seed=1)
    known = images.answers(0) >= 0
    inputs = images.inputs[known].astype(np.float32) / 255
    assert (witness(inputs).argmax(1) == images.answers(0)[known]).mean() > 0.9


def test_every_number_is_there_with_its_interval(bundle: Bundle, images: ImageSet) -> None:
    witness = {q: train_witness(images, q, 2, steps=2, seed=1) for q in (0, 1)}
    found = probes.probe(_present(bundle), images, witness, most=3)
    assert found["ssim"]["low"] <= found["ssim"]["value"] <= found["ssim"]["high"]
    assert set(found["strips"]) == {"children/pneumonia", "adults/pneumonia"}
    for strip in found["strips"].values():
        assert strip["cells"]["n"] == 3
        assert strip["specificity"]["value"] >= 0
        assert 0 <= strip["own_flips"]["value"] <= 1
    assert found["pointing"]["evidence"]["n"] == 6
    assert found["box_greyed"]["n"] == 12  # the children: adults are no healthy ones of them


def test_a_bundle_without_donors_has_no_strips_to_probe(bundle: Bundle, images: ImageSet) -> None:
    bare = {k: v[:0] if k.startswith("latents_") else v for k, v in bundle.donors.items()}
    found = list(probes.positives(replace(_present(bundle), donors=bare), images, most=1))
    assert len(found) == 2
    assert probes.strips(found, {}) == {}


def test_boxes_of_one_answer_alone_lose_no_auc(bundle: Bundle, images: ImageSet) -> None:
    """As on chest films, where only the ill have boxes and the others' question is another."""
    children = images.where(images.answers(0) == 0)
    assert probes.use_of_boxes(bundle, children) == {}


def test_a_greyed_box_has_the_grey_of_its_rim() -> None:
    image = np.full((8, 8), 0.25, np.float32)
    box = np.zeros((8, 8), bool)
    box[3:5, 3:5] = True
    image[box] = 1
    np.testing.assert_array_equal(probes._greyed(image, box), np.full((8, 8), 0.25, np.float32))


def test_elsewhere_is_in_the_field_and_not_at_the_box() -> None:
    field = np.zeros((32, 32), bool)
    field[4:28, 4:28] = True
    box = np.zeros((32, 32), bool)
    box[6:12, 6:12] = True
    moved = elsewhere(box, field, np.random.default_rng(0))
    assert moved.sum() == box.sum()
    assert not (moved & box).any()
    assert field[moved].mean() > 0.8


def test_random_directions_leave_the_question_alone(bundle: Bundle) -> None:
    row = bundle.row(0, 0)
    step = np.zeros((4, 4, 4), np.float32)
    step[:, 1:3, 1:3] = 1
    drawn = probes._random_like(step, row, np.random.default_rng(0))
    assert np.linalg.norm(drawn) == pytest.approx(np.linalg.norm(step), rel=1e-4)
    np.testing.assert_allclose(np.tensordot(row.weight, drawn, 1), 0, atol=1e-4)
    assert not drawn[:, 0].any()
