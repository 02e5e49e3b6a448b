"""What the commands `models train` and `models evaluate` do, with their progress bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from processors.runtime import open_bundle
from processors.training.card import write_card
from processors.training.data import ImageSet, join, load
from processors.training.evaluate import evaluate, score, speed, write_scores
from processors.training.explained import explained
from processors.training.make import fit_network, load_training, make_bundle
from processors.training.plan import populations_of, read_plan

Sources = Sequence[tuple[Path, Path]]


def train_bundle(sources: Sources, target: Path, work: Path, options: Mapping[str, Any]) -> Path:
    """Trains and writes a bundle. options: plan, steps, seed, threads."""
    torch.set_num_threads(int(options["threads"]))
    plan = read_plan(str(options["plan"]))
    plan = plan.with_recipe(steps=options["steps"], seed=options["seed"])
    work.mkdir(parents=True, exist_ok=True)
    parts = load_training(sources, plan)
    with tqdm(total=int(plan.raw["recipe"]["steps"]), unit="step") as bar:

        def progress(step: int, _: int, terms: Mapping[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({k: f"{v:.3f}" for k, v in terms.items() if k in ("ce", "l1")})

        model = fit_network(parts[0], plan, work, progress)
    return make_bundle(model, parts, plan, target)


@dataclass(frozen=True, slots=True)
class Asked:
    """One evaluation: what is judged, what the trivial bar learns from, what is written."""

    judged: Sources
    known: Sources
    split: str
    scores: Path | None = None
    strips: int = 0
    variants: int | None = None
    write_card: bool = False


def _load(sources: Sources, split: str, card: Mapping[str, Any]) -> ImageSet:
    populations = populations_of(card["populations"])
    parts = [load(table, images, populations, int(card["size"])) for table, images in sources]
    full = join(parts)
    return full.where([s.split == split for s in full.samples])


def evaluate_bundle(path_or_name: str, asked: Asked) -> dict[str, Any]:
    """Judges every film of the split; writes what was asked for; returns the evaluation."""
    bundle = open_bundle(path_or_name, "cpu")
    images = _load(asked.judged, asked.split, bundle.card)
    known = _load(asked.known, "train", bundle.card)
    scores = score(bundle, images)
    if asked.scores:
        write_scores(scores, bundle.card["labels"][0]["label"], asked.scores)
    found: dict[str, Any] = {
        "bundle": bundle.name,
        "sha256": bundle.algorithm.sha256,
        "split": asked.split,
        "sets": [table.name for table, _ in asked.judged],
        "populations": evaluate(bundle, scores, known),
        "explanations": explained(bundle, asked.judged, asked.split, asked.strips),
        "variants_tried": asked.variants,
        "ms": speed(bundle),
        "parameters": _parameters(bundle.folder),
    }
    if asked.write_card:
        write_card(bundle, found)
    return found


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(folder / "models" / "model.safetensors"), framework="np") as weights:
        names = [n for n in weights.keys() if "running" not in n and "tracked" not in n]  # noqa: SIM118
        return int(sum(weights.get_tensor(n).size for n in names))
