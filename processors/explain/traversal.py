"""The strip: seven frames from less of a finding to more of it, on the patient's own film.

"Less" exchanges the deciding cells of the latent with those of averaged films without the
finding; "more" lifts the evidence where it already is. Only the decoded *change* is added to the
sharp original. Every frame is read again by the model; its own answer stands on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from processors.analysis import Check, Explanation, Frame
from processors.explain import faithfulness
from processors.explain.maps import enlarged
from processors.explain.subject import Film, Subject
from processors.vae.latent import (
    Array,
    Exchange,
    evidence,
    evidence_weighted,
    margin,
    nearest,
    paths,
    transplant,
    traverse,
)

NEEDS = ()  # numpy and the bundle's own networks
COST_MS = 25
ALPHAS = (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)
NEAREST = 8  # donors an exchange may choose from
DEEPER = (0.0, 1.0, 2.0, 4.0, 6.0)  # log-odds below the goal, tried in turn until the frame flips
DARKEST_BRIGHTEST = (0.05, 0.98)  # equalised greys: the map back is a cliff at both ends
FEW = 0.4  # share of the latent's cells that a clearly absent frame may take
SMOOTH = 0.7  # pixels of the network's input
LIFT = 2.0  # log-odds by which the last "more" frame is lifted


def pictures(film: Film, moved: Array) -> NDArray[np.uint8]:
    """The film's picture with each change (n, size, size) added: (n, rows, columns), uint8.

    Translated to the film's own greys at the network's size, where both pictures are smooth:
    done on the sharp picture, the steep parts of the grey map turn ribs into black specks.
    """
    low, high = DARKEST_BRIGHTEST
    floor, ceiling = np.minimum(film.network, low), np.maximum(film.network, high)
    after = film.greys.to_own(np.clip(film.network + moved, floor, ceiling))
    own = gaussian_filter(after - film.greys.to_own(film.network), (0, SMOOTH, SMOOTH))
    sharp = np.clip(film.picture + enlarged(own, film.picture.shape), 0, 1)
    return np.asarray(np.rint(sharp * 255), dtype=np.uint8)


def painted(film: Film, change: Array) -> NDArray[np.uint8]:
    """The film's picture with one change in the network's greys (size, size) added, uint8."""
    return np.asarray(pictures(film, change[None])[0])


def changes(subject: Subject, latents: list[Array], own: Array | None = None) -> Array:
    """Decoded changes (n, size, size) of latents against the film's own.

    own: what the film's own latent decodes to, where it is known already.
    """
    if own is None:
        own = _own(subject)
    return np.asarray(subject.bundle.decode(np.stack(latents)) - own, dtype=np.float32)


def _own(subject: Subject) -> Array:
    return np.asarray(subject.bundle.decode(subject.film.latent[None])[0])


@dataclass(frozen=True, slots=True)
class _Last:
    """The last frame towards less: its exchange, decoded change, pixels, the model's answer."""

    found: Exchange
    change: Array
    pixels: NDArray[np.uint8]
    answer: float


def _last(subject: Subject, own: Array) -> _Last:
    """As clearly absent as true cases are, if that takes few cells; else the least that flips."""
    film, scale = subject.film, subject.scale
    donors = nearest(film.latent, subject.donors, subject.row, NEAREST)
    goals = (scale.typical, *(scale.goal - deeper for deeper in DEEPER))
    way = paths(film.latent, subject.row, donors, min(goals))
    found = [way.at(goal) for goal in goals]
    # Each try is drawn and read again, which costs: first those that are taken if they flip.
    few = [one for one in found if one.taken.mean() <= FEW]
    many = [one for one in found if one.taken.mean() > FEW]
    tried: list[_Last] = []
    for one in (*few, *sorted(many, key=lambda one: one.taken.mean())):
        change = changes(subject, [one.latent], own)[0]
        frame = pictures(film, change[None])
        tried.append(_Last(one, change, frame[0], subject.judge(frame)[0]))
        if tried[-1].answer < scale.band[0]:
            return tried[-1]
    return next(last for last in tried if last.found is found[-1])


def less(subject: Subject) -> tuple[Exchange, Array]:
    """The exchange whose frame the model itself calls absent, and its decoded change."""
    last = _last(subject, _own(subject))
    return last.found, last.change


