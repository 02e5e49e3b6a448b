"""The networks in torch, for a GPU; strict about names and shapes of the weights.

Loaded from the bytes of a safetensors file, which cannot hold code. Imported only when a bundle
is opened on a GPU (or by training), never on the CPU path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load

from processors.runtime import WeightsShape
from processors.torch_trouble import told
from processors.vae.latent import Array
from processors.vae.network import Shape, SpatialVAE


def build(weights: bytes, card: Mapping[str, Any]) -> SpatialVAE:
    """The network of a card with these weights; WeightsShape when they do not fit exactly."""
    widths = card["widths"]
    shape = Shape(
        questions=tuple((len(q["answers"]), bool(q["none"])) for q in card["questions"]),
        size=int(card["size"]),
        channels=int(card["channels"]),
        narrow=int(widths["narrow"]),
        wide=int(widths["wide"]),
        frame=int(card["frame"]),
    )
    model = SpatialVAE(shape)
    try:
        model.load_state_dict(load(weights), strict=True)
    except (RuntimeError, ValueError) as error:
        raise WeightsShape("model.safetensors is of another architecture than the card.") from error
    return model.eval()


class TorchNetworks:
    """Encoder and decoder on a torch device. Raises DeviceFull, DeviceLost."""

    def __init__(self, weights: bytes, card: Mapping[str, Any], device: str) -> None:
        self._device = torch.device(device)
        with told(self._device):
            self._model = build(weights, card).to(self._device)

    def encode(self, images: Array) -> Array:
        return self._run(images, encode=True)

    def decode(self, latents: Array) -> Array:
        return self._run(latents, encode=False)

    @torch.inference_mode()
    def _run(self, values: Array, encode: bool) -> Array:
        with told(self._device):
            tensor = torch.from_numpy(values).to(self._device)
            result = self._model.encode(tensor)[0] if encode else self._model.decode(tensor)
            return np.asarray(result.cpu().numpy())
