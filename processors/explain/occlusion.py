"""Occlusion: how far the answer falls when a grey patch covers each place in turn.

In: a Subject. Out: one signed map in log-odds: positive where covering lowers the answer, negative
where covering raises it. Every picture goes through the subject's own encoder and head. Never:
MONAI's defaults of patch, overlap, fill or activation, which were changed before.
Source: Zeiler & Fergus, ECCV 2014; MONAI's implementation.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from processors.analysis import Explanation
from processors.explain import maps
from processors.explain.subject import AT_ONCE, Subject
from processors.vae.latent import Array

NEEDS = ("monai", "torch")
COST_MS = 2700
PATCH = 10 / 96  # side of the patch, as part of the image's
HOW = {
    "es": "Parche de {patch} x {patch} píxeles de {size}, paso {step}, gris medio de la "
    "imagen. Estabilidad: parches de {others}.",
    "en": "Patch of {patch} x {patch} pixels of {size}, step {step}, the image's mean "
    "grey. Stability: patches of {others}.",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """patch: its side as part of the image's; overlap: part of it that the next one shares."""

    patch: float = PATCH
    overlap: float = 0.5

    def pixels(self, size: int) -> tuple[int, int]:
        """Patch and step in pixels; the step is MONAI's, of a window that slides."""
        side = max(2, round(self.patch * size))
        return side, max(1, int(side * (1 - self.overlap)))


OTHERS = (Settings(0.75 * PATCH), Settings(1.5 * PATCH))


def map_of(subject: Subject, settings: Settings = Settings()) -> Array:
    """(size, size), log-odds of the film less those with the place covered; overlaps averaged."""
    import torch
    from monai.visualize import OcclusionSensitivity

    class Door(torch.nn.Module):
        """What judges, as MONAI asks for it: (n, 1, size, size) in, (n, 1) log-odds out."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(subject.margins(images[:, 0].numpy()).astype(np.float32))[
                :, None
            ]

    image = subject.film.network
    side, _ = settings.pixels(image.shape[0])
    covered = OcclusionSensitivity(
        Door(),
        mask_size=side,
        n_batch=AT_ONCE,
        verbose=False,
        mode=float(image.mean()),
        overlap=settings.overlap,
        activate=False,
    )
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MONAI indexes with lists, torch warns of it
        found, _ = covered(torch.from_numpy(image)[None, None])
    return np.asarray(subject.margins(image[None])[0] - found[0, 0].numpy(), dtype=np.float32)


def explain(subject: Subject, language: str) -> Explanation:
    """The map with its checks; stable if smaller and larger patches leave it."""
    size = subject.film.network.shape[0]
    patch, step = Settings().pixels(size)
    sides = ", ".join(str(each.pixels(size)[0]) for each in OTHERS)
    how = maps.told(HOW, patch=patch, step=step, size=size, others=sides)
    others = [map_of(subject, each) for each in OTHERS]
    return maps.explained(subject, maps.Drawn("occlusion", map_of(subject), others, how), language)
