"""The shipped chest bundle: whole, small, honest, and without a patient inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from processors.runtime import Bundle, open_bundle
from processors.training.data import is_tuning, read_images, read_table
from processors.training.evaluate import red
from processors.training.plan import questions_of
from processors.training.privacy import nearness
from processors.vae.latent import probability
from processors.vae.normalise import network_input

LARGEST = 15 * 2**20
SOURCES = {"children": "chest_paed", "adults": "chest_adult"}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle("chest", "cpu")


def test_it_is_small(bundle: Bundle) -> None:
    assert sum(f.stat().st_size for f in bundle.folder.rglob("*") if f.is_file()) <= LARGEST


def test_every_donor_is_an_average(bundle: Bundle) -> None:
    kinds = [f"{name}_{kind}" for kind in ("pneumonia", "none") for name in SOURCES]
    for kind in kinds:
        counts = bundle.donors[f"patients_{kind}"]
        assert len(counts) == len(bundle.donors[f"latents_{kind}"]) >= 8
        assert (counts >= 5).all()
        assert bundle.donors[f"noise_{kind}"].shape == bundle.donors[f"latents_{kind}"].shape[1:]


def test_the_card_says_what_was_measured(bundle: Bundle) -> None:
    card = bundle.card
    readme = (bundle.folder / "docs" / "README.md").read_text()
    for question in card["questions"]:
        (answer,) = question["answers"]
        name = f"{question['name']}/{answer['label']}"
        found = card["evaluation"]["answers"][name]
        auc = found["auc"]
        assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in readme
        assert answer["red"] is red(name, found, card["limits"]["goals"])
        assert bool(answer["note"]) is answer["red"]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("population", list(SOURCES))
def test_no_patient_inside(bundle: Bundle, shared: Path, population: str) -> None:
    """No decoded donor is nearer to a training film than films that did not fit are."""
    name = SOURCES[population]
    folder = shared / "data" / "images"
    samples = [
        s
        for s in read_table(folder / f"{name}.csv", questions_of(bundle.card["questions"]))
        if s.split == "train"
    ]
    films = np.stack(
        [
            network_input(image, bundle.size)[0]
            for image in read_images(folder / f"{name}.tar", [s.path for s in samples])
        ]
    )
    held = np.array([is_tuning(s.patient) for s in samples])
    latents = np.concatenate(
        [bundle.donors[f"latents_{population}_{kind}"] for kind in ("pneumonia", "none")]
    )
    donors = nearness(bundle.decode(latents.astype(np.float32)), films[~held])
    strangers = nearness(films[held], films[~held])
    assert donors.distance.min() >= strangers.distance.min()
    assert donors.ratio.min() >= strangers.ratio.min()
    assert donors.bits.min() >= strangers.bits.min()


@pytest.mark.slow
def test_monai_runs_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    from PIL import Image

    film = np.random.default_rng(0).integers(0, 256, (200, 180), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "film.png")
    root = Path(__file__).parents[3]
    command = [
        sys.executable, "-m", "monai.bundle", "run",
        "--config_file", str(bundle.folder / "configs" / "inference.json"),
        "--bundle_root", str(bundle.folder), "--image", str(tmp_path / "film.png"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (theirs,) = json.loads(done.stdout.strip().splitlines()[-1])
    latent = bundle.encode(network_input(film.astype(np.float32) / 255, bundle.size)[0][None])[0]
    ours = [probability(latent, bundle.row(i, 0)) for i in range(2)]
    np.testing.assert_allclose(theirs, ours, atol=2e-3)
