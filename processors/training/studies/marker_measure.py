"""Does the marker decide, and how much of each map lies on it?

In: a bundle, films that trained nothing, a place for the marker on each. Out: one Trial per model,
and the summary of one or several with 95 % intervals by patient. Shares follow the pilot: absolute
mass of the map inside the marker, grown by two pixels, over that of the whole image; of a clean
model also at the same place before the marker was pasted there, because evidence that lay there
anyway is no error of the map. Never: a share of a model whose answer the marker does not decide,
because there is nothing to be found then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter

from processors.explain import compare
from processors.explain.subject import Film, Subject
from processors.explain.traversal import changes, less
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.evaluate import score
from processors.training.explained import subject_of
from processors.training.measure import area, estimate
from processors.training.probes import SAME
from processors.training.studies.marker_models import positive
from processors.training.studies.marker_planting import Masks, planted
from processors.vae.latent import Array, evidence, evidence_weighted, traverse

Numbers = NDArray[np.float64]
GROWN = 2  # pixels around the marker that still count as it: cells are 8 px wide
SMOOTH = 5  # pixels of the window in which the map's maximum is sought
DECIDES = 0.5  # share of the negatives that the marker must turn
MOST = 10  # films on which slow methods are measured


def near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The marker and what still counts as it."""
    return np.asarray(binary_dilation(mask, iterations=GROWN))


def share_inside(found: Array, inside: NDArray[np.bool_]) -> float:
    """Part of a map's absolute mass inside; 0 of an empty map, which points nowhere."""
    mass = np.abs(found).astype(np.float64)
    return float(mass[inside].sum() / max(float(mass.sum()), 1e-12))


def points_inside(found: Array, inside: NDArray[np.bool_]) -> bool:
    """Whether the smoothed map is largest inside."""
    smooth = uniform_filter(np.abs(found), SMOOTH)
    return bool(smooth.max() > 0 and inside.flat[int(smooth.argmax())])


def maps(subject: Subject) -> dict[str, Array]:
    """What the product shows (exchange), the closed-form move weighted alike, and the exchange's
    raw difference, each (size, size)."""
    film, row = subject.film, subject.row
    found, change = less(subject)
    moved = traverse(film.latent, row, subject.scale.goal)
    before = evidence(film.latent, row)
    shift = changes(subject, [moved])[0]
    return {
        "exchange": evidence_weighted(before, evidence(found.latent, row), change),
        "move": evidence_weighted(before, evidence(moved, row), shift),
        "difference": change,
    }


@dataclass(frozen=True, slots=True)
class Trial:
    """One model's answers to the same films; arrays are (n,).

    with_marker, without: probabilities of all films with their marker and bare. shares, points: per
    map; NaN where nothing was explained, which is wherever the positive answer was not given.
    bare: shares at the same places of films without marker, where these too are called positive.
    """

    threshold: float
    with_marker: Numbers
    without: Numbers
    shares: Mapping[str, Numbers]
    points: Mapping[str, Numbers]
    bare: Mapping[str, Numbers]


def trial(
    bundle: Bundle, films: ImageSet, masks: Masks, kind: str, others: Sequence[str] = ()
) -> Trial:
    """Every film with and without its marker; explained are the positive ones, marked, that are
    called so. others: methods of processors.explain whose maps are measured too, of the first MOST
    films alone, because some take a second each."""
    marked = planted(films, masks, np.ones(len(masks), bool), kind)
    threshold = float(bundle.card["questions"][0]["answers"][0]["threshold"])
    with_marker, without = (score(bundle, each).probabilities[:, 0] for each in (marked, films))
    shares: dict[str, Numbers] = {}
    points: dict[str, Numbers] = {}
    bare: dict[str, Numbers] = {}
    for count, i in enumerate(np.flatnonzero(positive(films) & (with_marker >= threshold))):
        inside, subject = near(masks[i]), _subject(bundle, marked, int(i))
        more = compare.maps(subject, others if count < MOST else ())
        for name, found in {**maps(subject), **more}.items():
            _row(shares, name, len(masks))[i] = share_inside(found, inside)
            _row(points, name, len(masks))[i] = points_inside(found, inside)
        if without[i] >= threshold:
            for name, found in maps(_subject(bundle, films, int(i))).items():
                _row(bare, name, len(masks))[i] = share_inside(found, inside)
    return Trial(threshold, with_marker, without, shares, points, bare)


