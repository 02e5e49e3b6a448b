"""Ways of making "less" of a finding, scored alike on the same positives.

Each method says which cells it takes and how the picture changes. Measured on the frame that would
be shown: does the model itself, reading it again, call the finding absent; does an independent
network; how much was changed. And whether a method's map of change names what the answer rests on:
cells greyed (deletion) or uncovered (insertion) in its order, beside the head's own evidence and
chance.
In: a bundle, labelled images, a witness per question if there is one. Out: figures with 95 %
intervals by patient, and the paired differences.
Never: positives of which a method could choose its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from processors.explain import inpainting
from processors.explain.curves import by_cell, curves
from processors.explain.subject import Subject
from processors.explain.traversal import less, painted
from processors.runtime import Bundle
from processors.training.data import ImageSet, Sample
from processors.training.places import lot
from processors.training.probes import Positive, positives
from processors.training.studies.figures import mean
from processors.training.witness import Witness
from processors.vae.latent import Array, evidence

TURNS = 6  # of inpainting, where the evidence that is left is erased as well
Mask = NDArray[np.bool_]
Method = Callable[[Subject], tuple[Mask, Array]]


def exchange(subject: Subject) -> tuple[Mask, Array]:
    """What `traversal` does, as the other methods say it."""
    found, change = less(subject)
    return found.taken, change


METHODS: Mapping[str, Method] = {
    "exchange": exchange,
    "inpainting": inpainting.less,
    "inpainting again": partial(inpainting.less, turns=TURNS),
}


def _scored(one: Positive, method: Method, witness: Witness | None) -> dict[str, float]:
    subject, film = one.subject, one.subject.film
    taken, change = method(subject)
    frame = painted(film, change)
    shown = (frame / 255).astype(np.float32)
    worth = curves(subject, by_cell(np.abs(change), taken.shape[0]))
    found = {
        "own_flips": float(subject.judge(frame[None])[0] < subject.scale.band[0]),
        "cells": float(taken.mean()),
        "similarity": float(structural_similarity(film.picture, shown, data_range=1.0)),
        "change": float(np.abs(shown - film.picture).mean()),
        "deletion": worth.deletion,
        "insertion": worth.insertion,
    }
    if witness is not None:
        before, after = witness(np.stack([film.picture, shown])).argmax(1) != one.place[1]
        found["witness_flips"] = float(after and not before)
    return found


def _orders(one: Positive) -> dict[str, dict[str, float]]:
    """The bars of the curves: the head's own evidence, and cells in an order of no meaning."""
    cells = evidence(one.subject.film.latent, one.subject.row)
    chance = np.random.default_rng(int(lot(one.sample.path) * 2**32)).random(
        cells.shape, np.float32
    )
    found = {"evidence": curves(one.subject, cells), "chance": curves(one.subject, chance)}
    return {k: {"deletion": c.deletion, "insertion": c.insertion} for k, c in found.items()}


def methods(
    bundle: Bundle,
    images: ImageSet,
    most: int,
    witness: Mapping[int, Witness] | None = None,
) -> dict[str, Any]:
    """Per answer, of at most `most` images called what they are labelled.

    Nothing of an answer for which the bundle ships no averages: there is nothing to exchange.
    """
    found: dict[str, Any] = {}
    able = [p for p in positives(bundle, images, most) if len(p.subject.donors)]
    for place in dict.fromkeys(p.place for p in able):
        mine = [p for p in able if p.place == place]
        name = f"{bundle.card['questions'][place[0]]['name']}/{mine[0].subject.label}"
        found[name] = _answer(mine, (witness or {}).get(place[0]))
    return found


def _answer(mine: Sequence[Positive], witness: Witness | None) -> dict[str, Any]:
    samples = [p.sample for p in mine]
    rows = {name: [_scored(p, m, witness) for p in mine] for name, m in METHODS.items()}
    bars = [_orders(p) for p in mine]
    found = {name: _means(held, samples) for name, held in rows.items()}
    found |= {name: _means([bar[name] for bar in bars], samples) for name in bars[0]}
    first, *others = METHODS
    for name in others:
        pairs = zip(rows[name], rows[first], strict=True)
        gaps = [{key: ours[key] - theirs[key] for key in ours} for ours, theirs in pairs]
        found[f"{name} less {first}"] = _means(gaps, samples)
    return found


def _means(rows: Sequence[Mapping[str, float]], samples: Sequence[Sample]) -> dict[str, Any]:
    return {key: mean([row[key] for row in rows], samples) for key in rows[0]}
