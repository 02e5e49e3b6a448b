"""Less of a finding by forgetting: the deciding region is erased and predicted from around it.

The cells that hold most of the evidence, and their neighbours, are filled with the grey of their
rim; the denoising decoder, which learnt to fill holes, says what it expects there instead. To be
measured beside the exchange of cells, not offered in `node.yaml`.
In: a Subject. Out: the cells and the change in the network's greys. Never: a donor, so nothing of
another patient; a word on whether the answer was changed, which re-encoding has to show.
Sources: counterfactuals by infilling, Chang et al. ICLR 2019; denoising, Vincent et al. JMLR 2010.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, label

from processors.explain.subject import Subject
from processors.vae.latent import Array, evidence, margin, shares

HELD = 0.8  # share of the evidence that the erased cells hold, before their neighbours are added
ROUNDS = 2  # of prediction: the first sees grey in the hole, the next what was predicted there
RIM = 4  # pixels around the hole that give its grey
EDGE = 5  # pixels over which the change grows from the hole's border inwards
Mask = NDArray[np.bool_]
SQUARE = np.ones((3, 3), bool)


def deciding(cells: Array) -> Mask:
    """The fewest cells that hold HELD of the evidence (g, g), and their eight neighbours."""
    share = shares(cells).ravel()
    order = np.argsort(-share, kind="stable")
    count = int(np.searchsorted(np.cumsum(share[order], dtype=np.float64), HELD)) + 1
    taken = np.zeros(share.size, bool)
    taken[order[:count]] = True
    return np.asarray(binary_dilation(taken.reshape(cells.shape), SQUARE), dtype=np.bool_)


def greyed(image: Array, hole: Mask) -> Array:
    """Every connected part of the hole with the mean grey of its own rim; all hidden: 0.5."""
    parts, count = label(hole, SQUARE)
    filled = image.copy()
    for number in range(1, count + 1):
        part = parts == number
        rim = binary_dilation(part, SQUARE, iterations=RIM) & ~hole
        filled[part] = image[rim].mean() if rim.any() else 0.5
    return filled


def predicted(subject: Subject, hole: Mask) -> Array:
    """The network's input with the hole as the decoder expects it, (size, size), 0..1."""
    whole = subject.film.network
    seen = greyed(whole, hole)
    for _ in range(ROUNDS):
        decoded = subject.bundle.decode(subject.bundle.encode(seen[None]))[0]
        seen = np.where(hole, decoded, whole)
    return np.asarray(seen, dtype=np.float32)


def less(subject: Subject, turns: int = 1) -> tuple[Mask, Array]:
    """The erased cells (g, g) and the change (size, size), 0 outside of them.

    turns: how often cells may be erased. With more than one, the predicted picture is read again,
    and while the answer is not below the goal, what holds its evidence now is erased as well.
    """
    film, row = subject.film, subject.row
    taken, latent, seen = np.zeros(film.latent.shape[1:], bool), film.latent, film.network
    for _ in range(turns):
        if taken.all() or margin(latent, row) <= subject.scale.goal:
            break
        taken = taken | deciding(evidence(latent, row))
        seen = predicted(subject, _pixels(taken, film.network))
        latent = subject.bundle.encode(seen[None])[0]
    hole = _pixels(taken, film.network)
    soft = np.clip(distance_transform_edt(hole) / EDGE, 0, 1) if not hole.all() else 1.0
    return taken, np.asarray((seen - film.network) * soft, dtype=np.float32)


def _pixels(taken: Mask, image: Array) -> Mask:
    factor = image.shape[0] // taken.shape[0]
    return np.asarray(np.kron(taken, np.ones((factor, factor), bool)), dtype=np.bool_)
