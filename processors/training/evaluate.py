"""Judges labelled images with a bundle and says how good it is, beside the trivial bar.

In: a bundle, a table with images, films of `train` for the trivial statistics. Out: scores per
film and an evaluation per population, machine-readable; the card is written from that alone.
Never: chooses anything by what it finds; a film it could not read ends the evaluation.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.explain.subject import Scale, scale_of
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.measure import Estimate, auc, auc_gain, calibration_error, estimate
from processors.training.trivial import trivial_scores
from processors.vae.latent import evidence, margin_of

Numbers = NDArray[np.float64]
LEAST = 15  # films of each class below which a subgroup gets no figure


@dataclass(frozen=True, slots=True)
class Scores:
    """Films in the table's order; probability of each, calibrated for its own population."""

    images: ImageSet
    probabilities: Numbers


def score(bundle: Bundle, images: ImageSet) -> Scores:
    """Films without a population get the highest of all populations' answers."""
    populations = bundle.card["populations"]
    scales = [scale_of(p) for p in populations]
    found = []
    for sample, pixels in zip(images.samples, images.inputs, strict=True):
        latent = bundle.encode(pixels[None].astype(np.float32) / 255)[0]
        own = range(len(scales)) if sample.population < 0 else [sample.population]
        rows = [(scales[i], margin_of(evidence(latent, bundle.head.row(i)))) for i in own]
        found.append(max(scale.probability(margin) for scale, margin in rows))
    return Scores(images, np.array(found))


def write_scores(scores: Scores, label: str, file: Path) -> None:
    """path, probability of the label."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["path", label])
        for sample, p in zip(scores.images.samples, scores.probabilities, strict=True):
            writer.writerow([sample.path, f"{p:.6f}"])


def _age_group(age: float | None) -> str:
    if age is None:
        return "age unknown"
    for top in (2, 5, 17, 39, 59, 79):
        if age < top + 1:
            return f"age up to {top}"
    return "age 80 and over"


def subgroups(scores: Scores) -> dict[str, dict[str, float]]:
    """AUC by sex, age and view where the table gives them and both classes are large enough."""
    samples, found = scores.images.samples, {}
    names = [
        {f"sex {s.sex}" if s.sex else "", f"view {s.view}" if s.view else "", _age_group(s.age)}
        for s in samples
    ]
    for name in sorted(set().union(*names) - {"", "age unknown"}):
        keep = np.array([name in n for n in names])
        labels = scores.images.targets[keep]
        if min((labels == 0).sum(), (labels == 1).sum()) < LEAST or keep.all():
            continue
        patients = [s.patient for s, k in zip(samples, keep, strict=True) if k]
        figure = auc(labels, scores.probabilities[keep], patients).record()
        found[name] = {**figure, "positive": int((labels == 1).sum()), "n": int(keep.sum())}
    return found


def _share(values: NDArray[np.bool_], patients: Sequence[str]) -> Estimate:
    both = np.arange(len(values)) % 2  # every draw has both classes: shares need none
    return estimate(lambda i: float(values[i].mean()), patients, both)


def _operating(scores: Scores, scale: Scale) -> dict[str, Any]:
    """Sensitivity and specificity at the threshold over all films, and the undetermined share."""
    labels, p = scores.images.targets, scores.probabilities
    patients = np.array([s.patient for s in scores.images.samples])
    ill, well = labels == 1, labels == 0
    undetermined = (p >= scale.band[0]) & (p < scale.band[1])
    return {
        "sensitivity": _share(p[ill] >= scale.threshold, patients[ill].tolist()).record(),
        "specificity": _share(p[well] < scale.threshold, patients[well].tolist()).record(),
        "undetermined": _share(undetermined, patients.tolist()).record(),
    }


def _one(scores: Scores, known: ImageSet, scale: Scale) -> dict[str, Any]:
    """The evaluation of one population; known: its labelled films of `train`."""
    labels = scores.images.targets
    patients = [s.patient for s in scores.images.samples]
    ours = auc(labels, scores.probabilities, patients)
    trivial = trivial_scores(known.trivial, known.targets, scores.images.trivial)
    name, best = max(trivial.items(), key=lambda item: auc(labels, item[1], patients).value)
    gain = auc_gain(labels, scores.probabilities, best, patients)
    return {
        "n": len(labels),
        "positive": int(labels.sum()),
        "patients": len(set(patients)),
        "auc": ours.record(),
        "trivial": {"classifier": name, **auc(labels, best, patients).record()},
        "gain": gain.record(),
        "ece": round(calibration_error(labels, scores.probabilities), 4),
        "subgroups": subgroups(scores),
        **_operating(scores, scale),
    }


def evaluate(
    bundle: Bundle, scores: Scores, known: ImageSet, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Every population that has both classes among the scored films."""
    found: dict[str, Any] = {}
    for index, population in enumerate(bundle.card["populations"]):
        images = scores.images
        asked = (images.populations == index) & (images.targets >= 0)
        learnt = (known.populations == index) & (known.targets >= 0)
        classes = {len(set(images.targets[asked])), len(set(known.targets[learnt]))}
        if classes != {2}:
            continue
        tell(population["name"])
        part = Scores(images.where(asked), scores.probabilities[asked])
        found[population["name"]] = _one(part, known.where(learnt), scale_of(population))
    return found


def red(population: Mapping[str, Any], floors: Mapping[str, float]) -> bool:
    """Whether a population's evaluation misses its floor or does not clear the trivial bar.

    A population with a floor must reach it; any other must beat the trivial statistics by more
    than its interval.
    """
    floor = floors.get(str(population.get("name", "")))
    if floor is not None:
        return bool(population["auc"]["value"] < floor)
    return bool(population["gain"]["low"] <= 0)


def speed(bundle: Bundle, rounds: int = 20) -> dict[str, float]:
    """Median milliseconds of one encoder and one decoder pass on this machine."""
    image = np.random.default_rng(0).random((1, bundle.size, bundle.size)).astype(np.float32)
    latent = bundle.encode(image)

    def median(work: Callable[[], object]) -> float:
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
        return round(1000 * statistics.median(times), 2)

    return {
        "encoder": median(lambda: bundle.encode(image)),
        "decoder": median(lambda: bundle.decode(latent)),
    }
