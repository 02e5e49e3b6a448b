"""The bundle as one torch network for `python -m monai.bundle run`: image in, probabilities out.

Output (batch, answers): the calibrated probability of every answer, in the card's order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from processors.runtime import read_verified
from processors.vae.device import build
from processors.vae.network import SpatialVAE


class CalibratedNetwork(nn.Module):
    """Network and calibration of a bundle."""

    def __init__(self, model: SpatialVAE, questions: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.model = model
        self._scales = [
            (float(q["temperature"]), torch.tensor([a["offset"] for a in q["answers"]]))
            for q in questions
        ]

    def forward(self, image: Tensor) -> Tensor:
        mean, _ = self.model.encode(image)
        found = []
        for given, (temperature, offset) in zip(
            self.model.logits(self.model.cells(mean)), self._scales, strict=True
        ):
            answers = len(offset)
            scaled = given / temperature + F.pad(offset.to(given), (0, given.shape[1] - answers))
            found.append(torch.softmax(scaled, 1)[:, :answers])
        return torch.cat(found, 1)


def load_network(bundle_root: str) -> CalibratedNetwork:
    """The network of a checked bundle, ready to run."""
    _, files = read_verified(str(Path(bundle_root).resolve()))
    card = json.loads(files["configs/metadata.json"])["dictamen"]
    model = build(files["models/model.safetensors"], card)
    return CalibratedNetwork(model, card["questions"]).eval()
