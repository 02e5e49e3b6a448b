"""What every explanation method is given: one finding on one film, and the model that made it.

Greys are of two kinds: a film's own (what a radiologist sees) and the network's (equalised).
Frames are made in the film's own greys and judged again from there, through the same door as any
film, so that no frame's probability rests on a shortcut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.explain.field import FIELDS, inside
from processors.runtime import Bundle
from processors.vae.latent import Array, Row, evidence, margin, probability, shares
from processors.vae.normalise import Greys, network_input, resize_area

CLEAR = 0.5  # log-odds below the band at which a counterfactual may stop
AT_ONCE = 64  # pictures in one pass of the encoder: bounds the memory
LONGEST = 360  # pixels of a frame's long side: as a report shows it


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What an independent network thought of an answer's strips, from the card.

    share: of those it gave the finding up for; gain: lower bound of that share less the share after
    random changes of equal size; least: the share that the bundle asks of itself.
    """

    share: float
    gain: float
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Where an answer begins, as probabilities: threshold and undetermined band; from the card.

    clear: log-odds of images that clearly lack it. None, as witness, in a card that does not know.
    """

    threshold: float
    band: tuple[float, float]
    clear: float | None = None
    witness: Witnessed | None = None

    @property
    def goal(self) -> float:
        """Log-odds at which a counterfactual may stop: clearly below the band."""
        low = min(max(self.band[0], 1e-6), 1 - 1e-6)
        return float(np.log(low / (1 - low))) - CLEAR

    @property
    def typical(self) -> float:
        """Log-odds of a counterfactual that looks as clearly absent as true cases do."""
        return self.goal if self.clear is None else min(self.goal, self.clear)


def scale_of(answer: Mapping[str, Any]) -> Scale:
    """The operating point of one answer of a card's question."""
    low, high = answer["band"]
    clear, told = answer.get("clear"), answer.get("witness")
    witness = Witnessed(**{k: float(v) for k, v in told.items()}) if told else None
    return Scale(float(answer["threshold"]), (float(low), float(high)), clear, witness)


@dataclass(frozen=True, slots=True)
class Film:
    """One instance: its picture at most LONGEST px long (0..1), the network's input, the latent.

    stored: rows and columns of the instance's own pixels; of a picture without an instance, none.
    """

    instance_uid: str
    picture: Array
    greys: Greys
    network: Array
    latent: Array
    stored: tuple[int, int] = (0, 0)


def read_film(instance_uid: str, pixels: Array, bundle: Bundle) -> Film:
    """Everything that explaining one instance needs; one pass of the encoder."""
    return read_films([(instance_uid, pixels, (pixels.shape[0], pixels.shape[1]))], bundle)[0]


def read_films(images: Iterable[tuple[str, Array, tuple[int, int]]], bundle: Bundle) -> list[Film]:
    """As `read_film`, of each (instance UID, pixels, rows and columns as stored); the encoder gets
    all inputs in batches."""
    read = [_unread(uid, pixels, stored, bundle.size) for uid, pixels, stored in images]
    latents = bundle.encode(np.stack([film.network for film in read]))
    return [replace(film, latent=latent) for film, latent in zip(read, latents, strict=True)]


def _unread(instance_uid: str, pixels: Array, stored: tuple[int, int], size: int) -> Film:
    """A film that the encoder has not seen; it takes the place of pixels that are no more held."""
    network, greys = network_input(pixels, size)
    ratio = min(1.0, LONGEST / max(pixels.shape))
    rows, columns = (max(1, round(side * ratio)) for side in pixels.shape)
    picture = np.clip(resize_area(pixels, rows, columns), 0, 1)
    return Film(instance_uid, picture, greys, network, np.empty(0, np.float32), stored)


def organ_of(film: Film, field: str) -> NDArray[np.bool_] | None:
    """Where the organ is, (size, size); nowhere when it is not found. field: a key of FIELDS.

    None without a field: then nothing is asked of where the evidence lies.
    """
    if not field:
        return None
    found = FIELDS[field](film.network)
    return np.zeros(film.network.shape, bool) if found is None else found


def in_organ(film: Film, row: Row, organ: NDArray[np.bool_] | None) -> float | None:
    """Part of the row's evidence in the organ; None where nothing is asked."""
    return None if organ is None else inside(shares(evidence(film.latent, row)), organ)


def donors_of(bundle: Bundle, question: int, answer: int) -> tuple[Array, Array]:
    """Averages (n, channels, g, g) of all other classes of the question, and of this answer's."""
    entry = bundle.card["questions"][question]
    classes = [each["label"] for each in entry["answers"]] + ["none"] * bool(entry["none"])
    held = [bundle.donors[f"latents_{entry['name']}_{c}"].astype(np.float32) for c in classes]
    return np.concatenate([h for k, h in enumerate(held) if k != answer]), held[answer]


@dataclass(frozen=True, slots=True)
class Subject:
    """donors: averages without the finding; doubles: averages with it, for the control.

    inside: part of the evidence that lies in the organ; None where the card names no organ.
    """

    label: str
    film: Film
    bundle: Bundle
    row: Row
    scale: Scale
    donors: Array
    doubles: Array
    inside: float | None = None

    def judge(self, frames: NDArray[np.uint8]) -> list[float]:
        """The model's answers to frames (n, rows, columns), each read like a new film."""
        size = self.bundle.size
        inputs = [network_input(f.astype(np.float32) / 255, size)[0] for f in frames]
        return [probability(z, self.row) for z in self.bundle.encode(np.stack(inputs))]

    def margins(self, inputs: Array) -> NDArray[np.float64]:
        """Calibrated log-odds (n,) of this answer for network inputs (n, size, size), 0..1."""
        parts = [inputs[i : i + AT_ONCE] for i in range(0, len(inputs), AT_ONCE)]
        found = [margin(z, self.row) for part in parts for z in self.bundle.encode(part)]
        return np.array(found)
