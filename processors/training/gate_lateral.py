"""Lateral films are few, so their recall is cross-validated by patient, beside the trivial bar.

Each fold's network has seen no film of its patients, frontal or lateral. The bar is what two
classifiers on brightness, border and sharpness find with the same folds, at the share of frontal
films that the gate refuses, and at the share that it may refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.gate._picture import passes, see
from processors.training.gate import STEPS, digest, fit, kept_back, with_thresholds
from processors.training.gate_films import Film, kind_of, patient_of, pictures, read_films
from processors.training.gate_lessons import Lesson
from processors.training.gate_recall import CEILING, Flags, share
from processors.training.trivial import trivial_scores, trivial_statistics

SAME_SOURCE = ("covid",)  # frontal films of the collection that the lateral ones are from
SEED = 20_240_301


def lateral_recall(
    lesson: Lesson, images: Path, folds: int, steps: int, rate: float
) -> dict[str, Any]:
    """rate: share of frontal validation films that the shipped gate refuses."""
    films = read_films(images, lesson)
    fold_of = folds_of([f.patient for f in films if f.kind == "lateral"], folds)
    found, cost = by_gate(lesson, films, fold_of, folds, steps or STEPS // 2)
    bars = by_statistics(lesson, images, fold_of, folds)
    recall = {"gate": asdict(share(found))}
    for name, (lateral, frontal, units) in bars.items():
        for at, limit in (("at the gate's rate", rate), ("at 2 %", CEILING)):
            refused = lateral > np.quantile(frontal, 1 - limit)
            flags = list(zip(units, map(bool, refused), strict=True))
            recall[f"{name} on statistics {at}"] = asdict(share(flags))
    return {
        "recall": recall,
        "false_refusals_of_the_folds": asdict(share(cost)),
        "folds": folds,
        "steps": steps or STEPS // 2,
    }


def folds_of(patients: Sequence[str], folds: int) -> dict[str, int]:
    """A fold for each patient, in the order of their digests."""
    return {p: number % folds for number, p in enumerate(sorted(set(patients), key=digest))}


def by_gate(
    lesson: Lesson, films: Sequence[Film], fold_of: dict[str, int], folds: int, steps: int
) -> tuple[Flags, Flags]:
    """Whether each lateral film is refused by a network without its patient, and each frontal
    film of the validation part by the same networks."""
    found: Flags = []
    cost: Flags = []
    frontal = [f for f in films if f.kind == "accepted" and f.split == "val"]
    for fold in range(folds):
        out = {patient for patient, number in fold_of.items() if number == fold}
        rest = [f for f in films if f.patient not in out]
        known = [f for f in rest if f.split == "train" or f.kind == "lateral"]
        learned = [f for f in known if not kept_back(f, lesson)]
        aside = [f for f in known if kept_back(f, lesson)]
        weights = with_thresholds(fit(learned, lesson, steps, SEED + fold), learned, aside)
        lateral = [f for f in films if f.kind == "lateral" and f.patient in out]
        for flags, judged in ((found, lateral), (cost, frontal)):
            flags += [(f.patient, not passes(see(f.pixels, weights), weights)) for f in judged]
    return found, cost


Scores = NDArray[np.float64]


def by_statistics(
    lesson: Lesson, images: Path, fold_of: dict[str, int], folds: int
) -> dict[str, tuple[Scores, Scores, list[str]]]:
    """Of each classifier: scores of lateral films and of frontal ones, each without its patient;
    and the patients of the lateral films."""
    rows = list(pictures(images, (*lesson.lateral_sets, *SAME_SOURCE)))
    values = np.stack([trivial_statistics(picture) for _, _, picture in rows])
    patients = [patient_of(name, row) for name, row, _ in rows]
    kinds = [kind_of(lesson, name, row["labels"]) for name, row, _ in rows]
    lateral = np.array([kind == "lateral" for kind in kinds])
    # patients without a lateral film are dealt into the same folds
    fold = np.array([fold_of.get(p, int(digest(p), 16) % folds) for p in patients])
    scores: dict[str, Scores] = {}
    for number in range(folds):
        inside = fold == number
        labels = lateral[~inside].astype(np.int64)
        for name, given in trivial_scores(values[~inside], labels, values[inside]).items():
            scores.setdefault(name, np.zeros(len(rows)))[inside] = given
    units = [p for p, one in zip(patients, lateral, strict=True) if one]
    return {name: (one[lateral], one[~lateral], units) for name, one in scores.items()}
