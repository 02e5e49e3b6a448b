"""What the command `models train` does, with its progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from processors.training.make import fit_network, load_training, make_bundle
from processors.training.plan import read_plan

Sources = Sequence[tuple[Path, Path]]


def use_threads(count: int) -> None:
    torch.set_num_threads(count)


def train_bundle(sources: Sources, target: Path, work: Path, options: Mapping[str, Any]) -> Path:
    """Trains and writes a bundle. options: plan, steps, seed, threads."""
    use_threads(int(options["threads"]))
    plan = read_plan(str(options["plan"]))
    plan = plan.with_recipe(steps=options["steps"], seed=options["seed"])
    work.mkdir(parents=True, exist_ok=True)
    parts = load_training(sources, plan)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("training", total=int(plan.raw["recipe"]["steps"]))

        def progress(step: int, _: int, terms: Mapping[str, float]) -> None:
            shown = " ".join(f"{k} {v:.3f}" for k, v in terms.items() if k in ("ce", "l1"))
            bar.update(task, completed=step, description=f"training {shown}")

        model = fit_network(parts[0], plan, work, progress)
    return make_bundle(model, parts, plan, target)
