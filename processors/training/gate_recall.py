"""How much of what a model may not judge its gate finds, and how much that costs.

In: a bundle and the image sets. Out: for the validation part, the share of accepted pictures that
are refused, and the share of every other class that is found: other organs and modalities, accepted
pictures inverted, turned or brought to 64 pixels, empty exposures; for a chest also lateral films.
Every share with its 95 % bootstrap interval over patients (over pictures where none are known) and,
because a bootstrap of a class without a miss has no width, the exact lower bound too (Clopper and
Pearson 1934). Pictures come as stored, not as the training squares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import beta

from processors.gate._card import terms
from processors.gate._picture import Weights, is_blank, passes, see, with_terms
from processors.gate._picture import load_weights as load
from processors.training.gate_films import kind_of, patient_of, pictures, source_of
from processors.training.gate_lessons import LESSONS, Lesson

SHIPPED = Path(__file__).resolve().parent.parent / "bundles"
SMALL = 64  # pixels of the long side of the smallest sets
FLOOR = 0.98  # recall of a class
CEILING = 0.02  # share of accepted pictures that may be refused
ROUNDS = 1000
EMPTY = 200  # empty exposures that are drawn
Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Share:
    """Of n pictures, the share that was refused; low, high: 95 % bootstrap interval; at_least: the
    exact lower bound of a two-sided 95 % interval."""

    n: int
    refused: int
    value: float
    low: float
    high: float
    at_least: float


Flags = list[tuple[str, bool]]  # patient or picture, and whether it was refused


def share(flags: Flags) -> Share:
    """The share of refused pictures, its interval by bootstrap over patients."""
    patients, number = np.unique([patient for patient, _ in flags], return_inverse=True)
    refused = np.bincount(number, [flag for _, flag in flags])
    films = np.bincount(number)
    drawn = np.random.default_rng(0).integers(0, len(patients), (ROUNDS, len(patients)))
    low, high = np.percentile(refused[drawn].sum(1) / films[drawn].sum(1), [2.5, 97.5])
    count, total = int(refused.sum()), len(flags)
    exact = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    figures = (round(float(one), 4) for one in (count / total, low, high, exact))
    return Share(total, count, *figures)


def small(picture: Picture) -> Picture:
    """The picture with its long side brought to 64 pixels."""
    scale = SMALL / max(picture.shape)
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    image = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "inverted": lambda picture: 1.0 - picture,
    "rotated_90": lambda picture: np.ascontiguousarray(np.rot90(picture, 1)),
    "rotated_180": lambda picture: np.ascontiguousarray(np.rot90(picture, 2)),
    "rotated_270": lambda picture: np.ascontiguousarray(np.rot90(picture, 3)),
}


def empty_exposures() -> Iterable[Picture]:
    """One grey, a slope with little noise, noise alone; 256 pixels."""
    random = np.random.default_rng(11)
    y, x = np.meshgrid(*[np.linspace(-1, 1, 256, dtype=np.float32)] * 2, indexing="ij")
    for number in range(EMPTY):
        noise = random.normal(0, 1, (256, 256))
        slope = random.uniform(-1, 1) * x + random.uniform(-1, 1) * y
        drawn = (
            np.full((256, 256), random.random()) + 0.003 * noise,
            0.5 + 0.3 * slope + 0.01 * noise,
            0.5 + 0.15 * noise,
        )[number % 3]
        yield np.clip(drawn, 0, 1).astype(np.float32)


def weights_of(folder: Path) -> Weights:
    """The gate of a bundle with the thresholds of its card, if it has one yet."""
    card = folder / "configs" / "metadata.json"
    stated = json.loads(card.read_text(encoding="utf-8"))["dictamen"] if card.is_file() else {}
    allowed = terms(stated)
    return with_terms(load(folder / allowed.file), allowed.least, allowed.farthest)


def lesson_of(weights: Weights) -> Lesson:
    return next(one for one in LESSONS.values() if one.accepted == weights.classes[0])


def refuses(weights: Weights, picture: Picture) -> bool:
    return is_blank(picture) or not passes(see(picture, weights), weights)


def judged(weights: Weights, lesson: Lesson, images: Path) -> dict[str, dict[str, Flags]]:
    """Flags by kind (accepted, unjudged, refused, small) and class, of the validation part."""
    found: dict[str, dict[str, Flags]] = {k: {} for k in ("accepted", "unjudged", "refused", "64")}

    def note(kind: str, name: str, unit: str, picture: Picture) -> None:
        found[kind].setdefault(name, []).append((unit, refuses(weights, picture)))

    for name, row, picture in pictures(images, lesson.sets, "val"):
        kind = kind_of(lesson, name, row["labels"])
        source = source_of(lesson, name, row["labels"])
        # the folds of the brain set are whole groups of patients; within one, pictures are drawn
        unit = row["path"] if name == "brain" else patient_of(name, row)
        note(kind if kind in found else "refused", source, unit, picture)
        if kind != "unjudged":
            note("64", "accepted" if kind == "accepted" else "refused", unit, small(picture))
        for change, make in CHANGES.items() if kind == "accepted" else ():
            note("refused", change, unit, make(picture))
    for number, picture in enumerate(empty_exposures()):
        note("refused", "blank", str(number), picture)
    return found


def table(flags: dict[str, dict[str, Flags]]) -> dict[str, Any]:
    """The figures, and which of them miss the floor."""
    everything = [flag for flags in flags["accepted"].values() for flag in flags]
    cost = share(everything)
    recall = {name: share(some) for name, some in sorted(flags["refused"].items())}
    at64 = {name: share(some) for name, some in flags["64"].items()}
    missed = [name for name, one in recall.items() if one.value < FLOOR]
    if cost.value > CEILING:
        missed.append("false refusals")
    if at64["accepted"].value > CEILING:
        missed.append("false refusals at 64 px")
    if at64["refused"].value < FLOOR:
        missed.append("all others at 64 px")
    return {
        "false_refusals": asdict(cost),
        "false_refusals_of": {n: asdict(share(f)) for n, f in sorted(flags["accepted"].items())},
        "false_refusals_at_64_px": asdict(at64["accepted"]),
        "recall": {name: asdict(one) for name, one in recall.items()},
        "recall_of_all_others_at_64_px": asdict(at64["refused"]),
        "unjudged_refused": {n: asdict(share(f)) for n, f in sorted(flags["unjudged"].items())},
        "floor": {"recall": FLOOR, "false_refusals": CEILING},
        "missed": missed,
    }


def gate_recall(bundle: str, images: Path, folds: int = 0, steps: int = 0) -> dict[str, Any]:
    """All figures of a bundle's gate; with folds, lateral films by cross-validation as well."""
    folder = SHIPPED / bundle if (SHIPPED / bundle).is_dir() else Path(bundle)
    weights = weights_of(folder)
    lesson = lesson_of(weights)
    found = table(judged(weights, lesson, images))
    if folds and lesson.lateral_sets:
        from processors.training.gate_lateral import lateral_recall  # torch, minutes

        rate = found["false_refusals"]["value"]
        found["lateral_by_patient"] = lateral_recall(lesson, images, folds, steps, rate)
    return {"bundle": folder.name, "organ": lesson.organ, **found}


def lines(found: dict[str, Any]) -> Sequence[str]:
    """The figures as plain text, one a line."""

    def line(name: str, one: dict[str, float], least: bool = True) -> str:
        exact = f", exact lower bound {one['at_least']:.3f}" if least else ""
        return (
            f"{name}: {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}] "
            f"({one['refused']:.0f}/{one['n']:.0f}{exact})"
        )

    lateral = found.get("lateral_by_patient", {})
    return [
        line("false refusals", found["false_refusals"], False),
        line("false refusals at 64 px", found["false_refusals_at_64_px"], False),
        *(line(f"refused {name}", one) for name, one in found["recall"].items()),
        line("refused others at 64 px", found["recall_of_all_others_at_64_px"]),
        *(line(f"not judged, refused {n}", o) for n, o in found["unjudged_refused"].items()),
        *(line(f"lateral, {name}", one) for name, one in lateral.get("recall", {}).items()),
        f"below the floor: {', '.join(found['missed']) or 'nothing'}",
    ]
