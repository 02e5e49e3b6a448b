"""Arithmetic on one latent: exact against the network, and true to its promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_bundle import tiny_network

from processors.vae import latent as lat
from processors.vae.latent import Row


def one_answer(weight: list[float], bias: float, frame: int) -> Row:
    """A question of one answer and "no finding", uncalibrated."""
    numbers = np.array([weight], np.float32), np.array([bias], np.float32), np.zeros(1, np.float32)
    return Row(*numbers, frame=frame)


@pytest.fixture
def row() -> Row:
    return one_answer([1.0, -0.5, 0.2], -3.0, frame=1)


def _latent(seed: int, grid: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, grid, grid)).astype(np.float32)


def _ill(seed: int, row: Row) -> np.ndarray:
    film = _latent(seed)
    film[:, 2:5, 2:4] += 4 * row.weight[0][:, None, None]
    return film


def test_margin_equals_the_network() -> None:
    model = tiny_network()
    latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = [given[:, 0] - given[:, 1] for given in model.logits(model.cells(latents))]
    weight, bias = model.head.weight.detach().flatten(1).numpy(), model.head.bias.detach().numpy()
    for index in range(2):
        row = one_answer(weight[index].tolist(), float(bias[index]), model.shape.frame)
        found = [lat.margin(z, row) for z in latents.numpy()]
        np.testing.assert_allclose(found, wanted[index], atol=1e-4)


@pytest.fixture
def three() -> Row:
    """One of three answers that exclude each other, without "no finding"."""
    weight = np.array([[1.0, -0.5, 0.2], [-0.3, 1.0, 0.4], [0.1, 0.2, -1.0]], np.float32)
    bias, offset = np.full(3, -3.0, np.float32), np.array([0.1, -0.2, 0.0], np.float32)
    return Row(weight, bias, offset, temperature=0.7, none=False, frame=1)


def test_answers_that_exclude_each_other_sum_to_one(three: Row) -> None:
    film, order = _latent(4), [[0, 1, 2], [1, 0, 2], [2, 0, 1]]
    rows = [
        Row(three.weight[o], three.bias[o], three.offset[o], 0.7, none=False, frame=1)
        for o in order
    ]
    assert sum(lat.probability(film, row) for row in rows) == pytest.approx(1, abs=1e-5)


def test_a_move_leaves_the_rivals_alone(three: Row) -> None:
    film = _latent(5)
    before, goal = lat.terms(film, three), lat.margin(film, three) - 1.5
    moved = lat.traverse(film, three, goal)
    assert lat.margin(moved, three) == pytest.approx(goal, abs=0.01)
    np.testing.assert_allclose(lat.terms(moved, three)[1:], before[1:], atol=1e-4)


def test_exchange_brings_a_rival_s_evidence_where_nothing_is_left_to_remove(three: Row) -> None:
    film = -2 * np.ones((3, 8, 8), np.float32) * three.weight[0][:, None, None]
    rival = film + 5 * three.weight[1][:, None, None]
    goal = lat.margin(film, three) - 3
    found = lat.paths(film, three, rival[None], goal).at(goal)
    assert found.reached
    assert 0 < found.taken.mean() < 1


def test_the_edge_is_silent(row: Row) -> None:
    film = _latent(0)
    before = lat.evidence(film, row)
    film[:, 0] += 100
    film[:, :, -1] += 100
    np.testing.assert_array_equal(lat.evidence(film, row), before)


def test_exchange_reaches_its_goal(row: Row) -> None:
    film, donors = (
        _ill(0, row),
        np.stack([_latent(i) - row.weight[0][:, None, None] for i in (1, 2)]),
    )
    goal = lat.margin(donors[0], row) + 0.5
    found = lat.paths(film, row, donors, goal).at(goal)
    assert found.reached
    assert lat.margin(found.latent, row) <= goal
    kept = ~found.taken
    np.testing.assert_array_equal(found.latent[:, kept], film[:, kept])
    assert found.taken[2:5, 2:4].all()  # where the finding was put


def test_exchange_takes_neighbours_from_the_same_donor(row: Row) -> None:
    film, donors = _latent(3) * 0.01, np.stack([np.full((3, 8, 8), v) for v in (-1.0, -2.0)])
    film[:, 4, 4] += 5 * row.weight[0]
    found = lat.paths(film, row, donors.astype(np.float32), 1.0).at(1.0)
    taken = np.zeros((8, 8), bool)
    taken[3:6, 3:6] = True
    np.testing.assert_array_equal(found.taken, taken)
    assert len(np.unique(found.latent[:, found.taken])) == 1


def test_exchange_stops_when_donors_cannot_help(row: Row) -> None:
    film = _latent(0)
    found = lat.paths(film, row, film[None] + row.weight[0][:, None, None], -50.0).at(-50.0)
    assert not found.reached
    np.testing.assert_array_equal(found.latent, film)


@pytest.mark.parametrize("shift", [-2.0, -0.5, 0.5, 2.0])
def test_traverse_meets_its_goal(row: Row, shift: float) -> None:
    film = _ill(1, row)
    goal = lat.margin(film, row) + shift
    moved = lat.traverse(film, row, goal)
    assert lat.margin(moved, row) == pytest.approx(goal, abs=0.01)


def test_traverse_moves_only_deciding_cells(row: Row) -> None:
    film = _ill(1, row)
    goal = lat.margin(film, row) - 0.5
    moved = np.abs(lat.traverse(film, row, goal) - film).sum(0) > 1e-5
    assert moved.any()
    assert lat.shares(lat.evidence(film, row))[moved].sum() > 0.3
    assert moved.mean() < 0.2


def test_neutral_is_blind_to_the_finding(row: Row) -> None:
    film = _latent(0)
    moved = film + 3 * row.weight[0][:, None, None]
    np.testing.assert_allclose(
        lat.neutral(film, row.weight), lat.neutral(moved, row.weight), atol=1e-5
    )


def test_nearest_finds_the_same_anatomy(row: Row) -> None:
    donors = np.stack([_latent(i) for i in range(6)])
    asked = donors[4] + 2 * row.weight[0][:, None, None]
    np.testing.assert_array_equal(lat.nearest(asked, donors, row, 1)[0], donors[4])


def test_the_map_is_blind_where_the_answer_did_not_change(row: Row) -> None:
    before = lat.evidence(_ill(2, row), row)
    after = before.copy()
    after[2:5, 2:4] -= 3
    change = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    shown = np.abs(lat.evidence_weighted(before, after, change))
    assert shown[16:40, 16:32].sum() == pytest.approx(shown.sum(), rel=1e-5)
    assert shown.sum() > 0
