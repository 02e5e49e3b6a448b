"""Less of a finding by forgetting: the deciding region is erased and predicted from around it.

The cells that hold most of the evidence, and their neighbours, are filled smoothly from their rim;
the denoising decoder, which learnt to fill holes, says what it expects there instead, and what it
gets wrong at the rim is taken away all the way in. To be measured beside the exchange of cells, not
offered in `node.yaml`.
In: a Subject. Out: the cells and the change in the network's greys. Never: a donor, so nothing of
another patient; a word on whether the answer was changed, which re-encoding has to show.
Sources: counterfactuals by infilling, Chang et al. ICLR 2019; denoising, Vincent et al. JMLR 2010;
a patch that meets its rim, Perez et al., ACM Trans Graphics 22:313, 2003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.sparse import lil_array
from scipy.sparse.linalg import spsolve

from processors.explain.subject import Subject
from processors.runtime import Bundle
from processors.vae.latent import Array, evidence, margin, shares

HELD = 0.8  # share of the evidence that the erased cells hold, before their neighbours are added
ROUNDS = 2  # of prediction: the first sees a smooth hole, the next what was predicted there
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


def smooth(image: Array, hole: Mask) -> Array:
    """The hole filled so that each of its pixels is the mean of its four neighbours (Laplace's
    equation, the rim given); all hidden: 0.5."""
    if hole.all():
        return np.full_like(image, 0.5)
    number = np.full(hole.shape, -1)
    rows, columns = np.nonzero(hole)
    number[hole] = np.arange(len(rows))
    known, neighbours = np.zeros(len(rows)), np.zeros(len(rows))
    matrix = lil_array((len(rows), len(rows)))
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y, x = rows + down, columns + across
        on = np.flatnonzero((y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1]))
        neighbours[on] += 1
        other = number[y[on], x[on]]
        seen = on[other < 0]
        known[seen] += image[y[seen], x[seen]]
        matrix[on[other >= 0], other[other >= 0]] = -1
    matrix.setdiag(neighbours)
    filled = image.copy()
    filled[hole] = spsolve(matrix.tocsc(), known)
    return filled


def filled(bundle: Bundle, image: Array, hole: Mask) -> Array:
    """The network's input (size, size) with the hole as the decoder expects it, 0..1."""
    seen = smooth(image, hole)
    for _ in range(ROUNDS):
        decoded = bundle.decode(bundle.encode(seen[None]))[0]
        seen = np.where(hole, decoded + smooth(image - decoded, hole), image)
    return np.clip(seen, 0, 1)


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
        seen = filled(subject.bundle, film.network, _pixels(taken, film.network))
        latent = subject.bundle.encode(seen[None])[0]
    hole = _pixels(taken, film.network)
    soft = np.clip(distance_transform_edt(hole) / EDGE, 0, 1) if not hole.all() else 1.0
    return taken, np.asarray((seen - film.network) * soft, dtype=np.float32)


def _pixels(taken: Mask, image: Array) -> Mask:
    factor = image.shape[0] // taken.shape[0]
    return np.asarray(np.kron(taken, np.ones((factor, factor), bool)), dtype=np.bool_)
