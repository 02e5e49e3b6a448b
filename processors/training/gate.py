"""Trains the gate of a bundle: what its model knows, inverted, turned or something else.

python -m processors.training.gate --organ brain --images DIR --out FOLDER [--rehearse]

Writes FOLDER/gate.npz (weights, thresholds) and FOLDER/gate_metrics.json (every number, with its
counts). Thresholds are set on patients of the training part that the network has not seen, never
on the validation part. A rehearsal keeps the same share of what must be refused back as well and
measures on what it kept back: for choices, with the validation part unread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from processors.gate._picture import Sight, Weights, features, load_weights, see
from processors.training.gate_films import Film, Mixer, read_films
from processors.training.gate_lessons import LESSONS, Lesson
from processors.training.gate_measure import measure
from processors.training.gate_recall import judged, table

SEED = 20_240_229
STEPS = 2_400
BATCH = 96
PASSED = 0.992  # share of accepted calibration films that the threshold lets through, each set
FAMILIAR = 0.997  # share of them within the distance, each set
FEWEST = 20  # calibration films of a set from which a quantile means something
LEAST = (0.05, 0.6)  # bounds of the first threshold, whatever the calibration films say
CHANNELS = (16, 32, 48, 64)
HIDDEN = 64


class Block(nn.Module):
    """A convolution that halves the side, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, values: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(values)))

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of the one convolution that does the same when evaluating."""
        state = self.norm.state_dict()
        scale = state["weight"] / torch.sqrt(state["running_var"] + self.norm.eps)
        kernel = self.conv.weight * scale[:, None, None, None]
        return _array(kernel), _array(state["bias"] - state["running_mean"] * scale)


class Net(nn.Module):
    """Four halving convolutions, one hidden layer, one score a class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = zip((1, *CHANNELS), CHANNELS, (5, 3, 3, 3), strict=False)
        self.blocks = [Block(before, after, kernel) for before, after, kernel in sizes]
        self.body = nn.Sequential(*self.blocks)
        self.drop = nn.Dropout(0.3)
        self.hidden = nn.Linear(CHANNELS[-1] * 16, HIDDEN)
        self.output = nn.Linear(HIDDEN, classes)

    def forward(self, squares: Tensor) -> Tensor:
        """(batch, 1, 64, 64) in -0.5..0.5 to (batch, classes) scores."""
        features = functional.relu(self.hidden(self.drop(self.body(squares).flatten(1))))
        scores: Tensor = self.output(features)
        return scores


def train(
    lesson: Lesson, images: Path, out: Path, *, steps: int = STEPS, rehearse: bool = False
) -> dict[str, Any]:
    """Train, set thresholds, measure, write both files; returns the metrics."""
    torch.set_num_threads(1)
    films = read_films(images, lesson)
    known = [f for f in films if f.split == "train"]
    learned = [f for f in known if not kept_back(f, lesson, rehearse)]
    aside = [f for f in known if kept_back(f, lesson, rehearse)]
    weights = with_thresholds(fit(learned, lesson, steps, SEED), learned, aside)
    out.mkdir(parents=True, exist_ok=True)
    _write(weights, out / "gate.npz")
    load_weights.cache_clear()
    stored = load_weights(out / "gate.npz")
    part = aside if rehearse else [f for f in films if f.split == "val"]
    metrics = measure(stored, lesson, part)
    if not rehearse:  # what `dictamen models gate` prints, on the pictures as they are stored
        metrics["recall"] = table(judged(stored, lesson, images))
    metrics["training"] = _provenance(films, learned, aside, steps, stored)
    text = json.dumps(metrics, indent=2, ensure_ascii=False, sort_keys=True)
    (out / "gate_metrics.json").write_text(text + "\n", encoding="utf-8")
    return metrics


