"""The gate's training: same network in numpy, same batches for a seed, both files written."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from processors.gate._picture import load_weights, see, small
from processors.training import gate as training
from processors.training.gate_films import (
    CLASSES,
    FRONTAL_SETS,
    OTHER_SETS,
    Mixer,
    read_films,
)

COLUMNS = ("path", "split", "patient", "labels", "licence")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Tiny sets in the layout of the real ones; the pictures are drawn, not films."""
    random = np.random.default_rng(3)
    for name in (*FRONTAL_SETS, "chest_lateral", *OTHER_SETS):
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
    net = training.Net()
    with torch.no_grad():  # statistics as after some training, so that folding has work to do
        for _ in range(3):
            net(torch.randn(8, 1, 64, 64) * 2 + 1)
    weights = training.folded(net.eval())
    picture = np.random.default_rng(2).random((90, 70)).astype(np.float32)
    with torch.no_grad():
        scores = net(torch.from_numpy(small(picture) - 0.5)[None, None])
    expected = torch.softmax(scores, dim=1)[0].numpy()
    got = list(see(picture, weights).probabilities.values())
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_same_seed_gives_the_same_batch(images: Path) -> None:
    films = read_films(images)
    (one, classes), (other, again) = (Mixer(films, 7).batch(40) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(classes, again)
    assert one.shape == (40, 1, 64, 64)
    assert one.min() >= -0.5
    assert one.max() <= 0.5
    assert set(classes.tolist()) <= set(range(len(CLASSES)))


def test_command_writes_weights_and_their_metrics(images: Path, tmp_path: Path) -> None:
    metrics = training.train(images, tmp_path / "out", steps=2, folds=0)
    weights = load_weights(tmp_path / "out" / "gate.npz")
    written = json.loads((tmp_path / "out" / "gate_metrics.json").read_text(encoding="utf-8"))
    assert written == metrics
    assert weights.classes == CLASSES
    assert written["frontal_passed"]["chest_paed"]["as_it_is"]["films"] == 6
    assert written["training"]["licences"] == ["made for a test"]
