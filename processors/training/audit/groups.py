"""For whom does the model work less well?

Group figures by fairlearn's MetricFrame (Bird et al., Microsoft MSR-TR-2020-32); the gap between
the best and the worst group, found once and then held fixed, with its 95 % interval by patient.
Such a gap is positive even where groups do not differ: beside it stands what groups drawn at random
show.
Never: a group of fewer than FEWEST films of each class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate
from numpy.typing import NDArray

from processors.training.audit.cases import FEWEST, Case
from processors.training.audit.following import attributes
from processors.training.measure import Estimate, area, estimate

ATTRIBUTES = ("sex", "age", "view", "geometry", "source")


@dataclass(frozen=True, slots=True)
class Gap:
    """Of one attribute: each group's films, AUC, sensitivity, false positive rate; gap: largest
    less smallest AUC; by_chance: the gap that groups drawn at random show, mean."""

    attribute: str
    groups: dict[str, dict[str, float]]
    gap: Estimate
    by_chance: float

    def record(self) -> dict[str, Any]:
        return {"groups": self.groups, "gap": self.gap.record(), "by_chance": self.by_chance}


def gaps(case: Case) -> Iterator[Gap]:
    """Every attribute of which two groups are large enough."""
    held = attributes(case.images.samples)
    for name in ATTRIBUTES:
        values = held[name]
        large = [v for v in sorted(set(values) - {""}) if _enough(case, values == v)]
        if len(large) > 1:
            yield _gap(case, name, values, large)


def _enough(case: Case, mine: NDArray[np.bool_]) -> bool:
    return bool(min(case.positive[mine].sum(), (~case.positive)[mine].sum()) >= FEWEST)


def _gap(case: Case, name: str, values: NDArray[np.str_], large: list[str]) -> Gap:
    keep = np.isin(values, large)
    labels, margins, values = case.labels[keep], case.margins[keep], values[keep]
    patients = [p for p, kept in zip(case.patients, keep, strict=True) if kept]

    def areas(groups: NDArray[np.str_]) -> list[float]:
        return [area(labels[groups == g], margins[groups == g]) for g in large]

    order = np.argsort(areas(values))
    worst, best = large[int(order[0])], large[int(order[-1])]

    def between(i: NDArray[np.intp]) -> float:
        sides = [i[values[i] == g] for g in (best, worst)]
        found = [area(labels[j], margins[j]) for j in sides if 0 < labels[j].mean() < 1]
        return found[0] - found[1] if len(found) == 2 else 0.0

    generator = np.random.default_rng(0)
    chance = [float(np.ptp(areas(generator.permutation(values)))) for _ in range(200)]
    frame = MetricFrame(
        metrics={"sensitivity": true_positive_rate, "false_positives": false_positive_rate},
        y_true=labels,
        y_pred=(margins >= case.goal).astype(int),
        sensitive_features=values,
    )
    groups = {
        g: {
            "films": int((values == g).sum()),
            "auc": round(area(labels[values == g], margins[values == g]), 4),
            **{k: round(float(v), 4) for k, v in frame.by_group.loc[g].items()},
        }
        for g in large
    }
    return Gap(name, groups, estimate(between, patients), round(float(np.mean(chance)), 4))