def fit(films: Sequence[Film], lesson: Lesson, steps: int, seed: int) -> Weights:
    """A network fitted to the films, its batch normalisation folded into the convolutions."""
    torch.manual_seed(seed)
    net, mixer = Net(len(lesson.classes)).train(), Mixer(films, lesson, seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    for step in range(steps):
        squares, classes = mixer.batch(BATCH)
        loss = functional.cross_entropy(net(squares), classes, label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 250 == 249:
            said = f"step {step + 1} of {steps}, loss {loss.item():.3f}"
            print(said, file=sys.stderr, flush=True)  # stdout is for figures
    return folded(net.eval(), lesson.classes)


def folded(net: Net, classes: tuple[str, ...]) -> Weights:
    """The network as plain arrays; thresholds still open."""
    return Weights(
        convolutions=tuple(block.folded() for block in net.blocks),
        hidden=(_array(net.hidden.weight), _array(net.hidden.bias)),
        output=(_array(net.output.weight), _array(net.output.bias)),
        classes=classes,
        centre=np.zeros(HIDDEN, dtype=np.float32),
        precision=np.eye(HIDDEN, dtype=np.float32),
        least=0.5,
        farthest=float("inf"),
    )


def with_thresholds(weights: Weights, learned: Sequence[Film], aside: Sequence[Film]) -> Weights:
    """Where accepted films lie among the features, and how far a film may be from there."""
    seen = np.stack([features(f.pixels, weights) for f in learned if f.kind == "accepted"])
    centre = seen.mean(axis=0)
    spread = np.cov(seen.T) + 1e-2 * np.eye(HIDDEN) * seen.var(axis=0).mean()
    placed = replace(
        weights,
        centre=centre.astype(np.float32),
        precision=np.linalg.inv(spread).astype(np.float32),
    )
    by_set: dict[str, list[Sight]] = {}
    for film in (f for f in aside if f.kind == "accepted"):
        by_set.setdefault(film.source, []).append(see(film.pixels, placed))
    enough = [sights for sights in by_set.values() if len(sights) >= FEWEST]
    if not enough:
        return placed
    least = min(
        float(np.quantile([s.probabilities[weights.classes[0]] for s in sights], 1 - PASSED))
        for sights in enough
    )
    farthest = max(float(np.quantile([s.distance for s in sights], FAMILIAR)) for sights in enough)
    return replace(placed, least=min(max(least, LEAST[0]), LEAST[1]), farthest=farthest)


def kept_back(film: Film, lesson: Lesson, rehearse: bool = False) -> bool:
    """Whether a film of the training part is for thresholds; in a rehearsal also for measuring."""
    if film.kind == "accepted" and lesson.aside:
        return film.patient in lesson.aside
    drawn = int(digest(film.patient), 16) % 1000 < lesson.drawn * 1000
    return drawn and (rehearse or film.kind == "accepted")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy().astype(np.float32)
    return array


def _write(weights: Weights, file: Path) -> None:
    held: dict[str, Any] = {
        "hidden_w": weights.hidden[0].astype(np.float16),
        "hidden_b": weights.hidden[1],
        "output_w": weights.output[0],
        "output_b": weights.output[1],
        "classes": np.array(weights.classes),
        "centre": weights.centre,
        "precision": weights.precision,
        "least": np.float64(weights.least),
        "farthest": np.float64(weights.farthest),
    }
    for number, (kernel, bias) in enumerate(weights.convolutions):
        held[f"conv{number}_w"], held[f"conv{number}_b"] = kernel.astype(np.float16), bias
    np.savez_compressed(file, **held)


def _provenance(
    films: Sequence[Film],
    learned: Sequence[Film],
    aside: Sequence[Film],
    steps: int,
    weights: Weights,
) -> dict[str, Any]:
    def count(some: Sequence[Film]) -> dict[str, int]:
        sources = sorted({f.source for f in some})
        return {source: sum(f.source == source for f in some) for source in sources}

    return {
        "films_learned": count(learned),
        "films_for_thresholds": count(aside),
        "least": round(weights.least, 4),
        "farthest": round(weights.farthest, 3),
        "licences": sorted({f.licence for f in films}),
        "steps": steps,
        "batch": BATCH,
        "seed": SEED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--organ", choices=sorted(LESSONS), required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of the image sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for gate.npz")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rehearse", action="store_true", help="leave the validation part alone")
    options = parser.parse_args()
    lesson = LESSONS[options.organ]
    train(lesson, options.images, options.out, steps=options.steps, rehearse=options.rehearse)


if __name__ == "__main__":
    main()
