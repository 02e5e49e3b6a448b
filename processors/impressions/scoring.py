"""What was learnt of impressions: which statements they take up, and which draft to choose.

In: a bundle folder (LightGBM models in their text format, each checked by its SHA-256) and Cases.
Out: scores of statements, what is expected of the impression, the worth of each candidate. The
shipped bundle knows numbers alone (`statements.TRAITS`, `SCENE`, `features.FEATURES`): no report
text and no word learnt from one. Never: a pickle, a model whose columns are not those of this code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from processors.impressions.composing import Scorer, normals
from processors.impressions.drafting import Candidate
from processors.impressions.features import FEATURES, Expected, asserts, features
from processors.impressions.statements import SCENE, TRAITS, Case, Numbers
from processors.runtime import WeightsCorrupt, WeightsShape, read_verified

if TYPE_CHECKING:
    import lightgbm  # loaded where a model is opened: it brings scipy and scikit-learn along

SHIPPED = "impressions"
CARD = "configs/impressions.json"
STATEMENTS = "models/statements.txt"
ASSERTS = "models/asserts.txt"
LENGTH = "models/length.txt"
WORTH = "models/worth.txt"
MODELS = (STATEMENTS, ASSERTS, LENGTH, WORTH)
LEADING = 3  # best scores of statements that tell what an impression is like


class Judge(Scorer, Protocol):
    """A Scorer that also knows which candidate is worth most."""

    def worth(self, case: Case, candidates: Sequence[Candidate]) -> Numbers:
        """The worth of each candidate, the greater the better: (candidates,)."""


@dataclass(frozen=True, slots=True)
class Trees:
    """One LightGBM model. Answers (rows,) float32 to (rows, columns)."""

    booster: lightgbm.Booster

    def __call__(self, table: Numbers) -> Numbers:
        if not len(table):
            return np.zeros(0, np.float32)
        return np.asarray(self.booster.predict(table, num_threads=1), np.float32)


@dataclass(frozen=True, slots=True)
class Learnt:
    """A Judge out of trees over numbers alone. caution: see `cautious`."""

    statements: Trees
    asserts: Trees
    length: Trees
    choice: Trees
    caution: float

    def scores(self, case: Case) -> Numbers:
        return self.statements(statement_rows(case))

    def calm(self, case: Case) -> tuple[str, ...]:
        return normals(case)[:1]

    def expected(self, case: Case, scores: Numbers) -> Expected:
        row = scene_row(case, scores)
        return Expected(float(self.asserts(row)[0]), float(np.expm1(self.length(row)[0])))

    def worth(self, case: Case, candidates: Sequence[Candidate]) -> Numbers:
        scores = self.scores(case)
        expected = self.expected(case, scores)
        found = self.choice(features(case, scores, expected, candidates))
        return cautious(found, expected.asserts, self.caution, candidates, case.request.language)


def cautious(
    worth: Numbers, likely: float, caution: float, candidates: Sequence[Candidate], language: str
) -> Numbers:
    """Worth, and more for each candidate that asserts a finding: caution times the probability
    that the impression has one. Likeness to a radiologist's words alone rewards templates."""
    return worth + np.float32(caution * likely) * asserts(candidates, language)


def statement_rows(case: Case) -> Numbers:
    """What the scorer of statements sees: (statements, TRAITS + SCENE)."""
    scene = np.broadcast_to(case.scene, (len(case.statements), len(SCENE)))
    return np.hstack([case.traits, scene])


def scene_row(case: Case, scores: Numbers) -> Numbers:
    """What tells an impression's kind: (1, SCENE + LEADING)."""
    best = np.zeros(LEADING, np.float32)
    leading = np.sort(scores)[::-1][:LEADING]
    best[: len(leading)] = leading
    return np.concatenate([case.scene, best])[None]


def trees(files: Mapping[str, bytes], name: str, columns: int) -> Trees:
    """One model of a bundle. Raises WeightsCorrupt, or WeightsShape for other columns."""
    import lightgbm

    try:
        booster = lightgbm.Booster(model_str=files[name].decode("ascii"))
    except (KeyError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise WeightsCorrupt(f"{name} is no LightGBM model: {error}") from error
    if booster.num_feature() != columns:
        raise WeightsShape(
            f"{name} was trained on {booster.num_feature()} columns, this version has {columns}.",
            then="Train the bundle again.",
        )
    return Trees(booster)


def check_columns(files: Mapping[str, bytes], columns: Mapping[str, Sequence[str]]) -> None:
    """Raises WeightsShape where the card's lists of columns are not those of this code."""
    listed = json.loads(files[CARD])["columns"]
    for kind, names in columns.items():
        if listed.get(kind) != list(names):
            raise WeightsShape(
                f"The bundle's {kind} are not those of this version.", then="Train it again."
            )


def caution_of(files: Mapping[str, bytes]) -> float:
    """The caution that a bundle's card holds."""
    return float(json.loads(files[CARD])["caution"])


def open_shipped(path_or_name: str = SHIPPED) -> Learnt:
    """The Judge of a bundle without site. Raises BundleError."""
    _, files = read_verified(path_or_name)
    check_columns(files, {"traits": TRAITS, "scene": SCENE, "features": FEATURES})
    return assembled(files, caution_of(files))


def assembled(files: Mapping[str, bytes], caution: float) -> Learnt:
    """The Judge out of the bytes of its models."""
    return Learnt(
        trees(files, STATEMENTS, len(TRAITS) + len(SCENE)),
        trees(files, ASSERTS, len(SCENE) + LEADING),
        trees(files, LENGTH, len(SCENE) + LEADING),
        trees(files, WORTH, len(FEATURES)),
        caution,
    )
