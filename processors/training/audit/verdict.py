"""Decides what an audit says of a model. Pure: figures in, reasons out.

The marks are fixed here and were chosen before any audit was run; how often they find a planted
cause, and how often they accuse a clean model, is measured by `dictamen models study audits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processors.training.audit.following import Followed
from processors.training.audit.probes import Probe

LOST = 0.10  # AUC that a mark may cost: lower bound
FOLLOWS = 0.10  # distance from .5 of the score's AUC for an attribute: nearer end of the interval
ACCUSED = ("source", "geometry", "view")  # how a film was made; sex and age may belong to disease


@dataclass(frozen=True, slots=True)
class Verdict:
    """reasons: why the answer is called biased; empty: nothing was found, which is no proof.

    marks: the kinds of mark among the reasons. noted: what the score follows although it may belong
    to the disease.
    """

    reasons: tuple[str, ...]
    marks: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()

    @property
    def biased(self) -> bool:
        return bool(self.reasons)


def verdict(probes: Mapping[str, Probe], followed: Sequence[Followed]) -> Verdict:
    """Of one answer."""
    marks = tuple(kind for kind, one in probes.items() if one.lost.low > LOST)
    strong = [one for one in followed if one.strength > FOLLOWS]
    accused = [one for one in strong if one.attribute in ACCUSED]
    return Verdict(
        reasons=(*(_mark(probes[kind]) for kind in marks), *(_follows(one) for one in accused)),
        marks=marks,
        noted=tuple(_follows(one) for one in strong if one not in accused),
    )


def _mark(one: Probe) -> str:
    return f"a planted {one.kind}: AUC falls by {one.lost} when it stands on one side alone"


def _follows(one: Followed) -> str:
    return f"{one.attribute} {one.value}: told by the score with AUC {one.score} at equal answers"
