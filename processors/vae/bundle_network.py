"""The bundle as one torch network for `python -m monai.bundle run`: image in, probabilities out.

Output (batch, rows): each row's calibrated probability, in the order of the card's populations.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from processors.runtime import read_verified
from processors.vae.device import build
from processors.vae.network import SpatialVAE


class CalibratedNetwork(nn.Module):
    """Network and calibration of a bundle."""

    def __init__(self, model: SpatialVAE, temperature: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.model = model
        self.temperature = nn.Parameter(temperature, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        mean, _ = self.model.encode(image)
        return torch.sigmoid(self.model.margins(mean) / self.temperature + self.bias)


def load_network(bundle_root: str) -> CalibratedNetwork:
    """The network of a checked bundle, ready to run."""
    _, files = read_verified(str(Path(bundle_root).resolve()))
    card = json.loads(files["configs/metadata.json"])["dictamen"]
    numbers = {
        key: torch.tensor([float(p[key]) for p in card["populations"]])
        for key in ("temperature", "bias")
    }
    model = build(files["models/model.safetensors"], card)
    return CalibratedNetwork(model, numbers["temperature"], numbers["bias"]).eval()
