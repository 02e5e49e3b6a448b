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

    noted: what the score follows although it may belong to the disease.
    """

    reasons: tuple[str, ...]
    noted: tuple[str, ...] = ()

    @property
    def biased(self) -> bool:
        return bool(self.reasons)


def verdict(probes: Mapping[str, Probe], followed: Sequence[Followed]) -> Verdict:
    """Of one answer."""
    marks = [
        f"{kind}: AUC falls by {one.lost} when it changes sides"
        for kind, one in probes.items()
        if one.lost.low > LOST
    ]
    strong = [one for one in followed if one.strength > FOLLOWS]
    said = {
        one: f"{one.attribute} {one.value}: the score tells it with AUC {one.score} among films of "
        "equal answer"
        for one in strong
    }
    follows = [text for one, text in said.items() if one.attribute in ACCUSED]
    noted = [text for one, text in said.items() if one.attribute not in ACCUSED]
    return Verdict((*marks, *follows), tuple(noted))
