"""An independent network that is asked whether a counterfactual convinces anyone but its maker.

Another shape (a plain classifier of strided convolutions, 64 px, global pooling), another seed,
supervised alone, the same training images. It shares nothing with the bundle but the data, so it
may share a shortcut with it: its agreement is a witness's, not a proof.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from processors.training.data import ImageSet
from processors.vae.corruption import geometric

SIDE, BATCH, RATE = 64, 64, 2e-3
WIDTHS = (1, 24, 48, 96, 128)
Witness = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _network(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [
            nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def train_witness(images: ImageSet, question: int, classes: int, steps: int, seed: int) -> Witness:
    """Learns one question's classes; the witness gives logits (n, classes) of inputs (n, s, s)."""
    torch.manual_seed(seed)
    targets = torch.from_numpy(images.answers(question))
    known = torch.from_numpy(np.flatnonzero(images.answers(question) >= 0))
    pixels = _small(torch.from_numpy(images.inputs).float().div(255)[:, None])
    counts = torch.bincount(targets[known], minlength=classes).float()
    weight = counts.sum() / (classes * counts.clamp_min(1))
    model = _network(classes).train()
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        chosen = known[torch.randint(0, len(known), (BATCH,))]
        loss = F.cross_entropy(model(geometric(pixels[chosen], 0.5)), targets[chosen], weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    model.eval()

    @torch.inference_mode()
    def witness(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model(_small(torch.from_numpy(inputs)[:, None])).numpy())

    return witness


def _small(images: Tensor) -> Tensor:
    return F.interpolate(images, size=SIDE, mode="area")
