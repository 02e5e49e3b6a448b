"""Pre-training: what it may see, what it leaves behind, and who else can share the work."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from tiny_bundle import tiny_images, tiny_network, tiny_plan

from processors.training import fit, pretrain
from processors.training.calibrate import Calibration, Operating
from processors.training.crew import ALONE, Crew
from processors.training.layouts import read_layout
from processors.training.make import (
    Setting,
    fit_network,
    metadata,
    recipe_of,
    shape_of,
)
from processors.training.plan import read_plan
from processors.training.stopping import Best, log_loss

SIZE = 32


def _table(folder: Path, name: str, labels: list[str], split: str = "train") -> Path:
    """One grey square per label, all of `split` but a last one of `val` that is called secret."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels"])
        for i, label in enumerate([*labels, "secret"]):
            pixels = np.random.default_rng(i).integers(0, 255, (40, 40)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}{i}.png")
            part = split if i < len(labels) else "val"
            writer.writerow([f"{name}{i}.png", part, f"{name}-P{i}", label])
    return folder / f"{name}.csv"


@pytest.fixture
def sets(tmp_path: Path) -> list[tuple[Path, Path]]:
    often = ["effusion"] * 30 + ["effusion|nodule"] * 30 + ["no_finding"] * 31 + ["rare"] * 3
    tables = [
        _table(tmp_path, "films", often),
        _table(tmp_path, "heads", ["glioma"] * 31 + ["pituitary"] * 30),
    ]
    return [(table, tmp_path) for table in tables]


def test_a_set_asks_for_its_own_labels(sets: list[tuple[Path, Path]]) -> None:
    """The rarer of two labels counts; rare ones teach nothing; well owns no cells."""
    films, heads = (pretrain.question_of(table) for table, _ in sets)
    assert films is not None
    assert heads is not None
    assert films.labels == ("nodule", "effusion")
    assert films.negative == ("no_finding",)
    assert films.target(("effusion", "nodule")) == 0
    assert set(heads.labels) == {"glioma", "pituitary"}
    assert not heads.none


@pytest.mark.parametrize(
    ("unlabelled", "asked"),
    [([], ["films", "heads"]), (["heads"], ["films"]), (["films", "heads"], [])],
)
def test_what_is_measured_later_teaches_no_label(
    sets: list[tuple[Path, Path]], unlabelled: list[str], asked: list[str]
) -> None:
    lessons = pretrain.gather(sets, (), unlabelled, SIZE)
    assert [q.name for q in lessons.questions] == asked
    assert len(lessons.images.samples) == 94 + 61  # no row of val, labelled or not
    assert not any("secret" in s.labels for s in lessons.images.samples)
    known = (lessons.images.targets >= 0).sum(0).tolist()
    assert known == [{"films": 91, "heads": 61}[name] for name in asked] or [0]


def test_an_unknown_set_is_named(sets: list[tuple[Path, Path]]) -> None:
    with pytest.raises(ValueError, match="'haeds'"):
        pretrain.gather(sets, (), ["haeds"], SIZE)


def _medmnist(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (6, 28, 28, 3)).astype(np.uint8)
    labels = np.array([[0], [1], [2], [0], [1], [2]])
    held = {f"{part}_images": images for part in ("train", "val", "test")}
    np.savez(folder / "cells.npz", **held, **{"train_labels": labels})
    return folder / "cells.npz"


def _medimeta(folder: Path) -> Path:
    root = folder / "fundus"
    for part in ("images", "splits", "task_labels"):
        (root / part).mkdir(parents=True)
    info = {"id": "fundus", "tasks": [{"task_name": "grade", "labels": {0: "none", 1: "some"}}]}
    with (root / "info.yaml").open("w") as out:
        YAML().dump(info, out)
    generator = np.random.default_rng(1)
    for i in range(8):
        pixels = generator.integers(0, 255, (24, 24)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i:06d}.tiff")
    np.save(root / "task_labels" / "grade.npy", np.array([0, 1] * 4))
    (root / "splits" / "train.txt").write_text(
        "\n".join(f"images/{i:06d}.tiff" for i in (1, 2, 4, 5, 7))
    )
    return root


@pytest.mark.parametrize(
    ("make", "labels", "targets"),
    [
        pytest.param(_medmnist, ("0", "1", "2"), [0, 1, 2, 0, 1, 2], id="MedMNIST"),
        pytest.param(_medimeta, ("none", "some"), [1, 0, 0, 1, 1], id="MedIMeta"),
    ],
)
def test_other_layouts_are_read(tmp_path: Path, make, labels, targets: list[int]) -> None:
    images, question = read_layout(make(tmp_path), SIZE)
    assert question.labels == labels
    assert images.answers(0).tolist() == targets
    assert images.inputs.shape == (len(targets), SIZE, SIZE)
    lessons = pretrain.gather((), [make_again(tmp_path, question.name)], [], SIZE)
    assert lessons.images.answers(0).tolist() == targets


def make_again(folder: Path, name: str) -> Path:
    return next(folder.glob(f"{name}*"))


def test_another_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"info\.yaml"):
        read_layout(tmp_path, SIZE)


