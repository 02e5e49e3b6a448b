"""Donors of counterfactuals: averages over at least five patients, never one patient's latent.

A decoder turns a latent back into a picture, so that a single patient's latent in a shipped file
would be that patient's film. Groups are disjoint, hold one film per patient, and are made of
films that look alike, because the mean of unlike films is a blur that no cell can be taken from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processors.vae.latent import Array, neutral, pooled

GROUP = 6  # films, each of another patient; the rule is >= 5


def grouped(features: Array, patients: Sequence[str], size: int = GROUP) -> list[NDArray[np.intp]]:
    """Disjoint groups of `size` alike films of different patients; leftovers are dropped."""
    _, owner = np.unique(np.array(patients), return_inverse=True)
    free = np.ones(len(features), bool)
    centre = features.mean(0)
    groups = []
    for seed in np.argsort(-((features - centre) ** 2).sum(1), kind="stable"):
        if not free[seed]:
            continue
        gap = ((features - features[seed]) ** 2).sum(1)
        members: list[int] = []
        for candidate in np.argsort(gap, kind="stable"):
            if free[candidate] and owner[candidate] not in owner[members]:
                members.append(int(candidate))
            if len(members) == size:
                break
        if len(members) == size:
            groups.append(np.array(members))
            free[members] = False
    return groups


def _sites(latents: Array, row: Array) -> Array:
    """Where each image's evidence for one answer lies: (n, cells) shares, coarse."""
    cells = np.einsum("ncyx,c->nyx", latents, row)
    raised = np.exp(cells - cells.max((1, 2), keepdims=True))
    return pooled((raised / raised.sum((1, 2), keepdims=True))[:, None])


def average(
    latents: Array, patients: Sequence[str], weight: Array, answer: int | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Prototypes (n, channels, g, g), and each one's number of patients.

    weight (answers, channels): the question's rows of the head, left out of what makes images
    alike. answer: the row of images that have a finding: they are alike when they have it in the
    same place too, since the mean of findings in different places has none. The tightest groups
    come first: they blur least.
    """
    features = pooled(neutral(latents, weight))
    if answer is not None:
        sites = _sites(latents, weight[answer])
        even = np.sqrt(features.var(0).sum() / max(float(sites.var(0).sum()), 1e-12))
        features = np.concatenate([features, sites * np.float32(even)], 1)
    groups = grouped(features, patients)
    if not groups:
        return latents[:0], np.zeros(0, np.int64)
    spread = [float(features[g].var(0).mean()) for g in groups]
    kept = [groups[i] for i in np.argsort(spread, kind="stable")]
    means = np.stack([latents[g].mean(0) for g in kept])
    return means.astype(np.float32), np.array([len(g) for g in kept])


def noise(log_variances: Array) -> Array:
    """Posterior deviation of a class, averaged over its films: (channels, g, g)."""
    return np.asarray(np.sqrt(np.exp(log_variances).mean(0)), dtype=np.float32)
