"""How often does the audit find a planted cause, and how often does it accuse a clean model?

Small models, some taught on films where a mark goes with the answer, some on films without marks or
with marks that mean nothing, are audited blindly: the audit gets the model and bare films, not what
was planted. In: one table with images. Out: shares found and falsely accused with their intervals
(Clopper & Pearson, Biometrika 26:404, 1934), and what taking the mark out of the head brings back.
Never: a limit of the audit moved after a look at what it found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from scipy.stats import binomtest

from processors.training.audit.cases import cases
from processors.training.audit.mending import WAYS, Mended, mended
from processors.training.audit.record import probed
from processors.training.audit.verdict import LOST, verdict
from processors.training.pretrain import NOTHING, Start
from processors.training.studies.marker_models import (
    CAUSE,
    LOT,
    films_of,
    films_of_train,
    plan_of,
    trained,
)
from processors.training.studies.marker_planting import (
    CLEAN,
    KINDS,
    TAG,
    Planting,
    confounder,
)

SEEDS = (0, 1, 2)
CLEAN_SEEDS = range(17)
STEPS, CLEAN_STEPS = 1000, 300  # a mark is learnt late; without one the films are known by then


@dataclass(frozen=True, slots=True)
class Model:
    """One small model of the study."""

    task: str
    planting: Planting
    seed: int

    @property
    def biased(self) -> bool:
        return self.planting.positives != self.planting.negatives

    @property
    def steps(self) -> int:
        """Clean models of the first seeds are those of the study of markers."""
        shared = self.planting == CLEAN and self.seed in SEEDS
        return STEPS if self.biased or shared else CLEAN_STEPS

    @property
    def name(self) -> str:
        share = f"{self.planting.positives:.0%}" if self.planting != CLEAN else "none"
        return f"{self.task}, {self.planting.kind} {share}, seed {self.seed}"


def models() -> tuple[Model, ...]:
    """21 biased ones and 20 clean ones; of these, three saw marks that mean nothing."""
    planted = [(CAUSE, confounder(1.0, kind)) for kind in KINDS]
    planted += [(LOT, confounder(0.8, kind)) for kind in KINDS] + [(CAUSE, confounder(0.8, TAG))]
    biased = [Model(task, planting, seed) for task, planting in planted for seed in SEEDS]
    useless = [Model(CAUSE, confounder(0.5, kind), 0) for kind in KINDS]
    return (*biased, *(Model(CAUSE, CLEAN, seed) for seed in CLEAN_SEEDS), *useless)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where models are kept and what they are made of; steps: in place of each model's own;
    changes: of the plan."""

    table: Path
    images: Path
    work: Path
    start: Start = NOTHING
    steps: int | None = None
    split: str = "val"
    changes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the audit says of one model; mended: of the mark that was planted."""

    model: Model
    lost: Mapping[str, float]
    marks: tuple[str, ...]
    mended: tuple[Mended, ...]

    def record(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "biased": self.model.biased,
            "lost": dict(self.lost),
            "found": list(self.marks),
            "mended": [one.record() for one in self.mended],
        }


def _audited(setting: Setting, asked: Sequence[Model], bar: Progress) -> Iterator[Found]:
    line = bar.add_task("models", total=len(asked))
    for one in asked:
        bar.update(line, description=one.name)
        plan = plan_of(one.seed, setting.steps or one.steps, setting.changes, one.task)
        parts = films_of_train(setting.table, setting.images, plan)
        made = trained(parts, plan, one.planting, setting.work, lambda *_: None, setting.start)
        judged = films_of(setting.table, setting.images, plan, setting.split)
        case, own = next(cases(made.bundle, judged)), next(cases(made.bundle, parts[1]))
        probes = probed(case)
        marks = tuple(mark.kind for mark in verdict(probes, ()).marks)
        yield Found(
            model=one,
            lost={kind: round(p.lost.low, 4) for kind, p in probes.items()},
            marks=marks,
            mended=mended(own, case, one.planting.kind) if _mends(one, marks) else (),
        )
        bar.advance(line)


def _mends(one: Model, marks: Sequence[str]) -> bool:
    """Answers drawn by lot have no AUC that could come back."""
    return one.task == CAUSE and one.biased and one.planting.kind in marks


def study(setting: Setting, asked: Sequence[Model] | None = None) -> dict[str, Any]:
    """Trains every model, or opens those in `work`, and audits it."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        found = list(_audited(setting, asked or models(), bar))
    biased = [one for one in found if one.model.biased]
    clean = [one for one in found if not one.model.biased]
    return {
        "split": setting.split,
        "accused_from": LOST,
        "found": _share([one.model.planting.kind in one.marks for one in biased]),
        "false_alarms": _share([bool(one.marks) for one in clean]),
        "mended": {way: _pooled([m for one in biased for m in one.mended if m.way == way])
                   for way in WAYS},
        "models": [one.record() for one in found],
    }  # fmt: skip


def _share(yes: Sequence[bool]) -> dict[str, float]:
    """With its exact 95 % interval."""
    if not yes:
        return {"n": 0}
    test = binomtest(sum(yes), len(yes)).proportion_ci()
    ends = {"low": round(float(test.low), 4), "high": round(float(test.high), 4)}
    return {"n": len(yes), "value": round(sum(yes) / len(yes), 4), **ends}


def _pooled(found: Sequence[Mended]) -> dict[str, Any]:
    """Mean over models; low, high: the smallest and the largest."""
    if not found:
        return {"models": 0}
    figures: dict[str, Any] = {"models": len(found)}
    for name in ("back", "cost"):
        values = np.array([getattr(one, name).value for one in found])
        ends = {"value": values.mean(), "low": values.min(), "high": values.max()}
        figures[name] = {k: round(float(v), 4) for k, v in ends.items()}
    return figures
