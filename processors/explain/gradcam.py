"""Grad-CAM: where the network's last feature map raises the answer, by its gradient.

In: a Subject. Out: one map, never negative: what lowers the answer is not in it. The only method
that reads the bundle's torch weights beside the networks that judge; a check says whether both
give the same answer. Never: MONAI's own post-processing, which turns the map upside down.
Source: Selvaraju et al., ICCV 2017; MONAI's implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from processors.analysis import Explanation
from processors.explain import faithfulness, maps
from processors.explain.subject import Subject
from processors.vae.latent import Array, margin

if TYPE_CHECKING:
    from processors.vae.bundle_network import MarginNetwork

NEEDS = ("monai", "safetensors", "torch")
COST_MS = 650
LAYER = "features"  # of `MarginNetwork`: what the trunk ends in, one place a cell
HOW = {
    "es": "Sobre el último mapa de rasgos ({side} x {side}); solo lo que sube la "
    "respuesta. Estabilidad: ruido de {noise} en la imagen.",
    "en": "On the last feature map ({side} x {side}); only what raises the answer. "
    "Stability: noise of {noise} on the image.",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """noise: deviation, in greys of 0..1, of what is added to the image; seed: of the noise."""

    noise: float = 0.0
    seed: int = 0


OTHERS = (Settings(0.02, 1), Settings(0.02, 2))


def _network(subject: Subject) -> MarginNetwork:
    from processors.vae.bundle_network import margin_network

    return margin_network(subject.bundle, subject.row)


def map_of(subject: Subject, settings: Settings = Settings()) -> Array:
    """(size, size), 0 where nothing raises the answer; in units of its log-odds."""
    import torch
    from monai.visualize import GradCAM

    image = subject.film.network
    if settings.noise:
        generator = np.random.default_rng(settings.seed)
        added = generator.normal(0, settings.noise, image.shape).astype(np.float32)
        image = np.clip(image + added, 0, 1)
    # identity: MONAI's default maps the strongest place to 0 and the weakest to 1
    cam = GradCAM(_network(subject), LAYER, postprocessing=lambda found: found)
    found = cam(torch.from_numpy(image)[None, None], class_idx=0)
    return np.asarray(found[0, 0].detach().numpy(), dtype=np.float32)


def _agreement(subject: Subject) -> float:
    import torch

    with torch.inference_mode():
        return float(_network(subject)(torch.from_numpy(subject.film.network)[None, None]))


def explain(subject: Subject, language: str) -> Explanation:
    """The map with its checks; stable if small noise on the image leaves it."""
    row, latent = subject.row, subject.film.latent
    same = faithfulness.agreement(_agreement(subject), margin(latent, row))
    others = [map_of(subject, each) for each in OTHERS]
    how = maps.told(HOW, side=latent.shape[-1], noise=OTHERS[0].noise)
    drawn = maps.Drawn("gradcam", map_of(subject), others, how, (same,))
    return maps.explained(subject, drawn, language)