def test_a_task_starts_from_all_but_the_head() -> None:
    learnt = tiny_network(seed=5).state_dict()
    run = fit.start(shape_of(tiny_plan()), recipe_of(tiny_plan()), learnt)
    own = run.model.state_dict()
    del learnt["head.bias"]  # every head begins with the same one
    for name, value in learnt.items():
        assert torch.equal(own[name], value) == (name != "head.weight")


def test_weights_of_other_widths_are_refused(tmp_path: Path) -> None:
    other = replace(shape_of(tiny_plan()), wide=16)
    torch.manual_seed(0)
    learnt = type(tiny_network())(other).state_dict()
    with pytest.raises(ValueError, match="other widths"):
        fit.start(shape_of(tiny_plan()), recipe_of(tiny_plan()), learnt)
    (tmp_path / "start.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="no weights"):
        pretrain.read_start(tmp_path / "start.safetensors")


def test_a_start_names_the_licences_of_what_it_saw(tmp_path: Path) -> None:
    images = tiny_images(8)
    lent = tuple(replace(s, source="NIH via a copy", licence="free use") for s in images.samples)
    lessons = pretrain.Lessons(replace(images, samples=lent), ())
    weights = tiny_network().state_dict()
    start = pretrain.read_start(pretrain.write_start(weights, tmp_path / "s.safetensors", lessons))
    assert start.licences == ("NIH: free use",)
    assert all(torch.equal(start.weights[name], weights[name]) for name in weights)
    found = [Calibration(1.0, (0.0,), True, (Operating(0.5, (0.4, 0.6), -1.0),))] * 2
    described = metadata(tiny_plan(), found, images, start.licences)
    assert described["dictamen"]["licences"] == ["NIH: free use"]


def test_a_classifier_alone_decodes_nothing() -> None:
    plan = tiny_plan().with_recipe(decoded=0.0)
    run = fit.start(shape_of(plan), recipe_of(plan))
    before = run.model.from_latent[0][0].weight.clone()
    told: list[set[str]] = []
    fit.train(run, tiny_images(), recipe_of(plan), lambda _, t: bool(told.append(set(t))) or True)
    assert all(terms <= {"ce", "place"} for terms in told)
    assert torch.equal(before, run.model.from_latent[0][0].weight)


def test_early_stopping_keeps_the_best() -> None:
    images = tiny_images()
    good, worse = tiny_network(seed=0), tiny_network(seed=1)
    if log_loss(good, images) > log_loss(worse, images):
        good, worse = worse, good
    best = Best(patience=2)
    assert best.goes_on(worse, images)
    assert best.goes_on(good, images)
    assert best.goes_on(worse, images)
    assert not best.goes_on(worse, images)
    kept = best.network(worse)
    assert log_loss(kept, images) == pytest.approx(log_loss(good, images))
    assert Best(0).network(worse) is worse


def test_several_processes_cannot_stop_early(tmp_path: Path) -> None:
    setting = Setting(tmp_path, crew=Crew(0, 2), patience=1)
    parts = (tiny_images(), tiny_images())
    with pytest.raises(ValueError, match="patience"):
        fit_network(parts, tiny_plan(), setting, lambda *_: None)
    assert ALONE.count == 1


SHARED = """
import json, os, sys
import torch
sys.path.insert(0, sys.argv[1])
from tiny_bundle import tiny_images, tiny_plan
from processors.training import fit
from processors.training.calibrate import Calibration, Operating
from processors.training.crew import muster
from processors.training.make import recipe_of, shape_of

torch.set_num_threads(1)
crew = muster()
run = fit.start(shape_of(tiny_plan()), recipe_of(tiny_plan()), device=crew.device)
costs = []
fit.train(run, tiny_images(), recipe_of(tiny_plan()), lambda _, t: bool(costs.append(t["l1"])) or 1,
          crew)
total = sum(float(w.detach().double().sum()) for w in run.model.parameters())
told = {"rank": crew.rank, "count": crew.count, "weights": total, "costs": costs}
os.write(1, (json.dumps(told) + "\\n").encode())  # at once: two processes share this pipe
"""


@pytest.mark.slow
def test_two_processes_hold_the_same_weights(tmp_path: Path) -> None:
    """They see other images (other costs) and end with the same weights, unlike one alone."""
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    tests = str(Path(__file__).parents[2])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node", "2"]
    alone = _told([sys.executable, str(script), tests])
    both = _told([*launch, str(script), tests])
    assert [told["count"] for told in alone] == [1]
    assert sorted(told["rank"] for told in both) == [0, 1]
    assert both[0]["weights"] == pytest.approx(both[1]["weights"], abs=1e-9)
    assert both[0]["costs"] != both[1]["costs"]
    assert both[0]["weights"] != pytest.approx(alone[0]["weights"], abs=1e-6)


def _told(command: list[str]) -> list[dict[str, object]]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("name", ["chest", "brain", "breast"])
def test_a_shipped_plan_starts_from_shipped_weights(name: str) -> None:
    plan = read_plan(name)
    assert plan.start is not None
    begun = pretrain.read_start(plan.start)
    fit.start(shape_of(plan), recipe_of(plan), begun.weights)  # widths and channels agree
    assert begun.licences
