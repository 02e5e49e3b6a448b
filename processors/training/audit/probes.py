"""Pastes marks on films and asks what the answer makes of them.

A mark says nothing of the finding, so that a model which reads the finding ranks films as well when
all films without it carry the mark, or all films with it. What is lost then is the swap test: AUC
without marks less AUC with the mark on one side alone. In: a case. Out: per kind of mark both
losses, and how many answers it turned, each with its 95 % interval by patient. Never: a place that
depends on the class; a mark that cannot be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.training.audit.cases import Case, encoded, margins_of
from processors.training.measure import Estimate, Numbers, area, estimate, share
from processors.training.studies.marker_planting import KINDS, Marker, Masks, masks_of, painted
from processors.vae.latent import Array

PLACES = 9  # seed of the marks' places
MADE_FOR = 96  # pixels of the input for which the marks of the study were drawn


def grown(marker: Marker, size: int) -> Marker:
    """The same mark on an input of another size."""
    ratio = size / MADE_FOR
    rows, columns = (np.arange(round(n * ratio)) / ratio for n in marker.stamp.shape)
    return Marker(marker.stamp[np.ix_(rows.astype(int), columns.astype(int))], marker.grey)


@dataclass(frozen=True, slots=True)
class Marked:
    """The case's films, each with one mark: masks (n, size, size), latents, margins (n,)."""

    kind: str
    masks: Masks
    inputs: NDArray[np.uint8]
    latents: Array
    margins: Numbers


def marked(case: Case, kind: str) -> Marked:
    """Every film with a mark of this kind at a random place."""
    marker = grown(KINDS[kind], case.bundle.size)
    masks = masks_of(case.images.inputs, marker, np.random.default_rng(PLACES))
    inputs = painted(case.images.inputs, masks, marker)
    latents = encoded(case.bundle, inputs)
    return Marked(kind, masks, inputs, latents, margins_of(latents, case.row))


@dataclass(frozen=True, slots=True)
class Probe:
    """raises: AUC lost when the films without the finding carry the mark; lowers: when those with
    it do. turned: share of the films without it that the mark makes present; silenced: of those
    with it that it makes absent."""

    kind: str
    raises: Estimate
    lowers: Estimate
    turned: Estimate
    silenced: Estimate

    @property
    def lost(self) -> Estimate:
        """The worse of the two losses."""
        return max(self.raises, self.lowers, key=lambda one: one.low)

    def record(self) -> dict[str, Any]:
        names = ("raises", "lowers", "turned", "silenced")
        return {name: getattr(self, name).record() for name in names}


def swapped(case: Case, with_mark: Numbers, side: bool) -> Numbers:
    """Margins when the films of one side, with the finding (True) or without, carry the mark."""
    return np.where(case.positive == side, with_mark, case.margins)


def probe(case: Case, found: Marked) -> Probe:
    """What one kind of mark does to one answer."""

    def lost(side: bool) -> Estimate:
        moved = swapped(case, found.margins, side)

        def gap(i: NDArray[np.intp]) -> float:
            return area(case.labels[i], case.margins[i]) - area(case.labels[i], moved[i])

        return estimate(gap, case.patients, case.labels)

    before, after = case.margins >= case.goal, found.margins >= case.goal
    names = np.array(case.patients)

    def part(films: NDArray[np.bool_], change: NDArray[np.bool_]) -> Estimate:
        return share(change[films], names[films].tolist())

    return Probe(
        kind=found.kind,
        raises=lost(False),
        lowers=lost(True),
        turned=part(~case.positive, after & ~before),
        silenced=part(case.positive, before & ~after),
    )
