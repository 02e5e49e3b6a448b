"""The acceptance test of the method of explanation: does it find a cause that was planted?

Models are trained on films on which a marker goes with the positive answer, always or mostly; then
each map is asked how much of it lies on the marker. First it is checked that the marker decides at
all; where it does not, the study says so and gives no share. The control is a clean model of the
same seed that is shown the marker: its map must not care.
In: one table with images. Out: every figure per seed and pooled, machine-readable, with its floor.
Never: a choice made on `val`, which is judged once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from processors.training.data import ImageSet
from processors.training.pretrain import NOTHING, Start
from processors.training.studies.marker_measure import (
    DECIDES,
    GROWN,
    Asked,
    Trial,
    near,
    summary,
    trial,
)
from processors.training.studies.marker_models import (
    CAUSE,
    LOT,
    Parts,
    films_of,
    films_of_train,
    plan_of,
    positive,
    trained,
)
from processors.training.studies.marker_planting import (
    CLEAN,
    KINDS,
    Masks,
    Planting,
    carriers,
    confounder,
    drawn_masks,
)

PLACES = 9  # seed of the markers' places on the judged films: the same for every model
FLOORS = {1.0: 0.80, 0.8: 0.60}  # least share of the exchange's map on the marker
CEILING = 0.01  # most of it on a marker that a clean model is shown


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked. kinds, shares: of the plantings; changes: of the plan, for a smaller network;
    start: what the models begin from, because a small mark is learnt late by a network that knows
    nothing yet; others: methods that are compared on the planted models."""

    seeds: Sequence[int] = (0, 1, 2)
    kinds: Sequence[str] = tuple(KINDS)
    shares: Sequence[float] = (1.0, 0.8)
    task: str = CAUSE
    steps: int | None = None
    split: str = "val"
    changes: Mapping[str, Any] = field(default_factory=dict)
    start: Start = NOTHING
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all models of a study share; masks: by kind."""

    asking: Asking
    parts: Parts
    judged: ImageSet
    masks: Mapping[str, Masks]
    work: Path
    bar: Progress


def _model(setting: _Setting, planting: Planting, seed: int, kind: str) -> tuple[Trial, float]:
    asking = setting.asking
    name = f"{kind}, {planting.positives:.0%} marked, seed {seed}"
    plan = plan_of(seed, asking.steps, asking.changes, asking.task)
    task = setting.bar.add_task(name, total=int(plan.raw["recipe"]["steps"]))

    def tell(step: int, steps: int) -> None:
        setting.bar.update(task, completed=step, total=steps)

    made = trained(setting.parts, plan, planting, setting.work, tell, asking.start)
    setting.bar.update(task, description=f"{name}: explaining")
    others = () if planting == CLEAN else asking.others
    found = trial(made.bundle, setting.judged, setting.masks[kind], kind, others)
    setting.bar.remove_task(task)
    return found, made.cpu_s


def _asked(setting: _Setting, planting: Planting, kind: str) -> Asked:
    """The judged films; in them the marker is planted for the AUC as it was in training."""
    judged, generator = setting.judged, np.random.default_rng(PLACES)
    other = Planting(planting.negatives, planting.positives, kind)
    return Asked(
        patients=tuple(s.patient for s in judged.samples),
        positive=positive(judged),
        carriers=carriers(positive(judged), planting, generator),
        swapped=carriers(positive(judged), other, generator),
        fair=np.array([near(mask).mean() for mask in setting.masks[kind]]),
    )


def _arm(setting: _Setting, planting: Planting, kind: str) -> dict[str, Any]:
    """All models of one planting."""
    control, asked = planting == CLEAN, _asked(setting, planting, kind)
    trials, each = [], {}
    for seed in setting.asking.seeds:
        one, cpu_s = _model(setting, planting, seed, kind)
        trials.append(one)
        each[str(seed)] = {"cpu_s": cpu_s, **summary([one], asked, control)}
    return {
        "marked": {"positives": planting.positives, "negatives": planting.negatives},
        "seeds": each,
        "pooled": summary(trials, asked, control),
    }


def verdict(pooled: Mapping[str, Any], floor: float | None) -> str:
    """passed, failed, or why there is nothing to pass. floor: None for the control."""
    if floor is not None and not pooled["decides"]:
        return "not assessed: the marker does not decide"
    if "share" not in pooled:
        return "not assessed: no film was called positive"
    value = pooled["share"]["exchange"]["value"]
    good = value <= CEILING if floor is None else value >= floor
    return "passed" if good else "failed"


def _planted(setting: _Setting, share: float, kind: str) -> dict[str, Any]:
    floor = FLOORS.get(share)
    arm = _arm(setting, confounder(share, kind), kind)
    said = verdict(arm["pooled"], floor) if floor else "stated"
    return {**arm, "floor": floor, "verdict": said}


def _clean(setting: _Setting, kind: str) -> dict[str, Any]:
    arm = _arm(setting, CLEAN, kind)
    return {**arm, "ceiling": CEILING, "verdict": verdict(arm["pooled"], None)}


def study(table: Path, images: Path, work: Path, asking: Asking) -> dict[str, Any]:
    """Trains a model per kind, share and seed, and a clean one per seed, or opens those in `work`,
    and judges them.

    Answers drawn by lot have no clean models: there is nothing that these could learn.
    """
    plan = plan_of(asking.seeds[0], asking.steps, asking.changes, asking.task)
    judged = films_of(table, images, plan, asking.split)
    masks = {k: drawn_masks(judged, np.random.default_rng(PLACES), k) for k in asking.kinds}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        parts = films_of_train(table, images, plan)
        setting = _Setting(asking, parts, judged, masks, work, bar)
        arms = {
            kind: {f"{share:.0%}": _planted(setting, share, kind) for share in asking.shares}
            for kind in asking.kinds
        }
        clean = {k: _clean(setting, k) for k in asking.kinds} if asking.task != LOT else {}
    return {
        "task": asking.task,
        "split": asking.split,
        "films": {"positive": int(positive(judged).sum()), "all": len(judged.samples)},
        "grown": GROWN,
        "decides_from": DECIDES,
        "recipe": plan.raw["recipe"],
        "planted": arms,
        "clean": clean,
    }
