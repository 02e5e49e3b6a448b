"""Trains the network: batches balanced between populations, joint loss, cycle, running average.

In: images that fit, images that choose. Out: the averaged weights. A run is repeated by its seed
and continued from its last checkpoint. The checkpoint is the trainer's own working file, read
with weights_only; what ships is written by processors.training.bundle.
Never: reads `val`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from processors.training.data import ImageSet
from processors.vae.corruption import defects, geometric
from processors.vae.losses import cycle, gaussian_kl, masked_bce, reconstruction
from processors.vae.network import Shape, SpatialVAE


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run. Changing a field makes another model: it stands in the card.

    The first `small_share` of the steps sees images of `small_size` px: the network is
    convolutional, and half the time buys the same features (Tan & Le, arXiv:2104.00298).
    """

    steps: int = 6000
    batch: int = 32
    rate: float = 2e-3
    beta: float = 0.005
    gamma: float = 0.5
    cycle: float = 1.0
    smooth: tuple[float, ...] = (0.02, 0.1)
    shares: tuple[float, ...] = (0.6, 0.4)
    decay: float = 1e-3
    average: float = 0.998
    small_size: int = 96
    small_share: float = 0.6
    mirror: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class Run:
    """The moving parts of a training; everything here is in the checkpoint."""

    model: SpatialVAE
    mean: SpatialVAE
    optimiser: torch.optim.Optimizer
    step: int = 0


