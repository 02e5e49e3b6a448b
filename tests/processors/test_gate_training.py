"""The gate's training: same network in numpy, same batches for a seed, both files written."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from processors.gate._picture import Weights, load_weights, see, small
from processors.training import gate as training
from processors.training import gate_lateral
from processors.training.gate_films import Film, Mixer, patient_of, read_films
from processors.training.gate_lessons import BRAIN, BREAST, CHEST, LESSONS, Lesson

COLUMNS = ("path", "split", "patient", "labels", "licence")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Tiny sets in the layout of the real ones; the pictures are drawn, not films."""
    random = np.random.default_rng(3)
    for name in CHEST.sets:
        rows = []
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for number in range(24):
                path = f"{name}/{number}.png"
                drawn = random.integers(0, 255, (6, 6)).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(drawn).resize((70, 60)).save(file, "PNG")
                entry = tarfile.TarInfo(path)
                entry.size = file.tell()
                tar.addfile(entry, io.BytesIO(file.getvalue()))
                split = "val" if number % 4 == 0 else "train"
                rows.append((path, split, f"P{number}", "any", "made for a test"))
        with (tmp_path / f"{name}.csv").open("w", newline="") as listing:
            csv.writer(listing).writerows([COLUMNS, *rows])
    return tmp_path


def test_numpy_network_gives_what_torch_gives() -> None:
    torch.manual_seed(1)
    net = training.Net(len(CHEST.classes))
    with torch.no_grad():  # statistics as after some training, so that folding has work to do
        for _ in range(3):
            net(torch.randn(8, 1, 64, 64) * 2 + 1)
    weights = training.folded(net.eval(), CHEST.classes)
    picture = np.random.default_rng(2).random((90, 70)).astype(np.float32)
    with torch.no_grad():
        scores = net(torch.from_numpy(small(picture) - 0.5)[None, None])
    expected = torch.softmax(scores, dim=1)[0].numpy()
    got = list(see(picture, weights).probabilities.values())
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda lesson: lesson.organ)
def test_same_seed_gives_the_same_batch(images: Path, lesson: Lesson) -> None:
    films = read_films(images, lesson)
    (one, classes), (other, again) = (Mixer(films, lesson, 7).batch(40) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(classes, again)
    assert one.shape == (40, 1, 64, 64)
    assert one.min() >= -0.5
    assert one.max() <= 0.5
    assert set(classes.tolist()) <= set(range(len(lesson.classes)))


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda lesson: lesson.organ)
def test_a_lesson_teaches_what_it_may_and_no_more(images: Path, lesson: Lesson) -> None:
    assert sum(lesson.shares.values()) == pytest.approx(1)
    assert sum(lesson.others.values()) == pytest.approx(1)
    kinds = {film.source.partition("/")[0]: film.kind for film in read_films(images, lesson)}
    assert {name for name, kind in kinds.items() if kind == "accepted"} == set(lesson.accepted_sets)
    assert set(kinds) == set(CHEST.sets)


def test_command_writes_weights_and_their_metrics(images: Path, tmp_path: Path) -> None:
    metrics = training.train(CHEST, images, tmp_path / "out", steps=2)
    weights = load_weights(tmp_path / "out" / "gate.npz")
    written = json.loads((tmp_path / "out" / "gate_metrics.json").read_text(encoding="utf-8"))
    assert written == metrics
    assert weights.classes == CHEST.classes
    assert written["frontal_passed"]["chest_paed"]["as_it_is"]["films"] == 6
    assert written["training"]["licences"] == ["made for a test"]
    assert written["recall"]["false_refusals"]["n"] == 6 * len(CHEST.accepted_sets)


def test_a_rehearsal_leaves_the_validation_part_alone(images: Path, tmp_path: Path) -> None:
    films = [f for f in read_films(images, BREAST) if f.split == "train"]
    aside = [f for f in films if training.kept_back(f, BREAST, rehearse=True)]
    metrics = training.train(BREAST, images, tmp_path / "out", steps=2, rehearse=True)
    measured = metrics["refused"]["brain"]["films"]
    assert measured == sum(f.source == "brain" for f in aside) > 0
    assert metrics["training"]["films_learned"]["brain"] == 18 - measured


def test_lateral_films_are_judged_without_their_patients(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    fit = gate_lateral.fit

    def noted(films: Sequence[Film], lesson: Lesson, steps: int, seed: int) -> Weights:
        seen.append({film.patient for film in films if film.kind == "lateral"})
        return fit(films, lesson, steps, seed)

    monkeypatch.setattr(gate_lateral, "fit", noted)
    found = gate_lateral.lateral_recall(CHEST, images, folds=2, steps=1, rate=0.01)
    assert [len(patients) for patients in seen] == [12, 12]
    assert not seen[0] & seen[1]
    assert found["recall"]["gate"]["n"] == 24
    assert found["recall"]["logistic on statistics at 2 %"]["n"] == 24
    assert found["false_refusals_of_the_folds"]["n"] > 0


@pytest.mark.parametrize(
    ("name", "row", "patient"),
    [
        ("chest_paed", {"patient": "P7", "path": "a.png"}, "P7"),
        ("modality", {"patient": "", "path": "a.png", "note": "lowres64"}, "a.png"),
        ("brain", {"patient": "", "path": "a.png", "note": "fold4"}, "fold4"),
        ("breast", {"patient": "", "path": "a.png", "note": "id benign (41)"}, "benign 8"),
    ],
)
def test_what_must_not_be_parted(name: str, row: dict[str, str], patient: str) -> None:
    assert patient_of(name, row) == patient


def test_thresholds_of_the_brain_come_from_one_fold_of_patients() -> None:
    assert BRAIN.aside == ("fold4",)
