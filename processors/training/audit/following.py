"""Does the score follow where a film comes from, or who the patient is, instead of the finding?

In: a case whose films say their source, view, sex, age, geometry. Out: for each of these, how well
the score tells it among films of equal answer (AUC .5: not at all), and how well the latent does
(five folds by patient), with 95 % intervals. That a latent holds it is no fault by itself; that the
score follows it is one. Never: a figure of fewer than FEWEST films a side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from processors.training.audit.cases import FEWEST, Case
from processors.training.data import Sample
from processors.training.measure import Estimate, Numbers, area, estimate
from processors.vae.latent import Array, pooled

FOLDS = 5


def attributes(samples: Sequence[Sample]) -> dict[str, NDArray[np.str_]]:
    """Per attribute its value for each film; empty where the table does not say."""
    ages = [s.age for s in samples]
    known = [age for age in ages if age is not None]
    middle = float(np.median(known)) if known else 0.0
    age = ["" if a is None else f"above {middle:g} years" if a > middle else "" for a in ages]
    young = [f"up to {middle:g} years" if a is not None and a <= middle else "" for a in ages]
    return {
        "source": np.array([s.source.split(" via ")[0].split(",")[0] for s in samples]),
        "view": np.array([s.view for s in samples]),
        "sex": np.array([s.sex for s in samples]),
        "age": np.array([a or b for a, b in zip(age, young, strict=True)]),
        "geometry": np.array([s.geometry for s in samples]),
    }


@dataclass(frozen=True, slots=True)
class Followed:
    """One value of an attribute against its others. score: AUC of the margin for it, within equal
    answers, the mean weighted by films; latent: AUC of a logistic regression on the latent."""

    attribute: str
    value: str
    films: int
    score: Estimate
    latent: Estimate

    @property
    def strength(self) -> float:
        """How far the interval of the score's AUC stays away from .5; 0 where it holds .5."""
        return max(0.0, self.score.low - 0.5, 0.5 - self.score.high)

    def record(self) -> dict[str, Any]:
        shown = {"attribute": self.attribute, "value": self.value, "films": self.films}
        return {**shown, "score": self.score.record(), "latent": self.latent.record()}


def followed(case: Case) -> Iterator[Followed]:
    """Every value of every attribute that enough films of both sides have within one answer."""
    for name, values in attributes(case.images.samples).items():
        known = values != ""
        for value in sorted(set(values[known])):
            mine = values == value
            if min(mine[known].sum(), (~mine)[known].sum()) < FEWEST or not _mixed(
                case, known, mine
            ):
                continue
            yield Followed(
                name, str(value), int(mine.sum()), _score(case, known, mine),
                _latent(case.latents[known], mine[known], _names(case, known)),
            )  # fmt: skip
            if len(set(values[known])) == 2:
                break  # the other value says the same again


def _names(case: Case, keep: NDArray[np.bool_]) -> list[str]:
    return [name for name, kept in zip(case.patients, keep, strict=True) if kept]


def _sides(case: Case, keep: NDArray[np.bool_], mine: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The answers within which both sides occur often enough."""
    sides = (keep & case.positive, keep & ~case.positive)
    return [s for s in sides if min(mine[s].sum(), (~mine)[s].sum()) >= FEWEST]


def _mixed(case: Case, keep: NDArray[np.bool_], mine: NDArray[np.bool_]) -> bool:
    return bool(_sides(case, keep, mine))


def _score(case: Case, keep: NDArray[np.bool_], mine: NDArray[np.bool_]) -> Estimate:
    sides, labels = _sides(case, keep, mine), mine.astype(np.int64)

    def mean(i: NDArray[np.intp]) -> float:
        found, weights = [], []
        for side in sides:
            j = i[side[i]]
            if len(j) and 0 < labels[j].mean() < 1:
                found.append(area(labels[j], case.margins[j]))
                weights.append(len(j))
        return float(np.average(found, weights=weights)) if found else 0.5

    return estimate(mean, case.patients)


def _latent(latents: Array, mine: NDArray[np.bool_], patients: Sequence[str]) -> Estimate:
    labels = mine.astype(np.int64)
    scores = predicted(latents, labels, patients)
    return estimate(lambda i: area(labels[i], scores[i]), patients, labels)


def predicted(latents: Array, labels: NDArray[np.int64], patients: Sequence[str]) -> Numbers:
    """Probability of the label for each film by a model that saw no film of its patient."""
    features = pooled(latents)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = GroupKFold(min(FOLDS, len(set(patients))))
    found = cross_val_predict(
        model, features, labels, groups=np.array(patients), cv=folds, method="predict_proba"
    )
    return np.asarray(found[:, 1], dtype=np.float64)
