"""What a recipe is worth on a small set: cross-validation by patient, each image judged once.

K networks, each taught on all folds but one and asked about that one. Beside them the trivial
statistics, taught and asked on the same folds. AUCs are means over folds, because the scores of two
networks have no common order; intervals draw patients.
In: a plan and its tables. Out: per question the AUC, that of each view, the paired gain over the
better of the trivial classifiers. Never: a choice; a bundle. An image that training looked at is
never judged by what it taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from processors.training.data import ImageSet, join, load
from processors.training.measure import Numbers, area, estimate
from processors.training.places import lot, place_of
from processors.training.plan import Plan
from processors.training.studies.learning import Ground, Sources, Tell, answers, learn
from processors.training.trivial import trivial_scores

FOLDS = 5
LEAST = 15  # images of each class below which a view gets no figure


def every_image(plan: Plan, sources: Sources, size: int, splits: Sequence[str]) -> ImageSet:
    """All rows of these splits, as training sees them."""
    place = place_of(plan.raw.get("place", {}), size)
    held = [
        load(table, images, plan.questions, size, split, place)
        for table, images in sources
        for split in splits
    ]
    return join(held)


def fold_of(patient: str, folds: int = FOLDS) -> int:
    """Drawn by the patient's name alone: the same in every study."""
    return int(lot(f"fold/{patient}") * folds)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Of one question's images, in order: target (n,), scores (n, k), fold, view, patient."""

    labels: NDArray[np.int64]
    ours: Numbers
    trivial: Mapping[str, Numbers]
    folds: NDArray[np.int64]
    views: NDArray[np.str_]
    patients: Sequence[str]

    def area(self, scores: Numbers, index: NDArray[np.intp]) -> float:
        """Mean AUC over the folds that hold both classes among the drawn images."""
        found = []
        for fold in np.unique(self.folds):
            mine = index[self.folds[index] == fold]
            if len(mine) and 0 < self.labels[mine].mean() < 1:
                found.append(area(self.labels[mine], scores[mine]))
        return float(np.mean(found))


def folds(
    plan: Plan,
    images: ImageSet,
    here: Ground,
    start: Mapping[str, Tensor] | None,
    changes: Mapping[str, Any],
    tell: Tell,
) -> dict[str, Any]:
    """Per question whose answers are two: AUC, per view, trivial, paired gain.

    here: of the same images and size; its judged part is not used. changes: of the recipe.
    """
    number = np.array([fold_of(s.patient) for s in images.samples])
    rows: dict[int, list[_Judged]] = {}
    for fold in range(FOLDS):
        taught, asked = images.where(number != fold), images.where(number == fold)
        name = f"fold-{fold}" + ("-started" if start else "")
        model = learn(here, changes, tell, taught, start, name).model
        for q, one in enumerate(answers(replace(here, judged=asked), model)):
            if plan.questions[q].classes == 2:
                rows.setdefault(q, []).append(_judged(q, fold, taught, asked, one.margins[:, 0]))
    found = {plan.questions[q].name: _figures(_joined(parts)) for q, parts in rows.items()}
    return {"folds": FOLDS, "images": len(images.samples), "questions": found}


def _judged(
    question: int, fold: int, taught: ImageSet, asked: ImageSet, margins: Numbers
) -> _Judged:
    known = taught.where(taught.answers(question) >= 0)
    part = asked.where(asked.answers(question) >= 0)
    first = (known.answers(question) == 0).astype(np.int64)
    return _Judged(
        labels=(part.answers(question) == 0).astype(np.int64),
        ours=margins,
        trivial=trivial_scores(known.trivial, first, part.trivial),
        folds=np.full(len(part.samples), fold),
        views=np.array([s.view for s in part.samples]),
        patients=[s.patient for s in part.samples],
    )


def _joined(parts: Sequence[_Judged]) -> _Judged:
    return _Judged(
        labels=np.concatenate([p.labels for p in parts]),
        ours=np.concatenate([p.ours for p in parts]),
        trivial={k: np.concatenate([p.trivial[k] for p in parts]) for k in parts[0].trivial},
        folds=np.concatenate([p.folds for p in parts]),
        views=np.concatenate([p.views for p in parts]),
        patients=[name for p in parts for name in p.patients],
    )


def _figures(one: _Judged) -> dict[str, Any]:
    every = np.arange(len(one.labels))
    best = max(one.trivial, key=lambda name: one.area(one.trivial[name], every))
    theirs = one.trivial[best]

    def figure(scores: Numbers, keep: NDArray[np.intp]) -> dict[str, float]:
        names = [one.patients[int(k)] for k in keep]
        found = estimate(lambda i: one.area(scores, keep[i]), names, one.labels[keep])
        return found.record()

    views = {}
    for view in sorted(set(one.views.tolist()) - {""}):
        keep = np.flatnonzero(one.views == view)
        if min(np.bincount(one.labels[keep], minlength=2)) >= LEAST:
            views[view] = {"n": len(keep), "auc": figure(one.ours, keep)}
    gain = estimate(lambda i: one.area(one.ours, i) - one.area(theirs, i), one.patients, one.labels)
    return {
        "n": len(every),
        "positive": int(one.labels.sum()),
        "auc": figure(one.ours, every),
        "trivial": {"name": best, "auc": figure(theirs, every)},
        "gain_over_trivial": gain.record(),
        "views": views,
    }
