"""Whether a picture gives a training film away: nearer to one than a stranger's film is.

Three measures against every film that fitted, each compared with what films of patients who did
not fit reach: distance of small copies, that distance against the next six films (a copy stands
out from its neighbours; Carlini et al., arXiv:2301.13188), and a 64-bit perceptual hash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from processors.vae.normalise import Image

SIDE = 32  # pixels of the small copies
NEIGHBOURS = 6
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Nearness:
    """Of each asked picture to its nearest film; the smaller, the more alike. All (n,)."""

    distance: Numbers
    ratio: Numbers
    bits: Numbers


def _small(pictures: Image) -> Numbers:
    count, size = len(pictures), pictures.shape[-1]
    side = min(SIDE, size)
    blocks = pictures.reshape(count, side, size // side, side, size // side)
    return np.asarray(blocks.mean((2, 4)), dtype=np.float64)


def _hashes(small: Numbers) -> NDArray[np.bool_]:
    """pHash: signs of the 8 x 8 lowest cosine terms about their median, without the mean."""
    terms = dctn(small, axes=(1, 2))[:, :8, :8].reshape(len(small), -1)[:, 1:]
    return np.asarray(terms > np.median(terms, axis=1, keepdims=True), dtype=np.bool_)


def nearness(asked: Image, films: Image) -> Nearness:
    """asked (n, s, s) and films (m, s, s), both 0..1."""
    ours, theirs = _small(asked), _small(films)
    flat, known = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    square = (flat**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * flat @ known.T
    ordered = np.sort(np.sqrt(np.maximum(square, 0)), axis=1)
    rest = ordered[:, 1 : 1 + NEIGHBOURS].mean(1)
    differing = _hashes(ours)[:, None] != _hashes(theirs)[None]
    return Nearness(ordered[:, 0], ordered[:, 0] / rest, differing.sum(2).min(1))


def harmless(asked: Image, films: Image, strangers: Image) -> NDArray[np.bool_]:
    """Which pictures are by no measure nearer to a film than the nearest stranger's film is."""
    ours, theirs = nearness(asked, films), nearness(strangers, films)
    good = ours.distance >= theirs.distance.min()
    good &= ours.ratio >= theirs.ratio.min()
    good &= ours.bits >= theirs.bits.min()
    return np.asarray(good, dtype=np.bool_)
