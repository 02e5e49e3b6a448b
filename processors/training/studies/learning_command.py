"""What `models study joint|sweep|transfer|folds` do: read plan and tables, show progress, call one.

At 64 px where nothing else is said, so that many networks are affordable; the figures compare
networks and are no bundle's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from processors.training.plan import read_plan
from processors.training.pretrain import read_start
from processors.training.studies.folds import every_image, folds
from processors.training.studies.joint import joint
from processors.training.studies.learning import Ground, Sources, Tell, ground
from processors.training.studies.sweep import BETAS, plot, sweep
from processors.training.studies.transfer import transfer

SIZE = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plan's name or file, its tables, where networks are kept, steps of one run, CPU threads."""

    plan: str
    sources: Sources
    work: Path
    steps: int
    seeds: Sequence[int] = (0,)
    threads: int = 1
    size: int = SIZE


def _with_progress(
    wanted: Wanted, study: Callable[[Ground, Tell], dict[str, Any]]
) -> dict[str, Any]:
    torch.set_num_threads(wanted.threads)
    here = ground(read_plan(wanted.plan), wanted.sources, wanted.size, wanted.work)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("training")

        def tell(name: str, step: int, steps: int) -> None:
            bar.update(task, description=name, completed=step, total=steps)

        return {"plan": wanted.plan, "size": wanted.size, **study(here, tell)}


def study_joint(wanted: Wanted) -> dict[str, Any]:
    return _with_progress(wanted, lambda h, tell: joint(h, wanted.seeds, wanted.steps, tell))


def study_sweep(wanted: Wanted, picture: Path | None) -> dict[str, Any]:
    """picture: where the plot is written."""
    found = _with_progress(wanted, lambda h, tell: {"betas": sweep(h, BETAS, wanted.steps, tell)})
    if picture:
        plot(found["betas"], picture)
    return found


def study_transfer(wanted: Wanted, start: Path) -> dict[str, Any]:
    """The whole of the labels gets `steps`, a tenth half of them, a hundredth a quarter; the whole
    is learnt with the first seed alone, the smaller shares with each."""
    seeds = {0.01: wanted.seeds, 0.1: wanted.seeds, 1.0: wanted.seeds[:1]}
    steps = {0.01: wanted.steps // 4, 0.1: wanted.steps // 2, 1.0: wanted.steps}
    weights = read_start(start).weights
    return _with_progress(
        wanted, lambda h, tell: {"shares": transfer(h, weights, seeds, steps, tell)}
    )


def study_folds(wanted: Wanted, start: Path | None, splits: Sequence[str]) -> dict[str, Any]:
    """splits: which rows take part; without `val` it may help to choose."""
    weights = read_start(start).weights if start else None
    changes = {"steps": wanted.steps, "seed": wanted.seeds[0]}

    def study(here: Ground, tell: Tell) -> dict[str, Any]:
        images = every_image(here.plan, wanted.sources, wanted.size, splits)
        return folds(here.plan, images, here, weights, changes, tell)

    return {"splits": list(splits), "steps": wanted.steps, **_with_progress(wanted, study)}
