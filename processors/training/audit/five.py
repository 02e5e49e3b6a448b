"""Five tests of a counterfactual explanation after DISSECT (Ghandeharioun et al., ICLR 2022,
arXiv:2105.15164): does it matter to the classifier, is it realistic, does it move one answer alone,
does it leave the rest as it was, is it the same for nearly the same film.

In: a case. Out: five figures in 0..1, better higher, with their 95 % intervals by patient. The last
frame of the strip is judged, read again like any film. Never: films chosen by how well they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from processors.explain.subject import Subject, read_film
from processors.explain.traversal import less, painted
from processors.runtime import Bundle
from processors.training.audit.cases import FEWEST, Case, encoded
from processors.training.audit.following import predicted
from processors.training.evaluate import answers
from processors.training.measure import Estimate, Numbers, area, estimate
from processors.training.places import lot
from processors.vae.latent import Array, evidence, evidence_weighted, margin, probability, upsample

MOST = 40  # films
NOISE = 0.02  # greys of 1: less than the grain of a film
ABOVE = 0.5  # AUC of guessing


@dataclass(frozen=True, slots=True)
class Five:
    """influence: share of frames called absent. realism: 1 where a classifier cannot tell the
    frames from real films without the finding, 0 where it always can. disentangling: part of the
    change of all answers that is this one's; None where the model has one answer. preservation:
    structural similarity outside the exchanged cells. stability: correlation of the difference map
    with that of the same film with faint noise."""

    films: int
    influence: Estimate
    realism: Estimate
    disentangling: Estimate | None
    preservation: Estimate
    stability: Estimate

    def record(self) -> dict[str, Any]:
        names = ("influence", "realism", "disentangling", "preservation", "stability")
        held = {name: getattr(self, name) for name in names}
        return {"films": self.films} | {k: v.record() if v else None for k, v in held.items()}


@dataclass(frozen=True, slots=True)
class _Told:
    """What one film's last frame shows; latent: of the frame."""

    latent: Array
    flipped: float
    own: float | None
    kept: float
    stable: float


def five(case: Case) -> Five | None:
    """Of at most MOST true positives; None where there are too few, or no averages to exchange."""
    found = np.flatnonzero(case.positive & (case.margins >= case.goal))
    chosen = sorted(found, key=lambda i: lot(case.images.samples[i].path))[:MOST]
    subjects = [case.subject(int(i)) for i in chosen]
    if len(chosen) < FEWEST or not len(subjects[0].donors):
        return None
    told = [_told(subject) for subject in subjects]
    names = [case.patients[int(i)] for i in chosen]

    def mean(values: Sequence[float]) -> Estimate:
        held = np.array(values)
        return estimate(lambda i: float(held[i].mean()), names)

    alone = [one.own for one in told if one.own is not None]
    return Five(
        films=len(chosen),
        influence=mean([one.flipped for one in told]),
        realism=_realism(case, np.stack([one.latent for one in told]), names),
        disentangling=mean(alone) if alone else None,
        preservation=mean([one.kept for one in told]),
        stability=mean([one.stable for one in told]),
    )


def _told(subject: Subject) -> _Told:
    film, row = subject.film, subject.row
    found, change = less(subject)
    frame = painted(film, change)
    latent = encoded(subject.bundle, frame[None])[0]
    return _Told(
        latent=latent,
        flipped=float(probability(latent, row) < subject.scale.band[0]),
        own=_own(subject.bundle, subject, latent),
        kept=_kept(film.network, frame.astype(np.float32) / np.float32(255), found.taken),
        stable=_stable(subject),
    )


def _own(bundle: Bundle, subject: Subject, latent: Array) -> float | None:
    rows = [bundle.row(q, k) for q, k, _ in answers(bundle.card)]
    if len(rows) == 1:
        return None
    moved = [abs(margin(latent, row) - margin(subject.film.latent, row)) for row in rows]
    own = abs(margin(latent, subject.row) - margin(subject.film.latent, subject.row))
    return float(own / max(sum(moved), 1e-9))


def _kept(before: Array, after: Array, taken: NDArray[np.bool_]) -> float:
    similar = structural_similarity(before, after, data_range=1.0, full=True)[1]
    rest = upsample(taken.astype(np.float32), len(before) // len(taken)) == 0
    return float(similar[rest].mean()) if rest.any() else 0.0


def _map(subject: Subject) -> Array:
    found, change = less(subject)
    before = evidence(subject.film.latent, subject.row)
    return evidence_weighted(before, evidence(found.latent, subject.row), change)


def _stable(subject: Subject) -> float:
    film = subject.film
    generator = np.random.default_rng(int(lot(film.instance_uid) * 2**53))
    grain = generator.normal(0, NOISE, film.network.shape).astype(np.float32)
    noisy = replace(
        read_film(film.instance_uid, np.clip(film.network + grain, 0, 1), subject.bundle),
        picture=film.picture,
    )
    maps = [_map(subject), _map(replace(subject, film=noisy))]
    if min(float(np.abs(one).max()) for one in maps) == 0:
        return 0.0
    return float(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1])


def _realism(case: Case, frames: Array, names: Sequence[str]) -> Estimate:
    """Frames against as many real films without the finding, told apart by their latents."""
    real = np.flatnonzero(~case.positive)
    chosen = sorted(real, key=lambda i: lot(case.images.samples[i].path))[: len(frames)]
    latents = np.concatenate([frames, case.latents[chosen]])
    labels = np.repeat([1, 0], [len(frames), len(chosen)])
    patients = [*names, *(f"real {case.patients[int(i)]}" for i in chosen)]
    scores: Numbers = predicted(latents, labels, patients)

    def untold(i: NDArray[np.intp]) -> float:
        return 1 - 2 * max(0.0, area(labels[i], scores[i]) - ABOVE)

    return estimate(untold, patients, labels)
