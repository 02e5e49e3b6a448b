"""Judges one picture by its pixels: is there anything on it, and is it what the model knows.

Everything is brought to 64 x 64 pixels without its constant margins and stretched to the same
range, so that neither size, sharpness, border nor shape of the film can be the rule. A small
convolutional network (weights in the bundle's gate file, run with numpy alone) then gives a
probability for each class; the distance of its features from those of accepted pictures says if
it has ever seen anything like it (Mahalanobis distance: Lee et al., arXiv:1807.03888).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from processors.analysis import BundleError, Pixels

SIDE = 64  # pixels of the network's input
LOOK = 256  # pixels of the copy in which margins are found
MARGIN = 0.04  # a margin's line varies by less, and is this near to black or white
DEEPEST_MARGIN = 0.4  # of the side; more is a picture of something small, not a margin
FLAT = 0.02  # spread (percentile 1 to 99) below which a picture is one grey
COARSE = 16  # pixels at which a bare exposure is told from a picture
SMOOTH = 0.97  # share of variance that a quadratic surface explains in a bare exposure
NOISY = 0.5  # correlation of neighbours at 64 pixels below which there is only noise


@dataclass(frozen=True, slots=True)
class Sight:
    """What the network says: a probability for each class, and how strange the picture is."""

    probabilities: dict[str, float]
    distance: float


@dataclass(frozen=True, slots=True)
class Weights:
    """The network of a gate file: layers in order, its classes, and where accepted pictures lie.

    classes: the first one is the accepted class. least: its smallest probability that passes;
    farthest: the largest distance that does.
    """

    convolutions: tuple[tuple[Pixels, Pixels], ...]
    hidden: tuple[Pixels, Pixels]
    output: tuple[Pixels, Pixels]
    classes: tuple[str, ...]
    centre: Pixels
    precision: Pixels
    least: float
    farthest: float


def image_of(picture: Pixels | Image.Image) -> Image.Image:
    """The picture as Pillow resamples it; made once, everything here takes it: a film has 20 MB."""
    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))


def small(picture: Pixels | Image.Image) -> Pixels:
    """(64, 64) float32 in 0..1 of a rendered picture: margins off, resampled, stretched."""
    return stretched(resized(without_margins(picture), SIDE))


def resized(picture: Pixels | Image.Image, side: int) -> Pixels:
    """(side, side) by area averaging; the aspect ratio is given up on purpose."""
    image = image_of(picture).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


def stretched(picture: Pixels) -> Pixels:
    low, high = np.percentile(picture, (1, 99))
    spread = max(float(high - low), 1e-6)
    shown = (picture - np.float32(low)) / np.float32(spread)
    return np.asarray(np.clip(shown, 0.0, 1.0), dtype=np.float32)


def without_margins(picture: Pixels | Image.Image) -> Image.Image:
    """The picture without constant black or white lines at its four sides."""
    image = image_of(picture)
    look = resized(image, LOOK)
    rows, columns = _kept(look), _kept(look.T)
    high, wide = image.height / LOOK, image.width / LOOK
    left, right = int(columns[0] * wide), max(int(np.ceil(columns[1] * wide)), 1)
    upper, lower = int(rows[0] * high), max(int(np.ceil(rows[1] * high)), 1)
    whole = (right - left, lower - upper) == image.size
    if whole or min(right - left, lower - upper) < 8:
        return image
    return image.crop((left, upper, right, lower))


def is_blank(picture: Pixels | Image.Image) -> bool:
    """Nothing on it: one grey, a bare exposure (a smooth slope) or noise alone."""
    grey = resized(picture, SIDE)
    low, high = np.percentile(grey, (1, 99))
    if high - low < FLAT:
        return True
    centred = grey - grey.mean()
    variance = float(np.mean(centred**2))
    beside = float(np.mean(centred[:, 1:] * centred[:, :-1])) / variance
    below = float(np.mean(centred[1:] * centred[:-1])) / variance
    # the slope is sought where the noise of a bare exposure is averaged away
    return min(beside, below) < NOISY or _explained_by_slope(resized(grey, COARSE)) > SMOOTH


def see(picture: Pixels | Image.Image, weights: Weights) -> Sight:
    """The network's opinion of a rendered picture."""
    seen = features(picture, weights)
    scores = weights.output[0] @ seen + weights.output[1]
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    away = seen - weights.centre
    distance = float(np.sqrt(max(float(away @ weights.precision @ away), 0.0)))
    return Sight(dict(zip(weights.classes, map(float, chances), strict=True)), distance)


