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
NEVER = np.iinfo(np.int64).max  # the step at which a cell is taken that never is


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


@dataclass(frozen=True, slots=True)
class Paths:
    """Greedy exchanges with each donor alone, step by step; the order is the same for any goal.

    when (n, g, g): the step at which a cell is taken, NEVER where none is; margins (n, steps + 1):
    the margin before the first step and after each.
    """

    latent: Array
    donors: Array
    when: NDArray[np.int64]
    margins: NDArray[np.float64]

    def at(self, goal: float) -> Exchange:
        """With the donor that meets the goal with the fewest cells; failing that, the one that
        comes nearest."""
        met = self.margins <= goal
        steps = np.where(met.any(1), met.argmax(1), met.shape[1])
        taken = self.when < steps[:, None, None]
        cost = np.where(met.any(1), taken.mean((1, 2)), 2 + self.margins[:, -1] - goal)
        best = int(cost.argmin())
        mixed = transplant(self.latent, self.donors[best], taken[best])
        return Exchange(mixed, taken[best], bool(met[best].any()))


def paths(latent: Array, row: Row, donors: Array, goal: float) -> Paths:
    """Takes cells from each of the donors (n, channels, g, g) until the margin is at most `goal`.

    One donor a path: a film with pieces of several is like no film, and does not survive its own
    re-encoding. Greedy: the cell whose exchange removes most evidence, or, when none does, brings
    most evidence of a rival; with its eight neighbours. The head is linear in each cell, so that
    no network pass is needed on the way.
    """
    theirs = np.stack([terms(donor, row) for donor in donors])
    current = np.repeat(terms(latent, row)[None], len(donors), 0)
    raised = np.exp(theirs)  # the donors stay as they are all the way
    when = np.full((len(donors), *latent.shape[1:]), NEVER)
    margins = [np.array([margin_of(one, row) for one in current])]
    goes_on = margins[0] > goal
    while goes_on.any():
        gain = _gain(np.exp(current), raised, when < NEVER).reshape(len(donors), -1)
        best = gain.argmax(1)
        goes_on = goes_on & (gain[np.arange(len(donors)), best] > LEAST_GAIN)
        now = margins[-1].copy()
        for k in np.flatnonzero(goes_on):
            y, x = divmod(int(best[k]), latent.shape[-1])
            place = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
            fresh = when[k][place] == NEVER
            current[k][:, *place] = np.where(fresh, theirs[k][:, *place], current[k][:, *place])
            when[k][place][fresh] = len(margins) - 1
            now[k] = margin_of(current[k], row)
        margins.append(now)
        goes_on = goes_on & (now > goal)
    return Paths(latent, donors, when, np.stack(margins, 1))


def _gain(now: Array, theirs: Array, taken: NDArray[np.bool_]) -> Array:
    """What each cell of each donor would change, (n, g, g); now, theirs (n, answers, g, g)."""
    removed = np.where(taken, -np.inf, now[:, 0] - theirs[:, 0])
    if now.shape[1] == 1:
        return np.asarray(removed, dtype=np.float32)
    brought = np.where(taken, -np.inf, (theirs[:, 1:] - now[:, 1:]).sum(1))
    removes = removed.max((1, 2), keepdims=True) > LEAST_GAIN
    return np.where(removes, removed, brought).astype(np.float32)


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
