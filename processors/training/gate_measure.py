"""Measures a gate on films that it has not learned from, class by class, with counts.

Accepted films are also judged after what happens to films on their way (blur, gamma, margins,
coarse pixels), and turned and inverted; numbers are shares of films, never of patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from processors.gate._picture import Weights, passes, resized, see
from processors.training.gate_films import Film
from processors.training.gate_lessons import Lesson
from processors.training.gate_phantoms import STORED, cut_out, junk, limb, shuffled

Square = NDArray[np.float32]
WAYS: dict[str, Callable[[Square], Square]] = {
    "as_it_is": lambda film: film,
    "blurred": lambda film: gaussian_filter(film, 2.0),
    "darker": lambda film: film**1.8,
    "brighter": lambda film: film**0.6,
    "coarse": lambda film: resized(resized(film, 32), STORED),
    "grey_margin": lambda film: np.pad(film[8:-8, 8:-8], 8, constant_values=0.3),
    "cropped": lambda film: film[8:-8, 8:-8],
}
TURNS: dict[str, Callable[[Square], Square]] = {
    "inverted": lambda film: 1.0 - film,
    "rotated_90": lambda film: np.rot90(film, 1),
    "rotated_180": lambda film: np.rot90(film, 2),
    "rotated_270": lambda film: np.rot90(film, 3),
}
DRAWN = 200  # pictures of each synthetic kind


def measure(weights: Weights, lesson: Lesson, films: Sequence[Film]) -> dict[str, Any]:
    """Every number of gate_metrics.json that needs no training."""
    accepted = [f for f in films if f.kind == "accepted"]
    averaged = _averages(accepted) if lesson.averaged else []
    return {
        f"{lesson.accepted}_passed": {
            source: {
                way: _passed(weights, [change(f.pixels) for f in accepted if f.source == source])
                for way, change in WAYS.items()
            }
            for source in sorted({f.source for f in accepted})
        },
        **({f"{lesson.accepted}_averages_passed": _passed(weights, averaged)} if averaged else {}),
        "unjudged_passed": {
            source: _passed(weights, [f.pixels for f in films if f.source == source])
            for source in sorted({f.source for f in films if f.kind == "unjudged"})
        },
        "refused": {
            **{name: _refused(weights, accepted, change, name) for name, change in TURNS.items()},
            **({"lateral": _lateral(weights, films)} if lesson.lateral_sets else {}),
            **_others(weights, films),
            **_synthetic(weights, lesson, accepted),
        },
    }


def _passed(weights: Weights, squares: Sequence[Square]) -> dict[str, float | int]:
    good = sum(passes(see(np.ascontiguousarray(s), weights), weights) for s in squares)
    return {"films": len(squares), "passed": good, "share": round(good / max(len(squares), 1), 4)}


def _averages(accepted: Sequence[Film]) -> list[Square]:
    """Means of five films of one set, as a decoder's averages look."""
    random, means = np.random.default_rng(5), []
    for source in sorted({f.source for f in accepted}):
        films = [f.pixels for f in accepted if f.source == source]
        if len(films) >= 20:
            drawn = [random.choice(len(films), 5, replace=False) for _ in range(50)]
            means += [np.mean([films[i] for i in five], axis=0) for five in drawn]
    return means


def _refused(
    weights: Weights, films: Sequence[Film], change: Callable[[Square], Square], name: str
) -> dict[str, float | int]:
    sights = [see(np.ascontiguousarray(change(f.pixels)), weights) for f in films]
    refused = sum(not passes(s, weights) for s in sights)
    named = sum(max(s.probabilities, key=s.probabilities.__getitem__) == name for s in sights)
    return {
        "films": len(sights),
        "refused": refused,
        "named": named,
        "share": round(refused / max(len(sights), 1), 4),
    }


def _lateral(weights: Weights, films: Sequence[Film]) -> dict[str, float | int]:
    lateral = [f for f in films if f.kind == "lateral"]
    return _refused(weights, lateral, lambda film: film, "lateral")


def _others(weights: Weights, films: Sequence[Film]) -> dict[str, Any]:
    other = [f for f in films if f.kind == "other"]
    return {
        source: _refused(weights, [f for f in other if f.source == source], lambda f: f, "other")
        for source in sorted({f.source for f in other})
    }


def _synthetic(weights: Weights, lesson: Lesson, accepted: Sequence[Film]) -> dict[str, Any]:
    random = np.random.default_rng(7)
    films = [f.pixels for f in accepted]

    def any_film() -> Square:
        return films[random.integers(len(films))]

    kinds: dict[str, Callable[[], Square]] = {
        "drawn_limb": lambda: limb(random),
        "drawn_junk": lambda: junk(random),
    }
    if "cut_out" in lesson.others:
        kinds[f"cut_out_of_{lesson.organ}"] = lambda: cut_out(any_film(), random)
    kinds[f"shuffled_{lesson.organ}"] = lambda: shuffled(any_film(), random)
    made: dict[str, Any] = {}
    for name, draw in kinds.items():
        sights = [see(draw(), weights) for _ in range(DRAWN)]
        refused = sum(not passes(s, weights) for s in sights)
        made[name] = {"films": DRAWN, "refused": refused, "share": round(refused / DRAWN, 4)}
    return made