def passes(sight: Sight, weights: Weights) -> bool:
    """Whether the picture may be taken for one of the accepted class."""
    likely = sight.probabilities[weights.classes[0]] >= weights.least
    return likely and sight.distance <= weights.farthest


def features(picture: Pixels | Image.Image, weights: Weights) -> Pixels:
    """The hidden layer's answer to a rendered picture."""
    values = (small(picture) - np.float32(0.5))[None]
    for kernel, bias in weights.convolutions:
        values = _halving_convolution(values, kernel, bias)
    seen: Pixels = np.maximum(weights.hidden[0] @ values.ravel() + weights.hidden[1], 0.0)
    return seen


def with_terms(weights: Weights, least: float | None, farthest: float | None) -> Weights:
    """The weights with the thresholds of a card, where it states any."""
    return replace(
        weights,
        least=weights.least if least is None else least,
        farthest=weights.farthest if farthest is None else farthest,
    )


@cache  # what was read at the start is used to the end
def load_weights(file: Path) -> Weights:
    """The gate file of a bundle; no pickled object in it is ever read. Raises BundleError."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            held: dict[str, NDArray[Any]] = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise BundleError(
            f"The bundle has no gate file {file.name}, which its card has pixels asked by.",
            then="Train one (`python -m processors.training.gate`), take the shipped one of the "
            'same organ, or set "file" of the card\'s gate to "": headers alone are asked.',
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"The gate file {file.name} cannot be read.") from error
    try:
        return _weights(held)
    except KeyError as error:
        raise BundleError(f"The gate file {file.name} lacks {error}.") from error


def _weights(held: dict[str, NDArray[Any]]) -> Weights:
    def pair(name: str) -> tuple[Pixels, Pixels]:
        return held[f"{name}_w"].astype(np.float32), held[f"{name}_b"].astype(np.float32)

    layers = sorted(name[:-2] for name in held if name.startswith("conv") and name.endswith("_w"))
    return Weights(
        convolutions=tuple(pair(name) for name in layers),
        hidden=pair("hidden"),
        output=pair("output"),
        classes=tuple(str(name) for name in held["classes"]),
        centre=held["centre"].astype(np.float32),
        precision=held["precision"].astype(np.float32),
        least=float(held["least"] if "least" in held else held["least_frontal"]),
        farthest=float(held["farthest"]),
    )


def _halving_convolution(values: Pixels, kernel: Pixels, bias: Pixels) -> Pixels:
    """Stride 2, zero padding, ReLU. values: (in, h, w); kernel: (out, in, k, k)."""
    edge = kernel.shape[-1] // 2
    padded = np.pad(values, ((0, 0), (edge, edge), (edge, edge)))
    windows = sliding_window_view(padded, kernel.shape[-2:], axis=(1, 2))[:, ::2, ::2]
    sums = np.tensordot(kernel, windows, axes=((1, 2, 3), (0, 3, 4)))
    result: Pixels = np.maximum(sums + bias[:, None, None], 0.0)
    return result


def _kept(look: Pixels) -> tuple[int, int]:
    """First and last row that is no margin."""
    spread = look.max(axis=1) - look.min(axis=1)
    level = look.mean(axis=1)
    margin = (spread < MARGIN) & ((level < MARGIN) | (level > 1 - MARGIN))
    deepest = int(len(look) * DEEPEST_MARGIN)
    first = int(np.argmin(margin[:deepest])) if not margin[:deepest].all() else deepest
    tail = margin[::-1][:deepest]
    last = len(look) - (int(np.argmin(tail)) if not tail.all() else deepest)
    return first, last


def _explained_by_slope(picture: Pixels) -> float:
    along = np.linspace(-1.0, 1.0, len(picture))
    y, x = np.meshgrid(along, along, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=-1).reshape(-1, 6)
    flat = picture.ravel().astype(np.float64) - float(picture.mean())
    solution, *_ = np.linalg.lstsq(terms, flat, rcond=None)
    return 1.0 - float(np.sum((flat - terms @ solution) ** 2) / np.sum(flat**2))
