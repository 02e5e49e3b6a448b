"""Takes a found mark out of the head: what comes back, and what it costs.

The head is linear in each cell, so that a direction of the latent can be taken out of it in closed
form: the directions in which the mark moves cells (singular vectors of latent with less latent
without, at the mark), projected out of every row's weights. How many is chosen on films of their
own, within the cost that is allowed. In: two cases of the same answer, films that choose and films
that are judged. Out: AUC in the swap test before and after, on films with the mark and without.
Never: new weights in the bundle; a choice by the films that are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.training.audit.cases import Case, margins_of
from processors.training.audit.probes import Marked, marked, swapped
from processors.training.measure import Estimate, Numbers, area, estimate
from processors.vae.latent import Array, Row

MOST = 6  # directions
COST = 0.01  # AUC without marks that may be lost on the films that choose


@dataclass(frozen=True, slots=True)
class Mended:
    """directions: how many were taken out, 0 when none was worth it. back: part of the AUC lost in
    the swap test that comes back; cost: AUC lost on films without marks."""

    kind: str
    directions: int
    before: Estimate
    after: Estimate
    back: Estimate
    cost: Estimate

    def record(self) -> dict[str, Any]:
        figures = {k: getattr(self, k).record() for k in ("before", "after", "back", "cost")}
        return {"kind": self.kind, "directions": self.directions, **figures}


def basis(before: Array, after: Array) -> Array:
    """(MOST, channels): directions in which the mark moves cells, strongest first."""
    moved = np.moveaxis(after - before, 1, -1).reshape(-1, before.shape[1])
    return np.asarray(np.linalg.svd(moved, full_matrices=False)[2][:MOST], dtype=np.float32)


def without(row: Row, directions: Array) -> Row:
    """The row, blind to these orthonormal directions (n, channels)."""
    weight = row.weight - row.weight @ directions.T @ directions
    return replace(row, weight=np.asarray(weight, dtype=np.float32))


def _side(case: Case, found: Marked) -> bool:
    """Which films carry the mark when it does most harm."""
    areas = [area(case.labels, swapped(case, found.margins, side)) for side in (False, True)]
    return bool(np.argmin(areas))


def _tried(case: Case, found: Marked) -> Iterator[tuple[int, Row, float, float]]:
    """Number of directions, row, AUC with the mark on the wrong side, AUC without marks."""
    directions, side = basis(case.latents, found.latents), _side(case, found)
    for count in range(MOST + 1):
        row = without(case.row, directions[:count])
        clean, held = (margins_of(z, row) for z in (case.latents, found.latents))
        wrong = np.where(case.positive == side, held, clean)
        yield count, row, area(case.labels, wrong), area(case.labels, clean)


def mended(chooses: Case, judged: Case, kind: str) -> Mended:
    """The head that is blind to a mark; both cases are of the same answer."""
    tried = list(_tried(chooses, marked(chooses, kind)))
    allowed = [one for one in tried if tried[0][3] - one[3] <= COST]
    count, row, _, _ = max(allowed, key=lambda one: one[2])
    found = marked(judged, kind)
    side = _side(judged, found)
    clean, held = (margins_of(z, row) for z in (judged.latents, found.latents))
    return _figures(judged, kind, count, swapped(judged, found.margins, side), clean,
                    np.where(judged.positive == side, held, clean))  # fmt: skip


def _figures(
    case: Case, kind: str, count: int, wrong: Numbers, clean: Numbers, mended_wrong: Numbers
) -> Mended:
    def figure(scores: Numbers) -> Estimate:
        return estimate(lambda i: area(case.labels[i], scores[i]), case.patients, case.labels)

    def back(i: NDArray[np.intp]) -> float:
        labels = case.labels[i]
        lost = area(labels, case.margins[i]) - area(labels, wrong[i])
        return (area(labels, mended_wrong[i]) - area(labels, wrong[i])) / max(lost, 1e-3)

    def cost(i: NDArray[np.intp]) -> float:
        return area(case.labels[i], case.margins[i]) - area(case.labels[i], clean[i])

    return Mended(
        kind=kind,
        directions=count,
        before=figure(wrong),
        after=figure(mended_wrong),
        back=estimate(back, case.patients, case.labels),
        cost=estimate(cost, case.patients, case.labels),
    )