def control(subject: Subject, taken: NDArray[np.bool_], own: Array | None = None) -> Array:
    """The decoded change of the same cells from an average that has the finding there.

    Of the averages that look alike the one with most evidence in these cells: it shows whether
    the answer hangs on what the cells hold, not on their having been exchanged.
    """
    film = subject.film
    alike = nearest(film.latent, subject.doubles, subject.row, NEAREST)
    held = [np.exp(evidence(double, subject.row)[taken]).sum() for double in alike]
    double = alike[int(np.argmax(held))]
    return np.asarray(changes(subject, [transplant(film.latent, double, taken)], own)[0])


def _frames(subject: Subject, last: _Last, own: Array) -> tuple[Frame, ...]:
    """The strip in the order of ALPHAS; its last frame towards less was drawn and read before."""
    film, row = subject.film, subject.row
    start, way = margin(film.latent, row), last.found.latent - film.latent
    latents = [
        traverse(film.latent, row, start + a * LIFT) if a > 0 else film.latent - a * way
        for a in ALPHAS
        if a not in (-1, 0)
    ]
    moved = changes(subject, latents, own)
    still = ALPHAS.index(0) - 1  # nothing is decoded for the frame without a change
    drawn = pictures(film, np.insert(moved, still, 0, axis=0))
    answers = [last.answer, *subject.judge(drawn)]
    pixels = [last.pixels, *drawn]
    return tuple(Frame(*values) for values in zip(pixels, ALPHAS, answers, strict=True))


def _carrying(subject: Subject, found: Exchange, change: Array) -> Array:
    """How far the change, (size, size), moved the answer; never negative: greys say brighter or
    darker, and not for or against."""
    before = evidence(subject.film.latent, subject.row)
    weighted = evidence_weighted(before, evidence(found.latent, subject.row), change)
    return np.asarray(np.abs(weighted), dtype=np.float32)


def map_of(subject: Subject) -> Array:
    """What carries the answer, (size, size). Nothing anywhere where the bundle ships no averages of
    the answer.
    """
    if not len(subject.donors):
        return np.zeros_like(subject.film.network)
    return _carrying(subject, *less(subject))


def _known(subject: Subject) -> tuple[Check, ...]:
    """What can be checked before a strip is made."""
    organ = () if subject.inside is None else (faithfulness.organ(subject.inside),)
    return (*_witness(subject), *organ)


def _witness(subject: Subject) -> tuple[Check, ...]:
    told = subject.scale.witness
    return faithfulness.convincing(told.share, told.gain, told.least) if told else ()


def _checks(
    subject: Subject, found: Exchange, frames: tuple[Frame, ...], own: Array
) -> tuple[Check, ...]:
    scale = subject.scale
    undone = subject.judge(pictures(subject.film, control(subject, found.taken, own)[None]))[0]
    return (
        faithfulness.reaches(frames[0].probability, scale.band[0]),
        faithfulness.monotone([f.probability for f in frames]),
        faithfulness.exchanged(float(found.taken.mean())),
        faithfulness.corners(evidence(subject.film.latent, subject.row)),
        faithfulness.control(undone, scale.band[0]),
        *_known(subject),
    )


def _withheld(subject: Subject, language: str, why: str) -> Explanation:
    known = _known(subject)
    reason = "; ".join(filter(None, (faithfulness.failure(known, language), why)))
    uid = subject.film.instance_uid
    return Explanation(subject.label, uid, "traversal", (), None, known, False, reason)


def explain(subject: Subject, language: str) -> Explanation:
    """The strip of one present or undetermined finding, with its difference map and checks.

    A bundle whose donors would have given patients away ships none: then nothing is shown. Nor are
    strips of an answer that convince nobody but their own model, and none is made.
    """
    if not len(subject.donors) or not len(subject.doubles):
        return _withheld(subject, language, faithfulness.without_donors(language))
    if not all(check.passed for check in _witness(subject)):
        return _withheld(subject, language, "")
    own = _own(subject)
    last = _last(subject, own)
    frames = _frames(subject, last, own)
    checks = _checks(subject, last.found, frames, own)
    reason = faithfulness.failure(checks, language)
    return Explanation(
        finding=subject.label,
        instance_uid=subject.film.instance_uid,
        method="traversal",
        frames=frames,
        difference=enlarged(
            _carrying(subject, last.found, last.change), subject.film.picture.shape
        ),
        faithfulness=checks,
        shown=not reason,
        reason=reason,
        distance=faithfulness.distance(frames, subject.scale.band[0]),
    )
