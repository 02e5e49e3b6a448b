"""Trains the network: batches balanced between groups, joint loss, cycle, running average.

In: images that fit. Out: the averaged weights. A run is repeated by its seed and continued from
its last checkpoint; several processes may share it (processors.training.crew). The checkpoint is
the trainer's own working file, read with weights_only; what ships is written by
processors.training.bundle.
Never: reads `val`.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from processors.training.crew import ALONE, Crew
from processors.training.data import ImageSet
from processors.vae.corruption import defects, geometric
from processors.vae.latent import SILENT
from processors.vae.losses import answers, cycle, gaussian_kl, placed, reconstruction
from processors.vae.network import CELL, Shape, SpatialVAE


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run. Changing a field makes another model: it stands in the card.

    The first `small_share` of the steps sees images of `small_size` px: the network is
    convolutional, and half the time buys the same features (Tan & Le, arXiv:2104.00298). shares:
    of each group in a batch. hidden: share of images in whose head some blocks of cells are
    silent, so that no single place may decide. mirror: share of mirrored images. turn: degrees.
    decoded: share of each batch that is decoded too: a decoded image costs three encoded ones, and
    the head learns from all of them; 0: nothing is, a plain classifier with the same encoder.
    likeness: weight of SSIM in the reconstruction.
    """

    steps: int = 2000
    batch: int = 32
    rate: float = 2e-3
    beta: float = 0.005
    decoded: float = 1.0
    likeness: float = 0.5
    gamma: float = 0.7
    cycle: float = 1.0
    place: float = 1.0
    hidden: float = 0.0
    smooth: float = 0.05
    shares: tuple[float, ...] = (1.0,)
    decay: float = 1e-2
    average: float = 0.998
    small_size: int = 96
    small_share: float = 0.8
    mirror: float = 0.0
    turn: float = 12.0
    seed: int = 0


@dataclass(slots=True)
class Run:
    """The moving parts of a training; everything here is in the checkpoint.

    lesson: see `lesson`; empty where nobody asks whether a checkpoint is of this training.
    """

    model: SpatialVAE
    mean: SpatialVAE
    optimiser: torch.optim.Optimizer
    step: int = 0
    lesson: str = ""


def start(
    shape: Shape,
    recipe: Recipe,
    learnt: Mapping[str, Tensor] | None = None,
    device: torch.device | None = None,
) -> Run:
    """A new run; learnt: weights of a network of the same widths, all but whose head is kept."""
    torch.manual_seed(recipe.seed)
    model = SpatialVAE(shape)
    if learnt:
        own = model.state_dict()
        kept = {k: v for k, v in learnt.items() if not k.startswith("head.")}
        unlike = [k for k, v in kept.items() if k not in own or own[k].shape != v.shape]
        if unlike or len(kept) + 2 != len(own):
            raise ValueError("The weights to start from are of other widths, channels or layers.")
        model.load_state_dict(own | kept)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    return Run(model, copy.deepcopy(model).eval(), optimiser)


def lesson(images: ImageSet, recipe: Recipe, learnt: Mapping[str, Tensor] | None = None) -> str:
    """One digest over all that a training learns from: what differs in it is another training."""
    found = hashlib.sha256(repr(recipe).encode())
    for array in (images.inputs, images.targets, images.groups, images.places):
        found.update(np.ascontiguousarray(array).data)
    for name, weight in sorted((learnt or {}).items()):
        found.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def save(run: Run, file: Path) -> None:
    """Replaces the checkpoint in one step, so that a kill leaves the old one."""
    part = file.with_suffix(".part")
    state = {
        "model": run.model.state_dict(),
        "mean": run.mean.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "lesson": run.lesson,
        "random": torch.get_rng_state(),
    }
    torch.save(state, part)
    part.replace(file)


