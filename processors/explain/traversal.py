"""The strip: seven frames from less of a finding to more of it, on the patient's own film.

"Less" exchanges the deciding cells of the latent with those of averaged films without the
finding; "more" lifts the evidence where it already is. Only the decoded *change* is added to the
sharp original. Every frame is read again by the model; its own answer stands on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from processors.analysis import Check, Explanation, Frame
from processors.explain import faithfulness
from processors.explain.subject import Film, Subject
from processors.vae.latent import (
    Array,
    Exchange,
    evidence,
    evidence_weighted,
    exchange,
    margin,
    nearest,
    transplant,
    traverse,
)

ALPHAS = (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)
NEAREST = 8  # donors an exchange may choose from
DEEPER = (0.0, 1.0, 2.0, 4.0, 6.0)  # log-odds below the goal, tried in turn until the frame flips
DARKEST_BRIGHTEST = (0.05, 0.98)  # equalised greys: the map back is a cliff at both ends
SMOOTH = 0.7  # pixels of the network's input
LIFT = 2.0  # log-odds by which the last "more" frame is lifted


def painted(film: Film, change: Array) -> NDArray[np.uint8]:
    """The film's picture with a change in the network's greys (size, size) added, uint8.

    Translated to the film's own greys at the network's size, where both pictures are smooth:
    done on the sharp picture, the steep parts of the grey map turn ribs into black specks.
    """
    low, high = DARKEST_BRIGHTEST
    floor, ceiling = np.minimum(film.network, low), np.maximum(film.network, high)
    after = film.greys.to_own(np.clip(film.network + change, floor, ceiling))
    own = gaussian_filter(after - film.greys.to_own(film.network), SMOOTH)
    wide = resize(own, film.picture.shape, order=1, mode="edge", anti_aliasing=False)
    sharp = np.clip(film.picture + wide, 0, 1)
    return np.asarray(np.rint(sharp * 255), dtype=np.uint8)


def changes(subject: Subject, latents: list[Array]) -> Array:
    """Decoded changes (n, size, size) of latents against the film's own."""
    decoded = subject.bundle.decode(np.stack([subject.film.latent, *latents]))
    return np.asarray(decoded[1:] - decoded[0], dtype=np.float32)


def less(subject: Subject) -> tuple[Exchange, Array]:
    """The exchange whose frame the model itself calls absent, and its decoded change."""
    film, scale = subject.film, subject.scale
    donors = nearest(film.latent, subject.donors, subject.row, NEAREST)
    for deeper in DEEPER:
        found = exchange(film.latent, subject.row, donors, scale.goal - deeper)
        change = changes(subject, [found.latent])[0]
        answer = subject.judge(painted(film, change)[None])[0]
        if answer < scale.band[0]:
            break
    return found, change


def control(subject: Subject, taken: NDArray[np.bool_]) -> Array:
    """The decoded change of the same cells from an average that has the finding."""
    film = subject.film
    double = nearest(film.latent, subject.doubles, subject.row, 1)[0]
    return np.asarray(changes(subject, [transplant(film.latent, double, taken)])[0])


def _frames(subject: Subject, found: Exchange) -> tuple[Frame, ...]:
    film, row = subject.film, subject.row
    own = margin(film.latent, row)
    latents = []
    for alpha in ALPHAS:
        if alpha <= 0:
            latents.append(film.latent - alpha * (found.latent - film.latent))
        else:
            latents.append(traverse(film.latent, row, own + alpha * LIFT))
    pictures = [painted(film, change) for change in changes(subject, latents)]
    answers = subject.judge(np.stack(pictures))
    return tuple(Frame(*values) for values in zip(pictures, ALPHAS, answers, strict=True))


def _difference(subject: Subject, found: Exchange, change: Array) -> Array:
    film, row = subject.film, subject.row
    shown = evidence_weighted(evidence(film.latent, row), evidence(found.latent, row), change)
    wide = resize(shown, film.picture.shape, order=1, mode="edge", anti_aliasing=False)
    return np.asarray(wide, dtype=np.float32)


def _organ(subject: Subject) -> tuple[Check, ...]:
    return () if subject.inside is None else (faithfulness.organ(subject.inside),)


def _checks(subject: Subject, found: Exchange, frames: tuple[Frame, ...]) -> tuple[Check, ...]:
    scale = subject.scale
    undone = subject.judge(painted(subject.film, control(subject, found.taken))[None])[0]
    return (
        faithfulness.reaches(frames[0].probability, scale.band[0]),
        faithfulness.monotone([f.probability for f in frames]),
        faithfulness.exchanged(float(found.taken.mean())),
        faithfulness.corners(evidence(subject.film.latent, subject.row)),
        faithfulness.control(undone, scale.band[0]),
        *_organ(subject),
    )


def explain(subject: Subject, language: str) -> Explanation:
    """The strip of one present or undetermined finding, with its difference map and checks.

    A bundle whose donors would have given patients away ships none: then nothing is shown.
    """
    if not len(subject.donors) or not len(subject.doubles):
        failed = faithfulness.failure(_organ(subject), language)
        reason = "; ".join(filter(None, (failed, faithfulness.without_donors(language))))
        uid = subject.film.instance_uid
        return Explanation(subject.label, uid, "traversal", (), None, (), False, reason)
    found, change = less(subject)
    frames = _frames(subject, found)
    checks = _checks(subject, found, frames)
    reason = faithfulness.failure(checks, language)
    return Explanation(
        finding=subject.label,
        instance_uid=subject.film.instance_uid,
        method="traversal",
        frames=frames,
        difference=_difference(subject, found, change),
        faithfulness=checks,
        shown=not reason,
        reason=reason,
        distance=faithfulness.distance(frames, subject.scale.band[0]),
    )
