"""Tests explanations over a table: how often they pass their checks, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processors.analysis import Explanation
from processors.explain.subject import Film, Subject, read_film, scale_of
from processors.explain.traversal import explain
from processors.runtime import Bundle
from processors.training.data import read_images, read_table
from processors.training.plan import populations_of
from processors.vae.latent import Array, evidence, shares

Sources = Sequence[tuple[Path, Path]]


def _films(bundle: Bundle, sources: Sources, split: str, index: int) -> Iterator[Film]:
    """Ill films of one population, in the tables' order."""
    populations = populations_of(bundle.card["populations"])
    for table, images in sources:
        rows = [
            s
            for s in read_table(table, populations)
            if s.split == split and s.population == index and s.target == 1
        ]
        for sample, pixels in zip(rows, read_images(images, [s.path for s in rows]), strict=True):
            yield read_film(sample.path, pixels, bundle)


def subject_of(bundle: Bundle, film: Film, index: int) -> Subject:
    """The finding of one population's row on a film."""
    card = bundle.card
    population = card["populations"][index]
    label = card["rows"][index]["label"]
    donors: list[Array] = [
        bundle.donors[f"latents_{kind}_{population['name']}"].astype(np.float32)
        for kind in ("without", "with")
    ]
    row, scale = bundle.head.row(index), scale_of(population)
    return Subject(label, film, bundle, row, scale, *donors)


def _left_lung(subject: Subject) -> float:
    """Share of the evidence in the picture's right half, where the patient's left lung is."""
    share = shares(evidence(subject.film.latent, subject.row))
    return float(share[:, share.shape[1] // 2 :].sum())


def _summary(
    found: Sequence[Explanation], seconds: Sequence[float], left: Sequence[float]
) -> dict[str, Any]:
    names = [check.name for check in found[0].faithfulness]
    passed = {
        name: round(statistics.mean(e.faithfulness[i].passed for e in found), 3)
        for i, name in enumerate(names)
    }
    cells = [c.value for e in found for c in e.faithfulness if c.name == "cells_exchanged"] or [0]
    return {
        "n": len(found),
        "shown": round(statistics.mean(e.shown for e in found), 3),
        "passed": passed,
        "cells": round(statistics.median(cells), 3),
        "left_lung": round(statistics.mean(left), 3),
        "ms": round(1000 * statistics.median(seconds), 1),
    }


def explained(bundle: Bundle, sources: Sources, split: str, most: int) -> Mapping[str, Any]:
    """Per population: of at most `most` ill films called present, what their strips are worth."""
    summaries: dict[str, Any] = {}
    for index, population in enumerate(bundle.card["populations"]):
        found: list[Explanation] = []
        seconds: list[float] = []
        left: list[float] = []
        for film in _films(bundle, sources, split, index) if most else ():
            subject = subject_of(bundle, film, index)
            if subject.probability(film.latent) < subject.scale.band[1]:
                continue
            begin = time.perf_counter()
            found.append(explain(subject, "en"))
            seconds.append(time.perf_counter() - begin)
            left.append(_left_lung(subject))
            if len(found) == most:
                break
        if found:
            summaries[population["name"]] = _summary(found, seconds, left)
    return summaries
