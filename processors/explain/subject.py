"""What every explanation method is given: one finding on one film, and the model that made it.

Greys are of two kinds: a film's own (what a radiologist sees) and the network's (equalised).
Frames are made in the film's own greys and judged again from there, through the same door as any
film, so that no frame's probability rests on a shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.runtime import Bundle
from processors.vae.latent import Array, Row, evidence, margin_of
from processors.vae.normalise import Greys, network_input, resize_area

LONGEST = 512  # pixels of a frame's long side: sharp on a screen, small in a report


@dataclass(frozen=True, slots=True)
class Scale:
    """Margin to probability, and where the answers begin; from the card, per population."""

    temperature: float
    bias: float
    threshold: float
    band: tuple[float, float]
    goal: float

    def probability(self, margin: float) -> float:
        return float(1 / (1 + np.exp(-(margin / self.temperature + self.bias))))


def scale_of(population: Mapping[str, Any]) -> Scale:
    low, high = population["band"]
    return Scale(
        temperature=float(population["temperature"]),
        bias=float(population["bias"]),
        threshold=float(population["threshold"]),
        band=(float(low), float(high)),
        goal=float(population["goal"]),
    )


@dataclass(frozen=True, slots=True)
class Film:
    """One instance: its picture at most LONGEST px long (0..1), the network's input, the latent."""

    instance_uid: str
    picture: Array
    greys: Greys
    network: Array
    latent: Array


def read_film(instance_uid: str, pixels: Array, bundle: Bundle) -> Film:
    """Everything that explaining one instance needs; one pass of the encoder."""
    network, greys = network_input(pixels, bundle.size)
    ratio = min(1.0, LONGEST / max(pixels.shape))
    rows, columns = (max(1, round(side * ratio)) for side in pixels.shape)
    picture = np.clip(resize_area(pixels, rows, columns), 0, 1)
    return Film(instance_uid, picture, greys, network, bundle.encode(network[None])[0])


@dataclass(frozen=True, slots=True)
class Subject:
    """donors: averages without the finding; doubles: averages with it, for the control."""

    label: str
    film: Film
    bundle: Bundle
    row: Row
    scale: Scale
    donors: Array
    doubles: Array

    def probability(self, latent: Array) -> float:
        return self.scale.probability(margin_of(evidence(latent, self.row)))

    def judge(self, frames: NDArray[np.uint8]) -> list[float]:
        """The model's answers to frames (n, rows, columns), each read like a new film."""
        size = self.bundle.size
        inputs = [network_input(f.astype(np.float32) / 255, size)[0] for f in frames]
        return [self.probability(z) for z in self.bundle.encode(np.stack(inputs))]