def start(shape: Shape, recipe: Recipe) -> Run:
    torch.manual_seed(recipe.seed)
    model = SpatialVAE(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    return Run(model, copy.deepcopy(model).eval(), optimiser)


def save(run: Run, file: Path) -> None:
    """Replaces the checkpoint in one step, so that a kill leaves the old one."""
    part = file.with_suffix(".part")
    state = {
        "model": run.model.state_dict(),
        "mean": run.mean.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "random": torch.get_rng_state(),
    }
    torch.save(state, part)
    part.replace(file)


def resume(run: Run, file: Path) -> None:
    state = torch.load(file, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.mean.load_state_dict(state["mean"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step = int(state["step"])
    torch.set_rng_state(state["random"])


def class_weights(images: ImageSet, rows: int) -> Tensor:
    """(rows, 2) weights of negative and positive: each class counts the same in its row."""
    weights = torch.ones(rows, 2)
    for row in range(rows):
        counts = np.bincount(images.targets[images.populations == row] + 1, minlength=3)[1:]
        if counts.min() > 0:
            weights[row] = torch.tensor(counts.sum() / (2 * counts), dtype=torch.float32)
    return weights


def _targets(images: ImageSet, rows: int) -> Tensor:
    """(n, rows), -1 where the row does not speak of this film."""
    table = torch.full((len(images.samples), rows), -1.0)
    for i, sample in enumerate(images.samples):
        if sample.population >= 0:
            table[i, sample.population] = sample.target
    return table


def _pick(pools: list[Tensor], recipe: Recipe) -> Tensor:
    counts = [round(recipe.batch * share) for share in recipe.shares]
    drawn = [p[torch.randint(0, len(p), (n,))] for p, n in zip(pools, counts, strict=True)]
    return torch.cat(drawn)[torch.randperm(sum(counts))]


@torch.no_grad()
def intended(model: SpatialVAE, mean: Tensor, row: Tensor, target: Tensor) -> Tensor:
    """Counterfactual latents for the cycle: exchanged blocks, capped or lifted evidence.

    Args: mean (n, channels, g, g); row, target (n,): each film's row of the head and its label.
    """
    count, grid = len(mean), mean.shape[-1]
    other = ((row[:, None] == row[None]) & (target[:, None] != target[None])).float() + 1e-4
    donors = mean[torch.multinomial(other, 4)]
    used = (torch.rand(count, 4) < 0.5).float()
    used[:, 0] = 1
    used = (used / used.sum(1, keepdim=True)).view(count, 4, 1, 1, 1)
    coarse = int(torch.randint(min(3, grid), grid + 1, ()))
    share = torch.empty(count, 1, 1, 1).uniform_(0.1, 0.7)
    mask = F.interpolate((torch.rand(count, 1, coarse, coarse) < share).float(), size=grid)
    exchanged = mean * (1 - mask) + (donors * used).sum(1) * mask
    moved = _moved(model, mean, row)
    return torch.where((torch.rand(count) < 0.5).view(-1, 1, 1, 1), exchanged, moved)


def _moved(model: SpatialVAE, mean: Tensor, row: Tensor) -> Tensor:
    """Evidence capped at a random ceiling (two in three) or lifted where it already is."""
    count = len(mean)
    weight = model.head.weight.flatten(1)[row]
    evidence = model.cells(mean)[torch.arange(count), row]
    top = evidence.amax(1, keepdim=True)
    down = -(evidence - top + torch.empty(count, 1).uniform_(-2, 6)).clamp(0, 12)
    lift = torch.softmax(evidence, 1)
    up = lift / lift.amax(1, keepdim=True) * torch.empty(count, 1).uniform_(0, 3)
    change = torch.where(torch.rand(count, 1) < 0.67, down, up)
    direction = weight / weight.square().sum(1, keepdim=True).clamp_min(1e-3)
    return mean + (change[:, None] * direction[..., None]).view(mean.shape)


def _loss(run: Run, images: Tensor, targets: Tensor, row: Tensor, plan: _Plan) -> dict[str, Tensor]:
    """The terms of one step, each already weighted; their sum is minimised."""
    recipe, model = plan.recipe, run.model
    spoilt, erased = defects(images, noise=0.06, blur=0.4, erase=0.8)
    mean, log_variance = model.encode(spoilt.contiguous(memory_format=torch.channels_last))
    latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    smooth = float(np.dot(recipe.smooth, recipe.shares))
    decoded = model.decode(latent)
    l1, likeness = reconstruction(decoded, images, erased)
    kl, plain_kl = gaussian_kl(mean, log_variance)
    terms = {
        "ce": recipe.gamma * masked_bce(model.margins(mean), targets, plan.weights, smooth),
        "l1": 3 * l1,
        "ssim": 0.5 * (1 - likeness),
        "kl": recipe.beta * min(1.0, plan.done / 0.3) * kl,
    }
    plan.log["kl_nats"] = plain_kl
    if recipe.cycle and plan.done > 0.2 and run.step % 2 == 0:
        half = len(images) // 2
        own = targets[torch.arange(len(row)), row]
        wanted = intended(model, mean[:half].detach(), row[:half], own[:half])
        again, _ = model.encode(defects(model.decode(wanted), 0.04, 0.3, 0.0)[0])
        pick = torch.arange(half), row[:half]
        want = model.cells(wanted).detach()[pick]
        terms["cycle"] = recipe.cycle * cycle(model.cells(again)[pick], want, again, wanted)
        read_again, _ = model.encode(decoded[half:])
        told = masked_bce(model.margins(read_again), targets[half:], plan.weights, smooth)
        terms["told"] = 0.3 * recipe.gamma * told
    return terms


@dataclass(slots=True)
class _Plan:
    recipe: Recipe
    weights: Tensor
    done: float
    log: dict[str, float]


def _follow(run: Run, decay: float) -> None:
    """The running average of weights and batch statistics (Polyak & Juditsky 1992)."""
    keep = min(decay, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        ours = run.mean.state_dict()
        for name, value in run.model.state_dict().items():
            if value.dtype.is_floating_point:
                ours[name].lerp_(value, 1 - keep)
            else:
                ours[name].copy_(value)


def train(
    run: Run, images: ImageSet, recipe: Recipe, each: Callable[[Run, dict[str, float]], bool]
) -> None:
    """Goes on from run.step to recipe.steps; `each` is told every step and may stop by False."""
    rows = run.model.shape.rows
    pixels = torch.from_numpy(images.inputs)
    targets, weights = _targets(images, rows), class_weights(images, rows)
    population = torch.from_numpy(images.populations).clamp_min(0)
    pools = [torch.from_numpy(np.flatnonzero(images.populations == r)) for r in range(rows)]
    run.model.train()
    while run.step < recipe.steps:
        plan = _Plan(recipe, weights, run.step / recipe.steps, {})
        for group in run.optimiser.param_groups:
            warm = min(1.0, run.step / 100 + 0.02)
            group["lr"] = recipe.rate * warm * (0.5 + 0.5 * math.cos(math.pi * plan.done))
        chosen = _pick(pools, recipe)
        batch = geometric(pixels[chosen].float().div(255)[:, None], recipe.mirror)
        if plan.done < recipe.small_share and recipe.small_size < batch.shape[-1]:
            batch = F.interpolate(batch, size=recipe.small_size, mode="area")
        terms = _loss(run, batch, targets[chosen], population[chosen], plan)
        run.optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 2.0)
        run.optimiser.step()
        run.step += 1
        _follow(run, recipe.average)
        if not each(run, {**{k: float(v.detach()) for k, v in terms.items()}, **plan.log}):
            return


@torch.no_grad()
def encode_both(
    model: SpatialVAE, inputs: NDArray[np.uint8], batch: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latent means and log-variances (n, channels, grid, grid) of network inputs."""
    model.eval()
    means, spreads = [], []
    for i in range(0, len(inputs), batch):
        pixels = torch.from_numpy(inputs[i : i + batch]).float().div(255)[:, None]
        mean, spread = model.encode(pixels)
        means.append(mean.numpy())
        spreads.append(spread.numpy())
    return np.concatenate(means), np.concatenate(spreads)


@torch.no_grad()
def margins(model: SpatialVAE, images: ImageSet) -> NDArray[np.float32]:
    """Each film's margin in its own population's row."""
    latent = torch.from_numpy(encode_both(model, images.inputs)[0])
    table = model.margins(latent).numpy()
    return table[np.arange(len(table)), np.maximum(images.populations, 0)]


def auc_by_population(model: SpatialVAE, images: ImageSet, rows: int) -> list[float]:
    """AUC per population; NaN where one class is absent."""
    scores, found = margins(model, images), []
    for row in range(rows):
        keep = (images.populations == row) & (images.targets >= 0)
        both = len(set(images.targets[keep].tolist())) == 2
        found.append(float(roc_auc_score(images.targets[keep], scores[keep])) if both else math.nan)
    return found
