"""Joins the parts of an audit into one record, machine-readable; the page is drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from processors.runtime import Bundle
from processors.training.audit.cases import Case, cases
from processors.training.audit.five import Five, five
from processors.training.audit.following import Followed, followed
from processors.training.audit.groups import Gap, gaps
from processors.training.audit.mending import Mended, mended
from processors.training.audit.probes import Probe, marked, probe
from processors.training.audit.verdict import Verdict, verdict
from processors.training.data import ImageSet
from processors.training.measure import (
    Estimate,
    auc,
    calibration_error,
    fair_calibration_error,
)
from processors.training.studies.marker_planting import KINDS

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Audited:
    """One answer: everything that was measured of it. ece: calibration error; ece_fair: what a
    perfectly calibrated model would show; mended: of marks that cost too much."""

    case: Case
    auc: Estimate
    ece: float
    ece_fair: Estimate
    probes: Mapping[str, Probe]
    followed: tuple[Followed, ...]
    gaps: tuple[Gap, ...]
    five: Five | None
    mended: tuple[Mended, ...]
    verdict: Verdict

    @property
    def worst(self) -> str:
        """The kind of mark that costs most."""
        return max(self.probes, key=lambda kind: self.probes[kind].lost.low)

    def record(self) -> dict[str, Any]:
        case = self.case
        return {
            "films": len(case.patients),
            "positive": int(case.positive.sum()),
            "patients": len(set(case.patients)),
            "auc": self.auc.record(),
            "ece": round(self.ece, 4),
            "ece_fair": self.ece_fair.record(),
            "biased": self.verdict.biased,
            "reasons": list(self.verdict.reasons()),
            "noted": list(self.verdict.remarks()),
            "marks": {kind: one.record() for kind, one in self.probes.items()},
            "follows": [one.record() for one in self.followed],
            "gaps": {one.attribute: one.record() for one in self.gaps},
            "five": self.five.record() if self.five else None,
            "mended": [one.record() for one in self.mended],
        }


def probed(case: Case) -> dict[str, Probe]:
    """Every kind of mark on one answer: the part that alone decides about marks."""
    return {kind: probe(case, marked(case, kind)) for kind in KINDS}


def audits(bundle: Bundle, judged: ImageSet, chooses: ImageSet, tell: Tell) -> Iterator[Audited]:
    """Every answer with enough films. chooses: labelled films that neither fitted nor are judged;
    on them the mending of a found mark is chosen."""
    choosing = {case.place: case for case in cases(bundle, chooses)}
    for case in cases(bundle, judged):
        tell(case.name)
        probes, follows = probed(case), tuple(followed(case))
        found = verdict(probes, follows)
        own = choosing.get(case.place)
        repaired = [m for one in found.marks for m in mended(own, case, one.kind)] if own else []
        said = np.asarray(expit(case.margins), dtype=np.float64)
        yield Audited(
            case=case,
            auc=auc(case.labels, case.margins, case.patients),
            ece=calibration_error(case.labels, said),
            ece_fair=fair_calibration_error(said),
            probes=probes,
            followed=follows,
            gaps=tuple(gaps(case)),
            five=five(case),
            mended=tuple(repaired),
            verdict=found,
        )
