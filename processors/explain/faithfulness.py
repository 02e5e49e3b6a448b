"""Tests an explanation on the frames or the map that would be shown; a failed test withholds it.

Each function turns something measured into a Check with its pass mark. The marks are fixed here,
not in a bundle: a model may not lower its own bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from processors.analysis import Check, Frame
from processors.explain.curves import by_cell, by_chance, curves
from processors.explain.subject import Subject, organ_of
from processors.vae.latent import Array, shares

CELLS = 0.5  # share of the latent that may be exchanged: more is another film
ORGAN = 0.7  # share of the evidence that must lie in the organ
GAIN = 0.001  # more than nothing: independent network, strip less random changes
CORNER = 0.3  # share of the evidence in the two upper corners: burned-in letters stand there
STABLE = 0.5  # rank correlation of a map with the same made by other settings
FAINT = 0.1  # of a map's largest cell: below it, the order of cells is noise
FIT = 0.5  # variance of the answers that a local surrogate must explain
SAME = 0.5  # log-odds by which two forms of one network may differ: 8-bit integers do so by 0.43
WOBBLE = 0.01  # probability by which one step may go the wrong way: rounding to 8 bits

REASONS = {
    "es": {
        "last_frame_probability": "el último cuadro, leído de nuevo, no cambia la respuesta",
        "monotone_steps": "la probabilidad no sigue el orden de los cuadros",
        "cells_exchanged": "para cambiar la respuesta hubo que sustituir demasiada imagen",
        "corner_evidence": "la evidencia está en las esquinas superiores, donde suele haber letras",
        "organ_evidence": "la evidencia está fuera del órgano o no se pudo delimitar el órgano",
        "control_probability": "un cambio sin relación con el hallazgo también cambia la respuesta",
        "witness_agreement": "las tiras de este hallazgo no convencen a una red independiente",
        "witness_gain": "las tiras de este hallazgo no convencen a una red independiente más que "
        "cambios al azar",
        "deletion_area": "borrar lo que señala el mapa no cambia la respuesta más que borrar al "
        "azar",
        "insertion_area": "mostrar solo lo que señala el mapa no sostiene la respuesta más que "
        "mostrar zonas al azar",
        "map_in_organ": "el mapa señala fuera del órgano o no se pudo delimitar el órgano",
        "map_stability": "el mapa cambia con los ajustes del método",
        "surrogate_fit": "el modelo sencillo del que sale el mapa no imita al modelo",
        "network_agreement": "la red de la que sale el mapa no da la misma respuesta",
    },
    "en": {
        "last_frame_probability": "the last frame, read again by the model, keeps its answer",
        "monotone_steps": "the probability does not follow the order of the frames",
        "cells_exchanged": "too much of the image had to be replaced to change the answer",
        "corner_evidence": "the evidence lies in the upper corners, where letters are burned in",
        "organ_evidence": "the evidence lies outside the organ, or the organ could not be found",
        "control_probability": "a change unrelated to the finding also changes the answer",
        "witness_agreement": "strips of this finding do not convince an independent network",
        "witness_gain": "strips of this finding convince an independent network no more than "
        "random changes do",
        "deletion_area": "erasing what the map names changes the answer no more than erasing at "
        "random",
        "insertion_area": "showing only what the map names upholds the answer no more than "
        "showing parts at random",
        "map_in_organ": "the map points outside the organ, or the organ could not be found",
        "map_stability": "the map changes with the settings of the method",
        "surrogate_fit": "the simple model that the map is read from does not follow the model",
        "network_agreement": "the network that the map is read from gives another answer",
    },
}

NOWHERE = {
    "es": "el mapa no señala nada",
    "en": "the map points nowhere",
}

NO_DONORS = {
    "es": "el modelo no incluye promedios con los que comparar",
    "en": "the model holds no averages to compare with",
}


def reaches(last: float, below: float) -> Check:
    """The frame with the least finding must be called absent by the model itself."""
    return Check("last_frame_probability", last, below, at_least=False)


def monotone(probabilities: Sequence[float]) -> Check:
    """Share of steps, from least to most, in which the probability does not fall."""
    steps = np.diff(np.array(probabilities))
    return Check("monotone_steps", float((steps >= -WOBBLE).mean()), 1.0)


def exchanged(share: float) -> Check:
    return Check("cells_exchanged", share, CELLS, at_least=False)


def distance(frames: Sequence[Frame], below: float) -> float | None:
    """Share of the way towards less at which the answer first falls below `below`, or None.

    Between two frames the probability is taken to fall evenly.
    """
    way = sorted((f for f in frames if f.alpha <= 0), key=lambda f: -f.alpha)
    if way and way[0].probability < below:
        return 0.0
    for nearer, further in pairwise(way):
        if further.probability < below:
            fallen = (nearer.probability - below) / (nearer.probability - further.probability)
            return abs(nearer.alpha + fallen * (further.alpha - nearer.alpha))
    return None


def corner_share(cells: Array) -> float:
    """Part of the evidence in the two upper corner squares, a quarter of the side each."""
    share, edge = shares(cells), cells.shape[0] // 4
    return float(share[:edge, :edge].sum() + share[:edge, -edge:].sum())


def corners(cells: Array) -> Check:
    return Check("corner_evidence", corner_share(cells), CORNER, at_least=False)


def organ(share: float) -> Check:
    """Evidence beside the organ says nothing of it: neither outline nor strip is shown."""
    return Check("organ_evidence", share, ORGAN)


def control(probability: float, above: float) -> Check:
    """The same cells from a donor that has the finding must not undo the answer."""
    return Check("control_probability", probability, above)


def convincing(share: float, gain: float, least: float) -> tuple[Check, Check]:
    """Of all strips of an answer, from the card: what convinces nobody but its maker is none.

    gain: over random changes of equal size, lower bound. A bundle may ask more of itself (least).
    """
    return Check("witness_agreement", share, least), Check("witness_gain", gain, GAIN)


def _ranks(found: Array, grid: int) -> Array:
    """Cells of a map, (g * g,), without what is faint beside the strongest."""
    cells = by_cell(found, grid).ravel()
    return np.where(np.abs(cells) < FAINT * np.abs(cells).max(), 0, cells)


def stability(found: Array, others: Sequence[Array], grid: int) -> Check:
    """Least rank correlation, over the cells, with the same map by other settings."""
    from scipy.stats import spearmanr  # slow to load, and a strip needs none

    own, *rest = (_ranks(one, grid) for one in (found, *others))
    varied = [np.ptp(own) > 0 and np.ptp(one) > 0 for one in rest]  # else there is no order
    pairs = zip(rest, varied, strict=True)
    told = [float(spearmanr(own, one)[0]) if varies else 0.0 for one, varies in pairs]
    return Check("map_stability", min(told), STABLE)


def _in_organ(subject: Subject, found: Array) -> tuple[Check, ...]:
    """Part of what speaks for the finding that lies in the organ; nothing where none is named."""
    organ = organ_of(subject.film, str(subject.bundle.card["field"]))
    if organ is None:
        return ()
    raises = np.maximum(found, 0)
    return (Check("map_in_organ", float(raises[organ].sum() / raises.sum()), ORGAN),)


def of_map(subject: Subject, found: Array, others: Sequence[Array]) -> tuple[Check, ...]:
    """All that is asked of a map (size, size) that points somewhere, whatever its method.

    Its order of the cells must beat every random one, both ways; others: by other settings.
    """
    grid = subject.film.latent.shape[-1]
    own, chance = curves(subject, by_cell(found, grid)), by_chance(subject)
    return (
        Check("deletion_area", own.deletion, chance.deletion, at_least=False),
        Check("insertion_area", own.insertion, chance.insertion),
        stability(found, others, grid),
        *_in_organ(subject, found),
    )


def surrogate(fit: float) -> Check:
    """Share of the variance of the answers that a local linear model explains (R squared)."""
    return Check("surrogate_fit", fit, FIT)


def agreement(theirs: float, own: float) -> Check:
    """Distance in log-odds between the network that a map is read from and the one that judges."""
    return Check("network_agreement", abs(theirs - own), SAME, at_least=False)


def nowhere(language: str) -> str:
    return NOWHERE.get(language, NOWHERE["en"])


def without_donors(language: str) -> str:
    return NO_DONORS.get(language, NO_DONORS["en"])


def failure(checks: Sequence[Check], language: str) -> str:
    """Why the explanation is withheld, for a person; empty when all checks passed."""
    words = REASONS.get(language, REASONS["en"])
    return "; ".join(words[c.name] for c in checks if not c.passed)
