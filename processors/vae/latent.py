"""Closed-form arithmetic on one latent: what the head reads, and how to take it away.

Everything a counterfactual needs between two passes of the network. A latent is (channels, g, g);
a row of the head is one weight vector and one number; evidence is (g, g). Numpy alone, so that
the CPU path needs no torch. The halo and the capped move: measured in the project's pilot, where
exchange without neighbours did not survive its own re-encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
SILENT = -30.0  # evidence of a cell at the edge: nothing, yet finite


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the head: weight (channels,), bias, width of the silent edge in cells."""

    weight: Array
    bias: float
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A latent with foreign cells; taken (g, g) bool: which; reached: the goal's margin."""

    latent: Array
    taken: NDArray[np.bool_]
    reached: bool


def evidence(latent: Array, row: Row) -> Array:
    """The head's own term in each cell, (g, g); SILENT at the edge."""
    terms = np.tensordot(row.weight, latent, 1) + row.bias
    cells = np.full(terms.shape, SILENT, np.float32)
    inner = slice(row.frame, terms.shape[0] - row.frame)
    cells[inner, inner] = terms[inner, inner]
    return cells


def margin_of(cells: Array) -> float:
    """Log-odds against "no finding": logsumexp over the cells."""
    top = float(cells.max())
    return top + float(np.log(np.exp(cells - top).sum()))


def shares(cells: Array) -> Array:
    """Each cell's share in the decision (softmax), sums to 1."""
    raised = np.exp(cells - cells.max())
    return np.asarray(raised / raised.sum(), dtype=np.float32)


def neutral(latents: Array, row: Row) -> Array:
    """Latents (..., channels, g, g) without the row's direction: what donors are matched by."""
    unit = (row.weight / np.linalg.norm(row.weight)).astype(np.float32)
    along = np.einsum("...cyx,c->...yx", latents, unit)
    return np.asarray(latents - along[..., None, :, :] * unit[:, None, None], dtype=np.float32)


def pooled(latents: Array) -> Array:
    """2 x 2 means of (..., channels, g, g), flattened: coarse enough to match anatomy."""
    *front, channels, grid, _ = latents.shape
    blocks = latents.reshape(*front, channels, grid // 2, 2, grid // 2, 2).mean((-3, -1))
    return np.asarray(blocks.reshape(*front, -1), dtype=np.float32)


def nearest(latent: Array, donors: Array, row: Row, count: int) -> Array:
    """The `count` donors (count, channels, g, g) most alike, leaving the finding aside."""
    gap = pooled(neutral(donors, row)) - pooled(neutral(latent, row))
    return donors[np.argsort((gap**2).sum(-1), kind="stable")[:count]]


def exchange(latent: Array, row: Row, donors: Array, goal: float) -> Exchange:
    """Takes cells from donors (n, channels, g, g) until the margin is at most `goal`.

    Greedy: the cell whose exchange removes most evidence, with its eight neighbours from the same
    donor. The head is linear in each cell, so that no network pass is needed on the way.
    """
    mixed, current = latent.copy(), evidence(latent, row)
    theirs = np.stack([evidence(donor, row) for donor in donors])
    taken = np.zeros(current.shape, bool)
    while margin_of(current) > goal:
        gain = np.where(taken, -np.inf, np.exp(current) - np.exp(theirs))
        if gain.max() <= 1e-6:
            break
        donor, y, x = (int(v) for v in np.unravel_index(int(gain.argmax()), gain.shape))
        place = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
        fresh = ~taken[place]
        mixed[:, *place] = np.where(fresh, donors[donor][:, *place], mixed[:, *place])
        current[place] = np.where(fresh, theirs[donor][place], current[place])
        taken[place] = True
    return Exchange(mixed, taken, margin_of(current) <= goal)


def transplant(latent: Array, donor: Array, taken: NDArray[np.bool_]) -> Array:
    """The same cells from one other donor: the control of an exchange."""
    return np.where(taken[None], donor, latent)


def _along(row: Row, amount: Array) -> Array:
    unit = row.weight / float(row.weight @ row.weight)
    return np.asarray(unit[:, None, None] * amount[None], dtype=np.float32)


def _bisect(latent: Array, goal: float, row: Row, down: bool) -> float:
    """How far the move must go: the strength whose margin meets the goal."""
    low, high = 0.0, 1.0
    for _ in range(40):
        found = margin_of(evidence(_move(latent, row, high, down), row))
        if (found <= goal) == down or high > 1e4:
            break
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        found = margin_of(evidence(_move(latent, row, middle, down), row))
        low, high = (low, middle) if (found <= goal) == down else (middle, high)
    return high


def _move(latent: Array, row: Row, strength: float, down: bool) -> Array:
    cells = evidence(latent, row)
    if down:  # cap every cell at one ceiling, so that only deciding cells move
        amount = -np.maximum(cells - (cells.max() - strength), 0)
    else:  # lift it where it already is
        share = shares(cells)
        amount = strength * share / share.max()
    return np.asarray(latent + _along(row, amount.astype(np.float32)), dtype=np.float32)


def traverse(latent: Array, row: Row, goal: float) -> Array:
    """The closed-form move along the row's direction until the margin is `goal`.

    Down caps the evidence, up lifts it where it is. A pointer for the eye and a distance, not a
    counterfactual: an independent network is not convinced by it.
    """
    down = margin_of(evidence(latent, row)) > goal
    return _move(latent, row, _bisect(latent, goal, row, down), down)


def distance(latent: Array, row: Row, goal: float) -> float:
    """Length of the closed-form move that meets the goal, per root cell."""
    moved = traverse(latent, row, goal) - latent
    return float(np.sqrt((moved**2).sum() / latent[0].size))


def upsample(cells: Array, factor: int) -> Array:
    """Each cell repeated to factor x factor pixels."""
    return np.repeat(np.repeat(cells, factor, 0), factor, 1)


def evidence_weighted(before: Array, after: Array, change: Array) -> Array:
    """The pixel change, in each cell scaled to that cell's share of the margin's change.

    Args: before, after: evidence (g, g); change: signed (size, size). The raw change shows strong
    edges; this shows what moved the answer. Faithful to the head by construction.
    """
    grid = before.shape[0]
    factor = change.shape[0] // grid
    weight = np.maximum((before - after) * shares(before), 0)
    strength = np.abs(change).reshape(grid, factor, grid, factor).mean((1, 3))
    scaled = change / np.maximum(upsample(strength, factor), 1e-3) * upsample(weight, factor)
    return np.asarray(scaled, dtype=np.float32)
