"""The models of the planted-marker study: one question, a small network, a short training.

In: labelled films, a planting, a seed, a working folder. Out: an opened bundle, so that what is
measured went through the same calibration, donors and ONNX files as any shipped model. A model that
was trained before is opened again, one that was stopped goes on. Never: reads `val`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from processors.runtime import CHECKSUMS, Bundle, open_bundle
from processors.training.data import ImageSet, load
from processors.training.make import (
    CHECKPOINT_EVERY,
    Setting,
    fit_network,
    load_training,
    make_bundle,
)
from processors.training.places import lot
from processors.training.plan import Plan, questions_of
from processors.training.pretrain import NOTHING, Start
from processors.training.studies.marker_planting import Planting, carriers, drawn_masks, planted

Parts = tuple[ImageSet, ImageSet]
Tell = Callable[[int, int], None]  # step, steps
SIZE = 96
# Bacterial against viral pneumonia, because it is hard: where greys alone tell the classes apart
# (pneumonia against normal) the marker is not learnt, and a map of it would be wrong. Viral is the
# side without cells, so that a positive answer is undone by removing its evidence.
QUESTION = {
    "name": "cause",
    "low": 0,
    "high": 120,
    "answers": [{"label": "bacterial", "positive": ["bacterial"]}],
    "negative": ["pneumonia", "viral"],
}
# By lot: each patient's answer is drawn, so that nothing on a film can tell it but the marker. Only
# here is the one cause known when the marker agrees with the answer on four films in five: of two
# causes a map may rightly show both.
CAUSE, LOT = "cause", "lot"
TASKS = (CAUSE, LOT)
RECIPE: Mapping[str, Any] = {
    "steps": 1000,
    "batch": 32,
    "gamma": 1.0,
    "beta": 0.005,
    "decoded": 0.35,
}


def plan_of(
    seed: int,
    steps: int | None = None,
    changes: Mapping[str, Any] | None = None,
    task: str = CAUSE,
) -> Plan:
    """The study's plan; changes: of the plan's keys, for a smaller network; task: one of TASKS.

    No cell is silent at the edge (frame 0): the marker may lie there and must be found there.
    """
    raw = {
        "name": "planted marker",
        "version": "1.0.0",
        "size": SIZE,
        "channels": 16,
        "widths": "S",
        "frame": 0,
        "modality": "X-ray",
        "labels": [{"label": "bacterial", "name": {"en": "bacterial", "es": "bacteriana"}}],
        "questions": [{**QUESTION, "name": task}],
        "recipe": dict(RECIPE),
        **(changes or {}),
    }
    return Plan(raw, questions_of(raw["questions"])).with_recipe(seed=seed, steps=steps)


def _answered(images: ImageSet, plan: Plan) -> ImageSet:
    known = images.where(images.answers(0) >= 0)
    if plan.questions[0].name != LOT:
        return known
    drawn = (replace(s, targets=(int(lot(s.patient) < 0.5),)) for s in known.samples)
    return replace(known, samples=tuple(drawn))


def films_of_train(table: Path, images: Path, plan: Plan) -> Parts:
    """Films of both classes that fit, and those that calibrate."""
    fitted, tuning = load_training([(table, images)], plan)
    return _answered(fitted, plan), _answered(tuning, plan)


def films_of(table: Path, images: Path, plan: Plan, split: str) -> ImageSet:
    return _answered(load(table, images, plan.questions, int(plan.raw["size"]), split), plan)


def positive(images: ImageSet) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(images.answers(0) == 0)


def _marked(images: ImageSet, planting: Planting, generator: np.random.Generator) -> ImageSet:
    masks = drawn_masks(images, generator, planting.kind)
    chosen = carriers(positive(images), planting, generator)
    return planted(images, masks, chosen, planting.kind)


@dataclass(frozen=True, slots=True)
class Trained:
    """cpu_s: processor time of the training, all its parts together."""

    bundle: Bundle
    cpu_s: float


def model_folder(work: Path, plan: Plan, planting: Planting, start: Start = NOTHING) -> Path:
    """Another plan, planting or start gets another folder: nothing stale is taken for it."""
    begun = {name: float(value.double().sum()) for name, value in start.weights.items()}
    whole = json.dumps([plan.raw, asdict(planting), begun], sort_keys=True)
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    seed = plan.raw["recipe"]["seed"]
    task = plan.questions[0].name
    return work / f"{task}-{planting.kind}-{planting.positives * 100:.0f}-seed-{seed}-{digest}"


def trained(
    parts: Parts, plan: Plan, planting: Planting, work: Path, tell: Tell, start: Start = NOTHING
) -> Trained:
    """The bundle of one planting and seed. work: of one table, because films are not compared."""
    folder = model_folder(work, plan, planting, start)
    bundle, cost = folder / "bundle", folder / "cpu_s.txt"
    folder.mkdir(parents=True, exist_ok=True)
    if not (bundle / CHECKSUMS).is_file():
        generator = np.random.default_rng(int(plan.raw["recipe"]["seed"]))
        marked = (
            _marked(parts[0], planting, generator),
            _marked(parts[1], planting, generator),
        )
        before = float(cost.read_text()) if cost.is_file() else 0.0
        begin = time.process_time()

        def progress(step: int, steps: int, _: Mapping[str, float]) -> None:
            tell(step, steps)
            if step % CHECKPOINT_EVERY == 0 or step == steps:  # together with the checkpoint
                cost.write_text(f"{before + time.process_time() - begin:.1f}\n")

        model = fit_network(marked, plan, Setting(folder, start.weights), progress)
        make_bundle(model, marked, plan, bundle, start.licences)
    return Trained(open_bundle(str(bundle), "cpu"), float(cost.read_text()))