def _row(held: dict[str, Numbers], name: str, count: int) -> Numbers:
    return held.setdefault(name, np.full(count, np.nan))


def _subject(bundle: Bundle, images: ImageSet, i: int) -> Subject:
    """The positive answer on one image, in the network's greys."""
    network = images.inputs[i].astype(np.float32) / np.float32(255)
    latent = bundle.encode(network[None])[0]
    return subject_of(bundle, Film(images.samples[i].path, network, SAME, network, latent), (0, 0))


@dataclass(frozen=True, slots=True)
class Asked:
    """The films of all trials: patients, positive (n,), which of them carry the marker when it is
    planted as in training (n,) and when it has gone over to the other answer (n,), and the marker's
    part of each image's area (n,)."""

    patients: tuple[str, ...]
    positive: NDArray[np.bool_]
    carriers: NDArray[np.bool_]
    swapped: NDArray[np.bool_]
    fair: Numbers


def _mean(values: Numbers, patients: Sequence[str]) -> dict[str, float]:
    """Mean over trials and films (trials, n) without the NaN, by patient."""
    kept = np.flatnonzero(np.isfinite(values).any(0))
    held = values[:, kept]
    names = [patients[int(k)] for k in kept]
    return estimate(lambda i: float(np.nanmean(held[:, i])), names).record()


def _auc(scores: Sequence[Numbers], asked: Asked) -> dict[str, float]:
    """Mean over the trials, (n,) each: scores of two models have no common order."""
    labels = asked.positive.astype(np.int64)

    def mean(i: NDArray[np.intp]) -> float:
        return float(np.mean([area(labels[i], each[i]) for each in scores]))

    return estimate(mean, asked.patients, labels).record()


def _aucs(trials: Sequence[Trial], asked: Asked) -> dict[str, dict[str, float]]:
    """As planted in training, with the marker on the other answer instead, and without it."""
    return {
        "as_planted": _auc([np.where(asked.carriers, *_both(t)) for t in trials], asked),
        "swapped": _auc([np.where(asked.swapped, *_both(t)) for t in trials], asked),
        "without_marker": _auc([t.without for t in trials], asked),
    }


def _both(one: Trial) -> tuple[Numbers, Numbers]:
    return one.with_marker, one.without


def turned(one: Trial, asked: Asked) -> float:
    """Share of the negatives called positive with the marker, less that without."""
    well = ~asked.positive
    gained = (one.with_marker >= one.threshold).mean(where=well)
    return float(gained - (one.without >= one.threshold).mean(where=well))


def _called(trials: Sequence[Trial], asked: Asked) -> Iterator[tuple[str, dict[str, float]]]:
    well = np.flatnonzero(~asked.positive)
    names = [asked.patients[k] for k in well]
    calls = {
        "with_marker": np.array([t.with_marker >= t.threshold for t in trials]),
        "without": np.array([t.without >= t.threshold for t in trials]),
    }
    for name, called in calls.items():
        yield name, _mean(called[:, well].astype(np.float64), names)


def summary(trials: Sequence[Trial], asked: Asked, control: bool) -> dict[str, Any]:
    """One model's figures, or several models' pooled. control: of clean models, whose maps are
    measured although, and because, the marker does not decide."""
    found: dict[str, Any] = {
        "auc": _aucs(trials, asked),
        "negatives_called_positive": dict(_called(trials, asked)),
        "decides": all(turned(t, asked) >= DECIDES for t in trials),
    }
    return found | (_maps(trials, asked, control) if control or found["decides"] else {})


def _maps(trials: Sequence[Trial], asked: Asked, control: bool) -> dict[str, Any]:
    if not all(t.shares for t in trials):
        return {"explained": 0}
    names, methods = asked.patients, list(trials[0].shares)
    explained = np.array([np.isfinite(t.shares[methods[0]]) for t in trials])
    found = {
        "explained": int(explained.sum()),
        "patients": len({names[k] for k in np.flatnonzero(explained.any(0))}),
        "fair_share": _mean(np.where(explained, asked.fair, np.nan), names),
        "share": {m: _mean(np.array([t.shares[m] for t in trials]), names) for m in methods},
        "pointing": {m: _mean(np.array([t.points[m] for t in trials]), names) for m in methods},
    }
    if control and all(t.bare for t in trials):
        bare = list(trials[0].bare)
        found["bare"] = {m: _mean(np.array([t.bare[m] for t in trials]), names) for m in bare}
    return found
