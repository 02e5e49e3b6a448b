"""Tests explanations over a table: how often they pass their checks, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from processors.analysis import Explanation
from processors.explain.faithfulness import convincing
from processors.explain.subject import (
    Film,
    Subject,
    donors_of,
    in_organ,
    organ_of,
    read_film,
    scale_of,
)
from processors.explain.traversal import explain
from processors.runtime import Bundle
from processors.training.data import Unreadable, read_table, tried_images
from processors.training.evaluate import answers
from processors.training.measure import estimate
from processors.training.plan import questions_of
from processors.training.probes import at_random, drawn_by, witnessed
from processors.training.table import JUDGED
from processors.training.witness import Witness
from processors.vae.latent import evidence, probability, shares

Sources = Sequence[tuple[Path, Path]]


def _films(
    bundle: Bundle, sources: Sources, splits: frozenset[str], place: tuple[int, int]
) -> Iterator[tuple[Film, str]]:
    """Images whose label is this answer, with their patients, in the tables' order."""
    questions = questions_of(bundle.card["questions"])
    for table, images in sources:
        rows = [
            s
            for s in read_table(table, questions, JUDGED)
            if s.split in splits and s.targets[place[0]] == place[1]
        ]
        for sample, pixels in zip(rows, tried_images(images, [s.path for s in rows]), strict=True):
            if not isinstance(pixels, Unreadable):
                yield read_film(sample.path, pixels, bundle), sample.patient


def subject_of(bundle: Bundle, film: Film, place: tuple[int, int]) -> Subject:
    """The finding of one answer (question, number) on an image."""
    entry = bundle.card["questions"][place[0]]["answers"][place[1]]
    row = bundle.row(*place)
    organ = in_organ(film, row, organ_of(film, bundle.card["field"]))
    donors = donors_of(bundle, *place)
    return Subject(entry["label"], film, bundle, row, scale_of(entry), *donors, organ)


def _left(subject: Subject) -> float:
    """Share of the evidence in the picture's right half, where the patient's left side is."""
    share = shares(evidence(subject.film.latent, subject.row))
    return float(share[:, share.shape[1] // 2 :].sum())


@dataclass(frozen=True, slots=True)
class _Word:
    """Of one film: did an independent network give the finding up for the strip's last frame, and
    for a random change of equal size?"""

    patient: str
    strip: bool
    random: bool


def _word(
    subject: Subject, patient: str, strip: Explanation, witness: Witness, answer: int
) -> _Word | None:
    """None where the witness never saw the finding: it cannot lose it."""
    frame, film = strip.frames[0].pixels, subject.film
    amount = float(np.abs(frame / 255 - film.picture).mean())
    chance = at_random(subject, amount, drawn_by(film.instance_uid))
    called, *after = witnessed(subject, witness, np.stack([frame, chance]))
    if called != answer:
        return None
    return _Word(patient, after[0] != answer, after[1] != answer)


def _witnessed(summary: dict[str, Any], words: Sequence[_Word], least: float) -> dict[str, Any]:
    """The summary with the witness's word, which withholds every strip of an answer at once."""
    strip, chance = (np.array([getattr(w, k) for w in words], float) for k in ("strip", "random"))
    gain = estimate(lambda i: float((strip - chance)[i].mean()), [w.patient for w in words])
    checks = convincing(round(float(strip.mean()), 4), round(gain.low, 4), least)
    good = all(check.passed for check in checks)
    return {
        **summary,
        "shown": summary["shown"] if good else 0.0,
        "passed": {**summary["passed"], **{c.name: float(c.passed) for c in checks}},
        "witness": {
            "n": len(words),
            "value": checks[0].value,
            "random": round(float(chance.mean()), 4),
            "gain": gain.record(),
            "least": least,
        },
    }


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
        "left": round(statistics.mean(left), 3),
        "ms": round(1000 * statistics.median(seconds), 1),
    }


def explained(
    bundle: Bundle,
    sources: Sources,
    splits: frozenset[str],
    most: int,
    witnesses: Mapping[int, Witness] | None = None,
) -> Mapping[str, Any]:
    """Per answer: of at most `most` ill images called present, what their strips are worth.

    witnesses: an independent network per question; what an older card says of them is left out.
    """
    summaries: dict[str, Any] = {}
    for question, number, label in answers(bundle.card):
        found: list[Explanation] = []
        seconds: list[float] = []
        left: list[float] = []
        words: list[_Word | None] = []
        films = _films(bundle, sources, splits, (question, number)) if most else ()
        for film, patient in films:
            begin = time.perf_counter()
            subject = subject_of(bundle, film, (question, number))
            subject = replace(subject, scale=replace(subject.scale, witness=None))
            if probability(film.latent, subject.row) < subject.scale.band[1]:
                continue
            found.append(explain(subject, "en"))
            seconds.append(time.perf_counter() - begin)
            if witnesses and found[-1].frames:
                words.append(_word(subject, patient, found[-1], witnesses[question], number))
            left.append(_left(subject))
            if len(found) == most:
                break
        if found:
            name = f"{bundle.card['questions'][question]['name']}/{label}"
            summaries[name] = _summary(found, seconds, left)
            told = [word for word in words if word is not None]
            least = float(bundle.card["limits"].get("witness", 0))
            summaries[name] = _witnessed(summaries[name], told, least) if told else summaries[name]
    return summaries
