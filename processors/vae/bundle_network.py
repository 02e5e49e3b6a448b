"""The bundle as one torch network: image in, probabilities or the log-odds of one answer out.

`CalibratedNetwork` is for `python -m monai.bundle run`: (batch, answers), the calibrated
probability of every answer, in the card's order. `MarginNetwork` is for what needs gradients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from processors.runtime import Bundle, WeightsCorrupt, read_verified, weights_digest
from processors.vae.device import build
from processors.vae.latent import SILENT, Row
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


class MarginNetwork(nn.Module):
    """Calibrated log-odds (batch, 1) of one answer: what `latent.margin` says, with gradients.

    features: the trunk's last map as a layer of its own, so that hooks on it end with this object
    and not with the weights, which all share.
    """

    def __init__(self, model: SpatialVAE, row: Row) -> None:
        super().__init__()
        self.trunk, self.to_latent = model.trunk, model.to_latent
        self.features = nn.Identity()
        self._row = row
        self._weight, self._bias, self._offset = (
            torch.from_numpy(given) for given in (row.weight, row.bias, row.offset)
        )

    def forward(self, image: Tensor) -> Tensor:
        mean = self.to_latent(self.features(self.trunk(image))).chunk(2, 1)[0]
        terms = torch.einsum("bcyx,rc->bryx", mean, self._weight) + self._bias[:, None, None]
        edge, grid = self._row.frame, terms.shape[-1]
        inner = torch.zeros(grid, grid, dtype=torch.bool)
        inner[edge : grid - edge, edge : grid - edge] = True
        totals = torch.logsumexp(torch.where(inner, terms, SILENT).flatten(2), 2)
        logits = totals / self._row.temperature + self._offset
        rivals = F.pad(logits[:, 1:], (0, int(self._row.none)))
        return logits[:, :1] - torch.logsumexp(rivals, 1, keepdim=True)


@lru_cache(maxsize=4)
def _opened(folder: Path, digest: str) -> SpatialVAE:
    _, files = read_verified(str(folder))
    if weights_digest(files) != digest:
        raise WeightsCorrupt(f"The weights in {folder} changed since it was opened.")
    card = json.loads(files["configs/metadata.json"])["dictamen"]
    with torch.inference_mode(False):  # whoever asks first: they are kept, and need gradients
        return build(files["models/model.safetensors"], card)


def margin_network(bundle: Bundle, row: Row) -> MarginNetwork:
    """One answer of an opened bundle, from the very weights that it was opened with.

    Raises BundleError where they are no longer there.
    """
    return MarginNetwork(_opened(bundle.folder, bundle.algorithm.sha256), row).eval()
