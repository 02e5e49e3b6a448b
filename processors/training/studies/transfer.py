"""What pre-training buys: a task learnt from 1, 10 and 100 % of its labels, with it and without.

The weights to start from must not have seen this task's labels: `models pretrain --unlabelled`.
Patients are drawn by seed, class by class; both runs of a pair see the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from processors.training.data import ImageSet
from processors.training.places import lot
from processors.training.studies.learning import (
    Answers,
    Ground,
    Tell,
    answers,
    figure,
    gain,
    learn,
)

SHARES = (0.01, 0.1, 1.0)
FEWEST = 3  # patients of each class, however small the share


def drawn(images: ImageSet, share: float, seed: int) -> NDArray[np.bool_]:
    """Which images stay: those of a share of each class's patients."""
    keep = np.zeros(len(images.samples), bool)
    for targets in sorted({s.targets for s in images.samples if max(s.targets) >= 0}):
        mine = np.array([s.targets == targets for s in images.samples])
        patients = sorted(
            {s.patient for s, m in zip(images.samples, mine, strict=True) if m},
            key=lambda p: lot(f"{seed}/{p}"),
        )
        chosen = set(patients[: max(FEWEST, math.ceil(share * len(patients)))])
        keep |= mine & np.array([s.patient in chosen for s in images.samples])
    return keep


def transfer(
    here: Ground,
    start: Mapping[str, Tensor],
    seeds: Mapping[float, Sequence[int]],
    steps: Mapping[float, int],
    tell: Tell,
) -> dict[str, Any]:
    """Per share and question: AUC with and without the start, and the paired gain over seeds."""
    found: dict[str, Any] = {}
    for share, draws in seeds.items():
        runs: dict[str, list[list[Answers]]] = {"started": [], "from_nothing": []}
        images = 0
        for seed in draws:
            part = here.fitted.where(drawn(here.fitted, share, seed))
            images = len(part.samples)
            changes = {"steps": steps[share], "seed": seed}
            for kind, weights in (("started", start), ("from_nothing", None)):
                one = learn(here, changes, tell, part, weights, f"{kind}-{share:g}")
                runs[kind].append(answers(here, one.model))
        questions = {}
        for number, question in enumerate(here.plan.questions):
            ours, theirs = ([run[number] for run in runs[k]] for k in runs)
            questions[question.name] = {
                "started": [figure(one) for one in ours],
                "from_nothing": [figure(one) for one in theirs],
                "gain": gain(ours, theirs),
            }
        entry = {"images": images, "steps": steps[share], "seeds": list(draws)}
        found[f"{share:.0%}"] = {**entry, "questions": questions}
    return found
