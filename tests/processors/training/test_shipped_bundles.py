"""The shipped bundles: whole, small, honest, and without a patient inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.catalogue import shipped
from processors.runtime import Bundle, open_bundle
from processors.training.data import is_tuning, read_images, read_table
from processors.training.evaluate import answers, red
from processors.training.plan import questions_of
from processors.training.privacy import nearness
from processors.vae.latent import probability
from processors.vae.normalise import network_input
from reports import codes

LARGEST = 15 * 2**20
NAMES = [entry["name"] for entry in shipped()]
SOURCES = {
    ("chest", "children"): "chest_paed",
    ("chest", "adults"): "chest_adult",
    ("brain", "tumour"): "brain",
    ("breast", "lesion"): "breast",
}  # (bundle, question) -> the set it was trained on


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return open_bundle(request.param, "cpu")


def _classes(question: Mapping[str, Any]) -> list[str]:
    return [a["label"] for a in question["answers"]] + ["none"] * question["none"]


def test_every_question_has_its_source(bundle: Bundle) -> None:
    known = {question for name, question in SOURCES if name == bundle.name}
    assert {question["name"] for question in bundle.card["questions"]} == known


def test_it_is_small(bundle: Bundle) -> None:
    assert sum(f.stat().st_size for f in bundle.folder.rglob("*") if f.is_file()) <= LARGEST


def test_every_donor_is_an_average(bundle: Bundle) -> None:
    for question in bundle.card["questions"]:
        for kind in _classes(question):
            name = f"{question['name']}_{kind}"
            counts = bundle.donors[f"patients_{name}"]
            assert len(counts) == len(bundle.donors[f"latents_{name}"]) >= 8
            assert (counts >= 5).all()
            noise = bundle.donors[f"noise_{name}"]
            assert noise.shape == bundle.donors[f"latents_{name}"].shape[1:]


def test_the_card_says_what_was_measured(bundle: Bundle) -> None:
    card = bundle.card
    readme = (bundle.folder / "docs" / "README.md").read_text()
    for question in card["questions"]:
        for answer in question["answers"]:
            name = f"{question['name']}/{answer['label']}"
            found = card["evaluation"]["answers"][name]
            auc = found["auc"]
            assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in readme
            assert answer["red"] is red(name, found, card["limits"].get("goals", {}))
            assert bool(answer["note"]) is answer["red"]


def test_its_codes_are_those_of_the_table(bundle: Bundle) -> None:
    """A label with a code has the table's, whose check digits and sources are tested there."""
    for entry in bundle.card["labels"]:
        known = codes.table().labels.get(entry["label"].replace("_", " "))
        given = entry.get("code")
        assert (given is None) == (known is None)
        if given is not None and known is not None:
            assert (given["value"], given["scheme"]) == (known.value, known.scheme)
        assert entry["name"]["es"]
        assert entry["name"]["en"]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("name", "question"), [k for k in SOURCES if k[0] in NAMES], ids="-".join)
def test_no_patient_inside(shared: Path, name: str, question: str) -> None:
    """No decoded donor is nearer to a training image than images that did not fit are."""
    bundle = open_bundle(name, "cpu")
    folder, source = shared / "data" / "images", SOURCES[name, question]
    questions = questions_of(bundle.card["questions"])
    number = [q.name for q in questions].index(question)
    samples = [
        s
        for s in read_table(folder / f"{source}.csv", questions)
        if s.split == "train" and s.targets[number] >= 0
    ]
    images = np.stack(
        [
            network_input(image, bundle.size)[0]
            for image in read_images(folder / f"{source}.tar", [s.path for s in samples])
        ]
    )
    held = np.array([is_tuning(s.patient) for s in samples])
    kinds = _classes(bundle.card["questions"][number])
    latents = np.concatenate([bundle.donors[f"latents_{question}_{kind}"] for kind in kinds])
    donors = nearness(bundle.decode(latents.astype(np.float32)), images[~held])
    strangers = nearness(images[held], images[~held])
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
    ours = [probability(latent, bundle.row(q, k)) for q, k, _ in answers(bundle.card)]
    np.testing.assert_allclose(theirs, ours, atol=2e-3)


@pytest.mark.parametrize("kind", ["", "-probe"])
def test_the_evidence_is_of_the_shipped_weights(bundle: Bundle, kind: str) -> None:
    held = Path(__file__).parents[3] / "docs" / "evidence" / f"{bundle.name}{kind}.json"
    assert json.loads(held.read_text("utf-8"))["sha256"] == bundle.algorithm.sha256