def resume(run: Run, file: Path) -> None:
    """Goes on from a checkpoint. ValueError where it is of another training: of other images,
    labels, recipe or start, which it would be taken for the result of."""
    state = torch.load(file, weights_only=True)
    held = state.get("lesson", "")  # an older checkpoint does not say
    if held and run.lesson and held != run.lesson:
        raise ValueError(
            f"{file} is of another training: of other images, labels, steps, seed or weights to "
            "start from. Name another folder by --work, or remove this one."
        )
    run.model.load_state_dict(state["model"])
    run.mean.load_state_dict(state["mean"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step = int(state["step"])
    torch.set_rng_state(state["random"])


def class_weights(images: ImageSet, shape: Shape) -> list[Tensor]:
    """Per question (classes,): each class counts the same."""
    found = []
    for number, (many, none) in enumerate(shape.questions):
        known = images.answers(number)
        counts = np.bincount(known[known >= 0], minlength=many + none)
        even = counts.sum() / (len(counts) * np.maximum(counts, 1))
        found.append(torch.tensor(even, dtype=torch.float32))
    return found


def _pick(pools: list[Tensor], recipe: Recipe) -> Tensor:
    counts = [round(recipe.batch * share) for share in recipe.shares]
    drawn = [p[torch.randint(0, len(p), (n,))] for p, n in zip(pools, counts, strict=True) if n]
    return torch.cat(drawn)[torch.randperm(sum(counts))]


@torch.no_grad()
def intended(model: SpatialVAE, mean: Tensor, question: int, target: Tensor) -> Tensor:
    """Counterfactual latents for the cycle: exchanged blocks, capped or lifted evidence.

    Args: mean (n, channels, g, g); target (n,): each image's answer to the question.
    """
    count, grid = len(mean), mean.shape[-1]
    other = (target[:, None] != target[None]).float() + 1e-4
    donors = mean[torch.multinomial(other, 4, replacement=count < 4)]
    used = (torch.rand(count, 4) < 0.5).float()
    used[:, 0] = 1
    used = (used / used.sum(1, keepdim=True)).view(count, 4, 1, 1, 1)
    coarse = int(torch.randint(min(3, grid), grid + 1, ()))
    share = torch.empty(count, 1, 1, 1).uniform_(0.1, 0.7)
    mask = F.interpolate((torch.rand(count, 1, coarse, coarse) < share).float(), size=grid)
    exchanged = mean * (1 - mask) + (donors * used).sum(1) * mask
    moved = _moved(model, mean, question, target)
    return torch.where((torch.rand(count) < 0.5).view(-1, 1, 1, 1), exchanged, moved)


def rows_of(shape: Shape, question: int) -> slice:
    """The head's rows of a question."""
    first = sum(many for many, _ in shape.questions[:question])
    return slice(first, first + shape.questions[question][0])


def _moved(model: SpatialVAE, mean: Tensor, question: int, target: Tensor) -> Tensor:
    """Evidence capped at a random ceiling (two in three) or lifted where it already is."""
    count, rows = len(mean), rows_of(model.shape, question)
    weight = model.head.weight.flatten(1)[rows]
    answer = target.clamp_max(len(weight) - 1)  # "no finding" has no row: any will do
    direction = torch.linalg.pinv(weight).T[answer]
    evidence = model.cells(mean)[:, rows][torch.arange(count), answer]
    top = evidence.amax(1, keepdim=True)
    down = -(evidence - top + torch.empty(count, 1).uniform_(-2, 6)).clamp(0, 12)
    lift = torch.softmax(evidence, 1)
    up = lift / lift.amax(1, keepdim=True) * torch.empty(count, 1).uniform_(0, 3)
    change = torch.where(torch.rand(count, 1) < 0.67, down, up)
    moved: Tensor = mean + (change[:, None] * direction[..., None]).view(mean.shape)
    return moved


def _hide(cells: Tensor, share: float) -> Tensor:
    """Makes random blocks of cells silent in a share of the images, at most half of each."""
    count, grid = len(cells), math.isqrt(cells.shape[-1])
    blocks = torch.rand(count, 1, 4, 4) < torch.empty(count, 1, 1, 1).uniform_(0.1, 0.5)
    blocks &= (torch.rand(count) < share).view(-1, 1, 1, 1)
    silent = F.interpolate(blocks.float(), size=grid).flatten(2) > 0.5
    return torch.where(silent, SILENT, cells)


@dataclass(slots=True)
class _Batch:
    """Images and places (n, 1, s, s), targets (n, questions); spoken: the first known question."""

    images: Tensor
    places: Tensor
    targets: Tensor

    @property
    def spoken(self) -> Tensor:
        known = self.targets >= 0
        first = known.float().argmax(1)
        return torch.where(known.any(1), first, -1)


def _loss(run: Run, batch: _Batch, plan: _Plan) -> dict[str, Tensor]:
    """The terms of one step, each already weighted; their sum is minimised."""
    recipe, model = plan.recipe, run.model
    spoilt, erased = defects(batch.images, noise=0.06, blur=0.4, erase=0.8)
    mean, log_variance = model.encode(spoilt.contiguous(memory_format=torch.channels_last))
    cells = model.cells(mean)
    seen = model.logits(_hide(cells, recipe.hidden) if recipe.hidden else cells)
    smooth = recipe.smooth
    terms = {"ce": recipe.gamma * answers(seen, batch.targets, plan.weights, smooth)}
    if recipe.place:
        where = _placed(model, cells, batch)
        terms |= {"place": recipe.gamma * recipe.place * where} if where is not None else {}
    if not recipe.decoded:
        return terms
    kl, plan.log["kl_nats"] = gaussian_kl(mean, log_variance)
    some = max(2, round(len(mean) * recipe.decoded))
    latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    decoded = model.decode(latent[:some])
    l1, likeness = reconstruction(decoded, batch.images[:some], erased[:some])
    terms["l1"] = 3 * l1
    terms["ssim"] = recipe.likeness * (1 - likeness)
    terms["kl"] = recipe.beta * min(1.0, plan.done / 0.3) * kl
    if recipe.cycle and plan.done > 0.2 and run.step % 2 == 0:
        half = some // 2
        terms["cycle"] = recipe.cycle * _cycled(model, mean[:half].detach(), batch)
        again, _ = model.encode(decoded[half:])
        target = batch.targets[half:some]
        told = answers(model.logits(model.cells(again)), target, plan.weights, smooth)
        terms["told"] = 0.3 * recipe.gamma * told
    return terms


def _placed(model: SpatialVAE, cells: Tensor, batch: _Batch) -> Tensor | None:
    """The place term of every question, over the images that have a finding and a place."""
    grid = batch.images.shape[-1] // CELL
    inside = F.adaptive_avg_pool2d(batch.places, grid).flatten(1) > 0.25
    found = []
    for number, (many, none) in enumerate(model.shape.questions):
        target = batch.targets[:, number]
        use = (target >= 0) & (target < many) & inside.any(1)
        if bool(use.any()):
            own = cells[use][:, rows_of(model.shape, number)]
            share = use.float().mean()
            found.append(share * placed(own, none, target[use], inside[use]))
    return torch.stack(found).sum() if found else None


def _cycled(model: SpatialVAE, mean: Tensor, batch: _Batch) -> Tensor:
    """What is left of intended latents after decoding, blur, noise and encoding again."""
    spoken, costs = batch.spoken[: len(mean)], []
    for number in sorted(set(spoken.tolist())):
        chosen = spoken == number
        if number < 0 or int(chosen.sum()) < 2:
            continue
        target, rows = batch.targets[: len(mean), number][chosen], rows_of(model.shape, number)
        wanted = intended(model, mean[chosen], number, target)
        again, _ = model.encode(defects(model.decode(wanted), 0.04, 0.3, 0.0)[0])
        want = model.cells(wanted).detach()[:, rows]
        cost = cycle(model.cells(again)[:, rows], want, again, wanted)
        costs.append(cost * chosen.float().mean())
    return torch.stack(costs).sum() if costs else mean.sum() * 0


@dataclass(slots=True)
class _Plan:
    recipe: Recipe
    weights: list[Tensor]
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
    run: Run,
    images: ImageSet,
    recipe: Recipe,
    each: Callable[[Run, dict[str, float]], bool],
    crew: Crew = ALONE,
) -> None:
    """Goes on from run.step to recipe.steps; `each` is told every step and may stop by False."""
    device = next(run.model.parameters()).device
    if crew.rank:  # the others draw other images; the first one repeats the run of one process
        torch.manual_seed(recipe.seed + 7919 * crew.rank + run.step)
    with device:
        _steps(run, images, recipe, each, crew)


def _steps(
    run: Run,
    images: ImageSet,
    recipe: Recipe,
    each: Callable[[Run, dict[str, float]], bool],
    crew: Crew,
) -> None:
    device = next(run.model.parameters()).device
    pixels = torch.from_numpy(images.inputs).to(device)
    places, targets = (torch.from_numpy(a).to(device) for a in (images.places, images.targets))
    weights = class_weights(images, run.model.shape)
    pools = [
        torch.from_numpy(np.flatnonzero(images.groups == g)).to(device)
        for g in range(len(recipe.shares))
    ]
    run.model.train()
    while run.step < recipe.steps:
        plan = _Plan(recipe, weights, run.step / recipe.steps, {})
        for group in run.optimiser.param_groups:
            warm = min(1.0, run.step / 100 + 0.02)
            group["lr"] = recipe.rate * warm * (0.5 + 0.5 * math.cos(math.pi * plan.done))
        chosen = _pick(pools, recipe)
        pair = torch.stack([pixels[chosen].float().div(255), places[chosen].float()], 1)
        pair = geometric(pair, recipe.mirror, recipe.turn)
        if plan.done < recipe.small_share and recipe.small_size < pair.shape[-1]:
            pair = F.interpolate(pair, size=recipe.small_size, mode="area")
        batch = _Batch(pair[:, :1], pair[:, 1:], targets[chosen])
        terms = _loss(run, batch, plan)
        run.optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        crew.average(run.model)
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
def totals(model: SpatialVAE, images: ImageSet, batch: int = 256) -> NDArray[np.float32]:
    """(n, rows): the total of every row of the head for every image."""
    latent = torch.from_numpy(encode_both(model, images.inputs)[0])
    parts = [
        torch.logsumexp(model.cells(latent[i : i + batch]), 2) for i in range(0, len(latent), batch)
    ]
    return np.asarray(torch.cat(parts).numpy())
