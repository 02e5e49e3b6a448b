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
LEAST_GAIN = 1e-6  # raised evidence below which exchanging a cell changes nothing


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of the head's question, calibrated, and the answers that exclude it.

    weight (answers, channels), bias and offset (answers,): this answer first, its rivals after it.
    none: whether "no finding" (logit 0) is one more rival. frame: cells of the silent edge. The
    calibrated logit of an answer is total / temperature + offset.
    """

    weight: Array
    bias: Array
    offset: Array
    temperature: float = 1.0
    none: bool = True
    frame: int = 0

    @property
    def direction(self) -> Array:
        """(channels,): raises this answer's evidence by 1 and leaves its rivals' as it is."""
        return np.asarray(np.linalg.pinv(self.weight)[:, 0], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A latent with foreign cells; taken (g, g) bool: which; reached: the goal's margin."""

    latent: Array
    taken: NDArray[np.bool_]
    reached: bool


def terms(latent: Array, row: Row) -> Array:
    """The head's own terms, (answers, g, g): each answer in each cell; SILENT at the edge."""
    found = np.tensordot(row.weight, latent, 1) + row.bias[:, None, None]
    cells = np.full(found.shape, SILENT, np.float32)
    inner = slice(row.frame, found.shape[1] - row.frame)
    cells[:, inner, inner] = found[:, inner, inner]
    return cells


def evidence(latent: Array, row: Row) -> Array:
    """This answer's term in each cell, (g, g)."""
    return np.asarray(terms(latent, row)[0], dtype=np.float32)


def margin_of(cells: Array, row: Row) -> float:
    """Calibrated log-odds of this answer against all others, of terms (answers, g, g)."""
    top = cells.max((1, 2), keepdims=True)
    totals = top[:, 0, 0] + np.log(np.exp(cells - top).sum((1, 2)))
    logits = totals / row.temperature + row.offset
    rivals = np.append(logits[1:], 0.0) if row.none else logits[1:]
    return float(logits[0] - np.logaddexp.reduce(rivals))


def margin(latent: Array, row: Row) -> float:
    """Calibrated log-odds of this answer for one latent."""
    return margin_of(terms(latent, row), row)


def probability(latent: Array, row: Row) -> float:
    return float(1 / (1 + np.exp(-margin(latent, row))))


def shares(cells: Array) -> Array:
    """Each cell's share in one answer's evidence (softmax), sums to 1."""
    raised = np.exp(cells - cells.max())
    return np.asarray(raised / raised.sum(), dtype=np.float32)


def neutral(latents: Array, weight: Array) -> Array:
    """Latents (..., channels, g, g) without a question's directions: what donors match by.

    weight: (answers, channels), the question's rows of the head.
    """
    basis = np.linalg.qr(weight.T)[0].astype(np.float32)
    along = np.einsum("...cyx,cr->...ryx", latents, basis)
    return np.asarray(latents - np.einsum("...ryx,cr->...cyx", along, basis), dtype=np.float32)


def pooled(latents: Array) -> Array:
    """2 x 2 means of (..., channels, g, g), flattened: coarse enough to match anatomy."""
    rows = latents[..., 0::2, :] + latents[..., 1::2, :]
    means = (rows[..., 0::2] + rows[..., 1::2]) / 4
    return np.asarray(means.reshape(*latents.shape[:-3], -1), dtype=np.float32)


def nearest(latent: Array, donors: Array, row: Row, count: int) -> Array:
    """The `count` donors (count, channels, g, g) most alike, leaving the finding aside."""
    # of the difference at once: both steps are linear
    gap = pooled(neutral(donors - latent, row.weight))
    return donors[np.argsort((gap**2).sum(-1), kind="stable")[:count]]


def exchange(latent: Array, row: Row, donors: Array, goal: float) -> Exchange:
    """Takes cells from donors (n, channels, g, g) until the margin is at most `goal`.

    Greedy: the cell whose exchange removes most evidence, or, when none does, brings most evidence
    of a rival; with its eight neighbours from the same donor. The head is linear in each cell, so
    that no network pass is needed on the way.
    """
    mixed, current = latent.copy(), terms(latent, row)
    theirs = np.stack([terms(donor, row) for donor in donors])
    raised = np.exp(theirs)  # the donors stay as they are all the way
    taken = np.zeros(current.shape[1:], bool)
    while margin_of(current, row) > goal:
        gain = _gain(np.exp(current), raised, taken)
        if gain.max() <= LEAST_GAIN:
            break
        donor, y, x = (int(v) for v in np.unravel_index(int(gain.argmax()), gain.shape))
        place = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
        fresh = ~taken[place]
        mixed[:, *place] = np.where(fresh, donors[donor][:, *place], mixed[:, *place])
        current[:, *place] = np.where(fresh, theirs[donor][:, *place], current[:, *place])
        taken[place] = True
    return Exchange(mixed, taken, margin_of(current, row) <= goal)


def _gain(now: Array, theirs: Array, taken: NDArray[np.bool_]) -> Array:
    """What each cell of each donor would change, (n, g, g); now (answers, g, g), both raised."""
    removed = np.where(taken, -np.inf, now[0] - theirs[:, 0])
    if removed.max() > LEAST_GAIN or len(now) == 1:
        return np.asarray(removed, dtype=np.float32)
    brought = (theirs[:, 1:] - now[1:]).sum(1)
    return np.asarray(np.where(taken, -np.inf, brought), dtype=np.float32)


def transplant(latent: Array, donor: Array, taken: NDArray[np.bool_]) -> Array:
    """The same cells from one other donor: the control of an exchange."""
    return np.where(taken[None], donor, latent)


@dataclass(frozen=True, slots=True)
class _Path:
    """The move along a row's direction: all that stays the same however far it goes.

    before (answers, g, g): terms of the latent; share (g, g): of each cell in this answer.
    """

    row: Row
    before: Array
    share: Array
    down: bool

    def amount(self, strength: float) -> Array:
        """What a move of this strength adds to this answer's evidence in each cell, (g, g)."""
        if self.down:  # cap every cell at one ceiling, so that only deciding cells move
            cells = self.before[0]
            return np.asarray(-np.maximum(cells - (cells.max() - strength), 0), dtype=np.float32)
        lifted = strength * self.share / self.share.max()  # where the evidence already is
        return np.asarray(lifted, dtype=np.float32)

    def margin_at(self, strength: float) -> float:
        """The margin after the move, without the latent: its direction moves this answer alone."""
        cells = self.before.copy()
        cells[0] = np.where(cells[0] > SILENT, cells[0] + self.amount(strength), SILENT)
        return margin_of(cells, self.row)


def _strength(path: _Path, goal: float) -> float:
    """How far the move must go: the strength whose margin meets the goal."""
    low, high = 0.0, 1.0
    for _ in range(40):
        if (path.margin_at(high) <= goal) == path.down or high > 1e4:
            break
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        enough = (path.margin_at(middle) <= goal) == path.down
        low, high = (low, middle) if enough else (middle, high)
    return high


def traverse(latent: Array, row: Row, goal: float) -> Array:
    """The closed-form move along the row's direction until the margin is `goal`.

    Down caps the evidence, up lifts it where it is. A pointer for the eye and a distance, not a
    counterfactual: an independent network is not convinced by it.
    """
    before = terms(latent, row)
    path = _Path(row, before, shares(before[0]), margin_of(before, row) > goal)
    amount = path.amount(_strength(path, goal))
    return np.asarray(latent + row.direction[:, None, None] * amount, dtype=np.float32)


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
