"""Short trainings that studies compare: the same images and seeds, one thing changed.

In: a plan and its tables. Out: scores on `val` of networks that learnt `train`, with AUCs and the
paired difference of two of them. Networks are kept in a working folder and not trained twice.
Never: a choice made by what is measured; a bundle.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from processors.training import fit
from processors.training.data import ImageSet, join, load
from processors.training.make import recipe_of, shape_of
from processors.training.measure import Estimate, Numbers, area, estimate
from processors.training.places import place_of
from processors.training.plan import Plan
from processors.vae.network import SpatialVAE

Tell = Callable[[str, int, int], None]  # which run, step, steps
Sources = Sequence[tuple[Path, Path]]


@dataclass(frozen=True, slots=True)
class Ground:
    """A plan with its images: what is learnt and what is judged; work: where networks are kept."""

    plan: Plan
    fitted: ImageSet
    judged: ImageSet
    work: Path


def ground(plan: Plan, sources: Sources, size: int, work: Path) -> Ground:
    """The plan at another size of input, small enough for many runs."""
    small = Plan({**plan.raw, "size": size}, plan.questions).with_recipe(small_size=size)
    place, twin = place_of(plan.raw.get("place", {}), size), bool(plan.raw.get("twins"))
    fitted = join([load(t, i, plan.questions, size, "train", place, twin) for t, i in sources])
    judged = join([load(t, i, plan.questions, size, "val") for t, i in sources])
    return Ground(small, fitted, judged, work)


@dataclass(frozen=True, slots=True)
class Learnt:
    """cpu_s: processor seconds of the training."""

    model: SpatialVAE
    cpu_s: float


def learn(
    here: Ground,
    changes: Mapping[str, Any],
    tell: Tell,
    images: ImageSet | None = None,
    start: Mapping[str, Tensor] | None = None,
    name: str = "",
) -> Learnt:
    """One run with these changes of the recipe; images: in place of all that may be learnt.

    name: tells apart runs whose images or start differ. Another recipe gets another folder.
    """
    plan = here.plan.with_recipe(**changes)
    recipe, fitted = recipe_of(plan), images or here.fitted
    whole = json.dumps([plan.raw, asdict(recipe), name, len(fitted.samples)], sort_keys=True)
    folder = here.work / f"{name or 'run'}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    file, cost = folder / "network.pt", folder / "cpu_s.txt"
    run = fit.start(shape_of(plan), recipe, start)
    run.lesson = fit.lesson(fitted, recipe, start)
    if file.is_file():
        fit.resume(run, file)
        return Learnt(run.mean.eval(), float(cost.read_text()))
    begin = time.process_time()

    def each(now: fit.Run, _: Mapping[str, float]) -> bool:
        tell(name, now.step, recipe.steps)
        return True

    fit.train(run, fitted, recipe, each)
    spent = round(time.process_time() - begin, 1)
    cost.write_text(f"{spent}\n")
    fit.save(run, file)
    return Learnt(run.mean.eval(), spent)


@dataclass(frozen=True, slots=True)
class Answers:
    """Of one question: known targets (n,), margins (n, answers) of each against the rest."""

    name: str
    targets: NDArray[np.int64]
    margins: Numbers
    patients: Sequence[str]

    def area(self, index: NDArray[np.intp]) -> float:
        """Mean AUC over the answers that occur among the drawn images."""
        found = [
            area((self.targets[index] == k).astype(np.int64), self.margins[index, k])
            for k in range(self.margins.shape[1])
            if 0 < (self.targets[index] == k).mean() < 1
        ]
        return float(np.mean(found))


def answers(here: Ground, model: SpatialVAE) -> list[Answers]:
    """The judged images' scores, question by question."""
    totals, found = fit.totals(model, here.judged).astype(np.float64), []
    for number, (many, none) in enumerate(model.shape.questions):
        targets = here.judged.answers(number)
        rows = totals[targets >= 0][:, fit.rows_of(model.shape, number)]
        every = np.pad(rows, ((0, 0), (0, 1))) if none else rows
        margins = [rows[:, k] - _raised(np.delete(every, k, 1)) for k in range(many)]
        patients = [s.patient for s, t in zip(here.judged.samples, targets, strict=True) if t >= 0]
        name = here.plan.questions[number].name
        found.append(Answers(name, targets[targets >= 0], np.stack(margins, 1), patients))
    return found


def _raised(rest: Numbers) -> Numbers:
    return np.asarray(np.logaddexp.reduce(rest, axis=1))


def figure(one: Answers) -> dict[str, float]:
    """Macro AUC with its interval."""
    return _estimate(one, one.area).record()


def gain(ours: Sequence[Answers], theirs: Sequence[Answers]) -> dict[str, float]:
    """Mean paired difference of macro AUCs over pairs of runs of one question (seeds)."""
    pairs = list(zip(ours, theirs, strict=True))

    def difference(index: NDArray[np.intp]) -> float:
        return float(np.mean([a.area(index) - b.area(index) for a, b in pairs]))

    return _estimate(ours[0], difference).record()


def _estimate(one: Answers, number: Callable[[NDArray[np.intp]], float]) -> Estimate:
    first = (one.targets == 0).astype(np.int64)
    return estimate(number, one.patients, first)


@torch.no_grad()
def reconstructed(model: SpatialVAE, images: ImageSet, batch: int = 64) -> NDArray[np.float32]:
    """Decoded means (n, size, size) of the images."""
    parts = []
    latent = torch.from_numpy(fit.encode_both(model, images.inputs)[0])
    for i in range(0, len(latent), batch):
        parts.append(model.decode(latent[i : i + batch])[:, 0].numpy())
    return np.concatenate(parts)
