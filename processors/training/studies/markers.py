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
from dataclasses import dataclass
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
    Parts,
    films_of,
    films_of_train,
    plan_of,
    positive,
    trained,
)
from processors.training.studies.marker_planting import (
    CLEAN,
    HIGH,
    STROKE,
    WIDE,
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
class _Setting:
    """What all models of a study share. changes: of the plan, for a smaller network."""

    parts: Parts
    judged: ImageSet
    masks: Masks
    work: Path
    steps: int | None
    changes: Mapping[str, Any]
    start: Start
    bar: Progress


def _model(setting: _Setting, planting: Planting, seed: int) -> tuple[Trial, float]:
    name = f"{planting.positives:.0%} marked, seed {seed}"
    plan = plan_of(seed, setting.steps, setting.changes)
    task = setting.bar.add_task(name, total=int(plan.raw["recipe"]["steps"]))

    def tell(step: int, steps: int) -> None:
        setting.bar.update(task, completed=step, total=steps)

    made = trained(setting.parts, plan, planting, setting.work, tell, setting.start)
    setting.bar.update(task, description=f"{name}: explaining")
    found = trial(made.bundle, setting.judged, setting.masks)
    setting.bar.remove_task(task)
    return found, made.cpu_s


def _asked(setting: _Setting, planting: Planting) -> Asked:
    """The judged films; in them the marker is planted for the AUC as it was in training."""
    judged, generator = setting.judged, np.random.default_rng(PLACES)
    return Asked(
        patients=tuple(s.patient for s in judged.samples),
        positive=positive(judged),
        carriers=carriers(positive(judged), planting, generator),
        fair=np.array([near(mask).mean() for mask in setting.masks]),
    )


def _arm(setting: _Setting, planting: Planting, seeds: Sequence[int]) -> dict[str, Any]:
    """All models of one planting."""
    control, asked = planting == CLEAN, _asked(setting, planting)
    trials, each = [], {}
    for seed in seeds:
        one, cpu_s = _model(setting, planting, seed)
        trials.append(one)
        each[str(seed)] = {"cpu_s": cpu_s, **summary([one], asked, control)}
        setting.bar.console.print(
            f"{planting.positives:.0%} marked, seed {seed}: {each[str(seed)]}"
        )
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


def study(
    table: Path,
    images: Path,
    work: Path,
    seeds: Sequence[int] = (0, 1, 2),
    shares: Sequence[float] = (1.0, 0.8),
    steps: int | None = None,
    split: str = "val",
    changes: Mapping[str, Any] | None = None,
    start: Start = NOTHING,
) -> dict[str, Any]:
    """Trains len(seeds) * (len(shares) + 1) models, or opens those in `work`, and judges them.

    start: what they begin from; a small mark is learnt late by a network that knows nothing yet.
    """
    plan = plan_of(seeds[0], steps, changes)
    judged = films_of(table, images, plan, split)
    masks = drawn_masks(judged, np.random.default_rng(PLACES))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        parts = films_of_train(table, images, plan)
        setting = _Setting(parts, judged, masks, work, steps, changes or {}, start, bar)
        arms = {f"{share:.0%}": _arm(setting, confounder(share), seeds) for share in shares}
        clean = _arm(setting, CLEAN, seeds)
    for share in shares:
        floor = FLOORS.get(share, 0.0)
        arms[f"{share:.0%}"] |= {
            "floor": floor,
            "verdict": verdict(arms[f"{share:.0%}"]["pooled"], floor),
        }
    clean |= {"ceiling": CEILING, "verdict": verdict(clean["pooled"], None)}
    return {
        "split": split,
        "films": {"positive": int(positive(judged).sum()), "all": len(judged.samples)},
        "marker": {"high": HIGH, "wide": WIDE, "stroke": STROKE, "grown": GROWN},
        "decides_from": DECIDES,
        "recipe": plan.raw["recipe"],
        "planted": arms,
        "clean": clean,
    }
