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


WORDS = {
    "en": {
        "mark": "a planted {kind}: AUC falls by {lost} when it stands on one side alone",
        "follows": "{attribute} {value}: told by the score with AUC {score} at equal answers",
    },
    "es": {
        "mark": "una marca pegada ({kind}): la AUC baja {lost} cuando solo la lleva un lado",
        "follows": "{attribute} {value}: la puntuación lo dice con AUC {score} a igual respuesta",
    },
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """marks, follows: why the answer is called biased; none: nothing was found, which is no proof.

    noted: what the score follows although it may belong to the disease.
    """

    marks: tuple[Probe, ...]
    follows: tuple[Followed, ...] = ()
    noted: tuple[Followed, ...] = ()

    @property
    def biased(self) -> bool:
        return bool(self.marks or self.follows)

    def reasons(self, language: str = "en") -> tuple[str, ...]:
        """Why it is biased, a sentence each."""
        said = WORDS[language]["mark"]
        marks = (said.format(kind=one.kind, lost=one.lost) for one in self.marks)
        return (*marks, *(_follows(one, language) for one in self.follows))

    def remarks(self, language: str = "en") -> tuple[str, ...]:
        """What is noted, a sentence each."""
        return tuple(_follows(one, language) for one in self.noted)


def _follows(one: Followed, language: str) -> str:
    said = WORDS[language]["follows"]
    return said.format(attribute=one.attribute, value=one.value, score=one.score)


def verdict(probes: Mapping[str, Probe], followed: Sequence[Followed]) -> Verdict:
    """Of one answer."""
    strong = [one for one in followed if one.strength > FOLLOWS]
    return Verdict(
        marks=tuple(one for one in probes.values() if one.lost.low > LOST),
        follows=tuple(one for one in strong if one.attribute in ACCUSED),
        noted=tuple(one for one in strong if one.attribute not in ACCUSED),
    )
