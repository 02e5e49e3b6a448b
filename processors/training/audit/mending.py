"""Takes a found mark out of the head: what comes back, and what it costs.

Two ways, neither touches the encoder. Projection: the head is linear in each cell, so that a
direction of the latent can be taken out of it in closed form; the directions in which the mark
moves cells (singular vectors of latent with less latent without), projected out of every row. How
many is chosen on films of their own, within the cost that is allowed. Augmentation: the head is
fitted again on the choosing films, half of which, whatever their answer, carry the mark, held near
what it was. In: two cases of the same answer, films that choose and films that are judged. Out: AUC
in the swap test before and after, on films with the mark and without. Never: new weights in the
bundle; a choice by the films that are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from processors.training.audit.cases import Case, margins_of
from processors.training.audit.probes import Marked, marked, swapped
from processors.training.measure import Estimate, Numbers, area, estimate
from processors.vae.latent import SILENT, Array, Row

MOST = 6  # directions
COST = 0.01  # AUC without marks that may be lost on the films that choose
HELD = 0.01  # weight of the squared distance from the head as it was, in parts of its length
ROUNDS = 100  # of L-BFGS
WAYS = ("projection", "augmentation")


@dataclass(frozen=True, slots=True)
class Mended:
    """back: part of the AUC lost in the swap test that comes back; cost: AUC lost on films without
    marks; before, after: AUC when the mark stands on the wrong side."""

    kind: str
    way: str
    before: Estimate
    after: Estimate
    back: Estimate
    cost: Estimate

    def record(self) -> dict[str, Any]:
        figures = {k: getattr(self, k).record() for k in ("before", "after", "back", "cost")}
        return {"kind": self.kind, "way": self.way, **figures}


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


def _tried(case: Case, found: Marked) -> Iterator[tuple[Row, float, float]]:
    """Rows without 0, 1, ... directions: AUC with the mark on the wrong side, AUC without marks."""
    directions, side = basis(case.latents, found.latents), _side(case, found)
    for count in range(MOST + 1):
        row = without(case.row, directions[:count])
        clean, held = (margins_of(z, row) for z in (case.latents, found.latents))
        wrong = np.where(case.positive == side, held, clean)
        yield row, area(case.labels, wrong), area(case.labels, clean)


def projected(case: Case, found: Marked) -> Row:
    """The row without the directions that bring most back within the allowed cost."""
    tried = list(_tried(case, found))
    allowed = [one for one in tried if tried[0][2] - one[2] <= COST]
    return max(allowed, key=lambda one: one[1])[0]


def augmented(case: Case, found: Marked) -> Row:
    """The row fitted again on films of which a random half carries the mark."""
    generator = np.random.default_rng(0)
    half = generator.permutation(len(case.labels)) % 2 == 0
    latents = torch.from_numpy(
        np.where(half[:, None, None, None], found.latents, case.latents)
    ).flatten(2)
    labels = torch.from_numpy(case.labels.astype(np.float32))
    weight, bias = (torch.tensor(each) for each in (case.row.weight, case.row.bias))
    own = [each.clone().requires_grad_() for each in (weight, bias)]
    inner = torch.from_numpy(_inner(case))
    search = torch.optim.LBFGS(own, max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        odds = _margins(latents, own[0], own[1], case.row, inner)
        far = (own[0] - weight).square().sum() / weight.square().sum()
        cost = F.binary_cross_entropy_with_logits(odds, labels) + HELD * far
        cost.backward()  # type: ignore[no-untyped-call]
        return cost

    search.step(loss)  # type: ignore[no-untyped-call]
    fitted = [np.asarray(each.detach().numpy(), dtype=np.float32) for each in own]
    return replace(case.row, weight=fitted[0], bias=fitted[1])


def _inner(case: Case) -> NDArray[np.bool_]:
    """Which cells may hold evidence, flat."""
    grid, frame = case.latents.shape[-1], case.row.frame
    found = np.zeros((grid, grid), bool)
    found[frame : grid - frame, frame : grid - frame] = True
    return found.ravel()


def _margins(
    latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, row: Row, inner: torch.Tensor
) -> torch.Tensor:
    """What `latent.margin` gives, (n,), with a gradient."""
    cells = torch.einsum("ncp,rc->nrp", latents, weight) + bias[:, None]
    totals = torch.logsumexp(torch.where(inner, cells, SILENT), 2)
    logits = totals / row.temperature + torch.tensor(row.offset)
    rivals = F.pad(logits[:, 1:], (0, 1)) if row.none else logits[:, 1:]
    return logits[:, 0] - torch.logsumexp(rivals, 1)


def mended(chooses: Case, judged: Case, kind: str) -> tuple[Mended, ...]:
    """The head mended in each way; both cases are of the same answer."""
    known, found = marked(chooses, kind), marked(judged, kind)
    side = _side(judged, found)
    wrong = swapped(judged, found.margins, side)
    rows = {"projection": projected(chooses, known), "augmentation": augmented(chooses, known)}
    made = []
    for way in WAYS:
        clean, held = (margins_of(z, rows[way]) for z in (judged.latents, found.latents))
        right = np.where(judged.positive == side, held, clean)
        made.append(_figures(judged, (kind, way), wrong, right, clean))
    return tuple(made)


def _figures(
    case: Case, name: tuple[str, str], wrong: Numbers, right: Numbers, clean: Numbers
) -> Mended:
    """wrong, right: margins in the swap test before and after; clean: after, without marks."""

    def figure(scores: Numbers) -> Estimate:
        return estimate(lambda i: area(case.labels[i], scores[i]), case.patients, case.labels)

    def back(i: NDArray[np.intp]) -> float:
        labels = case.labels[i]
        lost = area(labels, case.margins[i]) - area(labels, wrong[i])
        return (area(labels, right[i]) - area(labels, wrong[i])) / max(lost, 1e-3)

    def cost(i: NDArray[np.intp]) -> float:
        return area(case.labels[i], case.margins[i]) - area(case.labels[i], clean[i])

    return Mended(
        *name,
        before=figure(wrong),
        after=figure(right),
        back=estimate(back, case.patients, case.labels),
        cost=estimate(cost, case.patients, case.labels),
    )
