"""A bundle small enough for tests: random weights, two questions, averaged random donors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from processors.training.bundle import write_bundle
from processors.training.calibrate import Calibration, Operating
from processors.training.data import ImageSet, Sample
from processors.training.make import Pieces, donor_arrays, inference, metadata, shape_of
from processors.training.plan import Plan, read_plan
from processors.vae.network import SpatialVAE


def tiny_plan() -> Plan:
    """The shipped plan on 32 px with a handful of channels and no gate of pixels."""
    shipped = read_plan("chest")
    changes = {"size": 32, "channels": 4, "widths": {"narrow": 8, "wide": 8}, "frame": 1}
    changes |= {"field": "", "place": {}, "gate": {"file": "", "shortest_side": 16}, "start": ""}
    return Plan({**shipped.raw, **changes}, shipped.questions).with_recipe(
        steps=4, batch=8, small_size=16
    )


def tiny_images(count: int = 48, size: int = 32, seed: int = 0) -> ImageSet:
    """Films whose ill half has a bright square; every film of another patient."""
    generator = np.random.default_rng(seed)
    samples, inputs = [], []
    for i in range(count):
        ill, group = i % 2, (i // 2) % 2
        film = generator.random((size, size)) * 0.4
        if ill:
            film[10:22, 8:16] += 0.6
        inputs.append(film)
        age = 3.0 if group == 0 else 50.0
        targets = (1 - ill, -1) if group == 0 else (-1, 1 - ill)
        samples.append(
            Sample(f"{i}.png", "train", f"P{i}", targets, group, sex="F", age=age, view="PA")
        )
    pixels = np.rint(np.stack(inputs).clip(0, 1) * 255).astype(np.uint8)
    trivial = generator.random((count, 15)).astype(np.float32)
    return ImageSet(tuple(samples), pixels, trivial, np.zeros(pixels.shape, bool))


def tiny_network(seed: int = 0) -> SpatialVAE:
    torch.manual_seed(seed)
    model = SpatialVAE(shape_of(tiny_plan()))
    torch.nn.init.normal_(model.head.weight, std=2.0)
    return model.eval()


def write_tiny(folder: Path, seed: int = 0) -> Path:
    """A complete bundle folder, as training would write it."""
    plan, model, images = tiny_plan(), tiny_network(seed), tiny_images()
    found = [Calibration(0.5, (0.1,), True, (Operating(0.5, (0.45, 0.55), -1.0),))] * 2
    described = metadata(plan, found, images)
    parts = images, images.where([False] * 48)
    pieces = Pieces(described, inference(plan), donor_arrays(model, parts, plan, found))
    return write_bundle(folder, model, pieces)
