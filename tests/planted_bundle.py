"""A bundle whose answer is known to rest on one patch: every weight is set by hand, none learnt.

Two answers exclude each other: "bright" reads 4 x 4 px blocks lighter than LIGHT, "dark" such as
are darker than DARK; each cell holds the sum over its four blocks, and a film of noise has neither.
The decoder paints what the cells hold on plain grey. So the cause of an answer is the planted patch
and nothing else, wherever it is planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tiny_bundle import tiny_images

from processors.explain.subject import Film, Subject, donors_of, scale_of
from processors.runtime import Bundle
from processors.training.bundle import Pieces, write_bundle
from processors.training.calibrate import Calibration, Operating
from processors.training.make import inference, metadata, shape_of
from processors.training.plan import Plan, questions_of
from processors.training.probes import SAME
from processors.vae.network import SpatialVAE

SIZE, PATCH = 96, 14  # px: a patch covers three quarters of some cell wherever it lies
LIGHT, DARK = 0.7, 0.3
WEIGHT, BIAS = 14.0, -8.0  # log-odds of a full cell: 6; of a film without a patch: -3
NUMBERS = {"bright": 0, "dark": 1}
GROUPS = 4  # averages of each class


def _plan() -> Plan:
    names = [{"label": label, "name": {"en": label, "es": label}} for label in NUMBERS]
    answers = [{"label": label, "positive": [label]} for label in NUMBERS]
    raw = {
        "name": "planted",
        "version": "1.0.0",
        "size": SIZE,
        "channels": 2,
        "widths": {"narrow": 8, "wide": 8},
        "frame": 0,
        "modality": "X-ray",
        "labels": names,
        "questions": [
            {"name": "patch", "low": 0, "high": 120, "answers": answers, "negative": ["none"]}
        ],
        "gate": {"file": "", "shortest_side": 16},
        "recipe": {},
    }
    return Plan(raw, questions_of(raw["questions"]))


def _silence(module: torch.nn.Module) -> None:
    for convolution in module.modules():
        if isinstance(convolution, torch.nn.Conv2d):
            convolution.weight.zero_()
            if convolution.bias is not None:
                convolution.bias.zero_()


@torch.no_grad()
def _network(plan: Plan) -> SpatialVAE:
    """Channel 0 carries what is light, channel 1 what is dark, from end to end."""
    model = SpatialVAE(shape_of(plan)).eval()
    _silence(model)
    first, second = model.trunk[1], model.trunk[3]
    first[0].weight[0, :, 1, 1] = 1 / 16  # mean of a block, above LIGHT ...
    first[0].weight[1, :, 1, 1] = -1 / 16  # ... or below DARK
    first[1].bias[:2] = torch.tensor([-LIGHT, DARK])
    full = 4 * (1 - LIGHT)
    into, _, to_cells, _, wide, _, to_64, _, _, _, narrow, last, _ = model.from_latent
    for channel in (0, 1):
        second[0].weight[channel, channel, 1:, 1:] = 1 / full  # the four blocks of a cell
        model.to_latent.weight[channel, channel] = 1
        model.head.weight[channel, channel] = WEIGHT
        into[0].weight[channel, channel, 1, 1] = 1
        to_cells.weight[4 * channel : 4 * channel + 4, channel] = 1
        wide[0].weight[channel, channel, 1, 1] = 1
        to_64.weight[4 * channel : 4 * channel + 4, channel, 1, 1] = 1
        narrow[0].weight[channel, channel, 1, 1] = 1
        last.weight[:, channel, 1, 1] = 4 if channel == 0 else -4
    model.head.bias.fill_(BIAS)
    return model


def noise(generator: np.random.Generator) -> np.ndarray:
    """An equalised film (SIZE, SIZE) without a patch: every grey as often."""
    return generator.random((SIZE, SIZE), np.float32)


def place(generator: np.random.Generator) -> tuple[slice, slice]:
    top, left = generator.integers(0, SIZE - PATCH + 1, 2)
    return slice(top, top + PATCH), slice(left, left + PATCH)


def _donors(model: SpatialVAE) -> dict[str, np.ndarray]:
    """Means over six films each; those with a patch have it in the same place."""
    generator = np.random.default_rng(7)
    arrays: dict[str, np.ndarray] = {}
    for label, grey in (("bright", 1.0), ("dark", 0.0), ("none", None)):
        means = []
        for _ in range(GROUPS):
            films, spot = np.stack([noise(generator) for _ in range(6)]), place(generator)
            if grey is not None:
                films[:, *spot] = grey
            with torch.no_grad():
                means.append(model.encode(torch.from_numpy(films)[:, None])[0].mean(0).numpy())
        arrays[f"latents_patch_{label}"] = np.stack(means).astype(np.float16)
    return arrays


def write_planted(folder: Path) -> Path:
    """The bundle's folder, as training would write it."""
    plan = _plan()
    model = _network(plan)
    point = Operating(0.5, (0.4, 0.6), -1.0)
    found = [Calibration(1.0, (0.0, 0.0), True, (point, point))]
    described = metadata(plan, found, tiny_images(4))
    return write_bundle(folder, model, Pieces(described, inference(plan), _donors(model)))


@dataclass(frozen=True)
class Planted:
    """A film with a bright patch, perhaps a dark one too; masks (SIZE, SIZE)."""

    subject: Subject
    bright: np.ndarray
    dark: np.ndarray


def planted(bundle: Bundle, seed: int, both: bool = False) -> Planted:
    """The finding "bright" on one film; the patches lie at random and apart."""
    generator = np.random.default_rng(seed)
    image = noise(generator)
    bright, dark = np.zeros((2, SIZE, SIZE), bool)
    bright[place(generator)] = True
    while both and not dark.any():
        spot = place(generator)
        dark[spot] = not bright[spot].any()
    image[bright], image[dark] = 1.0, 0.0
    film = Film(f"1.2.{seed}", image, SAME, image, bundle.encode(image[None])[0])
    entry = bundle.card["questions"][0]["answers"][0]
    subject = Subject(
        "bright", film, bundle, bundle.row(0, 0), scale_of(entry), *donors_of(bundle, 0, 0)
    )
    return Planted(subject, bright, dark)
