"""What the commands `models pretrain` and `models train` do, with their progress bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from processors.training import fit, pretrain
from processors.training.crew import muster
from processors.training.make import (
    CHECKPOINT_EVERY,
    Setting,
    Tell,
    fit_network,
    gate_files,
    load_training,
    make_bundle,
)
from processors.training.plan import read_plan

Sources = Sequence[tuple[Path, Path]]
SHOWN = ("ce", "l1", "ssim")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One training as asked for; None leaves the plan's own value. start: in place of the plan's;
    board: a TensorBoard folder."""

    plan: str = "chest"
    steps: int | None = None
    seed: int | None = None
    threads: int = 1
    start: Path | None = None
    patience: int = 0
    board: Path | None = None


def use_threads(count: int) -> None:
    torch.set_num_threads(count)


@contextmanager
def _told(steps: int, board: Path | None, silent: bool) -> Iterator[Tell]:
    """A progress bar, and the terms of the loss in TensorBoard where a folder is given."""
    writer: Any = None
    if board and not silent:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(board))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=silent,
    ) as bar:
        task = bar.add_task("training", total=steps)

        def tell(step: int, _: int, terms: Mapping[str, float]) -> None:
            shown = " ".join(f"{k} {terms[k]:.3f}" for k in SHOWN if k in terms)
            bar.update(task, completed=step, description=f"training {shown}")
            for name, value in terms.items() if writer else ():
                writer.add_scalar(name, value, step)

        yield tell
    if writer:
        writer.close()


def train_bundle(sources: Sources, target: Path, work: Path, wanted: Wanted) -> Path:
    """Trains and writes a bundle. Raises ValueError for a plan, table or start that does not fit;
    BundleError for a gate that cannot be meant; ImportError, naming the extra, where TensorBoard
    is asked for and missing."""
    use_threads(wanted.threads)
    plan = read_plan(wanted.plan).with_recipe(steps=wanted.steps, seed=wanted.seed)
    gate_files(plan)  # a gate that cannot be had is said before hours are spent
    work.mkdir(parents=True, exist_ok=True)
    parts, crew = load_training(sources, plan), muster()
    begin = wanted.start or plan.start
    start = pretrain.read_start(begin) if begin else pretrain.NOTHING
    setting = Setting(work, start.weights, crew, wanted.patience)
    with _told(int(plan.raw["recipe"]["steps"]), wanted.board, bool(crew.rank)) as tell:
        model = fit_network(parts, plan, setting, tell)
    return target if crew.rank else make_bundle(model, parts, plan, target, start.licences)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a pre-training learns from, and the network's size: pixels, channels, a key of SIZES."""

    sources: Sources
    layouts: Sequence[Path] = ()
    unlabelled: Sequence[str] = ()
    size: int = 128
    channels: int = 16
    width: str = "S"


def pretrain_network(ground: Ground, target: Path, work: Path, wanted: Wanted) -> Path:
    """Trains over all sets together and writes the weights to start from."""
    use_threads(wanted.threads)
    work.mkdir(parents=True, exist_ok=True)
    lessons = pretrain.gather(ground.sources, ground.layouts, ground.unlabelled, ground.size)
    recipe = pretrain.RECIPE
    recipe = replace(recipe, steps=wanted.steps or recipe.steps, seed=wanted.seed or recipe.seed)
    crew, file = muster(), work / "checkpoint.pt"
    shape = lessons.shape(ground.size, ground.channels, ground.width)
    run = fit.start(shape, recipe, device=crew.device)
    run.lesson = fit.lesson(lessons.images, recipe)
    if file.exists():
        fit.resume(run, file)
    with _told(recipe.steps, wanted.board, bool(crew.rank)) as tell:

        def each(now: fit.Run, terms: dict[str, float]) -> bool:
            tell(now.step, recipe.steps, terms)
            if not crew.rank and (now.step % CHECKPOINT_EVERY == 0 or now.step == recipe.steps):
                fit.save(now, file)
            return True

        fit.train(run, lessons.images, recipe, each, crew)
    if not crew.rank:
        pretrain.write_start(run.mean.cpu().state_dict(), target, lessons)
    return target
