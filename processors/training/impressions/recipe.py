"""The recipe: score statements, expect, offer candidates, learn which one is worth most.

In: examples with folds. Out: the four models as text, and for each example the candidate that
models which never saw it would choose. Never: a model whose training rows were answered by models
that saw them; a draft time that differs from training (the guard sifts here too).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from processors.impressions import neighbours, scoring, site
from processors.impressions.composing import Extracts, Normals, normals
from processors.impressions.drafting import Candidate
from processors.impressions.features import Expected, features
from processors.impressions.guarding import passed
from processors.impressions.neighbours import Known
from processors.impressions.statements import Case, Numbers
from processors.training.impressions import fitting
from processors.training.impressions.examples import Example, Folds, agreement, likeness, taken

Tell = Callable[[str, int, int], None]
AGREEMENT = 0.2  # weight of the findings beside the words in a candidate's worth


@dataclass(frozen=True, slots=True)
class _Told:
    """A Scorer of one case, whose answers are already known."""

    known: Numbers
    quiet: tuple[str, ...]

    def scores(self, _: Case) -> Numbers:
        return self.known

    def calm(self, _: Case) -> tuple[str, ...]:
        return self.quiet


@dataclass(frozen=True, slots=True)
class _Offered:
    """Candidates of one example with their numbers and worth; worth has mean 0."""

    candidates: tuple[Candidate, ...]
    table: Numbers
    worth: Numbers


@dataclass(frozen=True, slots=True)
class Recipe:
    """models: file name to LightGBM text. chosen: each example's draft, out of fold."""

    models: dict[str, str]
    chosen: tuple[str, ...]


def learn(
    learners: Sequence[Example], fold: Folds, tell: Tell, knowledge: Sequence[Known] = ()
) -> Recipe:
    """Fits everything. fold: of each example. knowledge: what the site's other reports know of each
    example, out of fold; none for the bundle that needs no site."""
    known: Sequence[Known | None] = knowledge or [None] * len(learners)
    sizes = [len(e.case.statements) for e in learners]
    rows = np.vstack([_statements(e, k) for e, k in zip(learners, known, strict=True)])
    targets = np.concatenate([taken(e) for e in learners])
    tell("statements", 0, 1)
    answers = fitting.out_of_fold(fitting.STATEMENTS, rows, targets, np.repeat(fold, sizes))
    scores = np.split(answers, np.cumsum(sizes)[:-1])
    scenes = np.vstack([_scene(*each) for each in zip(learners, scores, known, strict=True)])
    asserts = np.array([e.asserts for e in learners], np.float32)
    length = np.log1p(np.array([e.length for e in learners], np.float32))
    likely = fitting.out_of_fold(fitting.ASSERTS, scenes, asserts, fold)
    long = np.expm1(fitting.out_of_fold(fitting.LENGTH, scenes, length, fold))
    offers = []
    for i, example in enumerate(learners):
        tell("candidates", i, len(learners))
        expected = Expected(float(likely[i]), float(long[i]))
        offers.append(_offered(example, scores[i], expected, known[i]))
    counts = [len(o.candidates) for o in offers]
    table = np.vstack([o.table for o in offers])
    worth = np.concatenate([o.worth for o in offers])
    weight = np.concatenate([np.full(n, 1 / max(1, n), np.float32) for n in counts])
    tell("choice", 0, 1)
    found = fitting.out_of_fold(fitting.WORTH, table, worth, np.repeat(fold, counts), weight)
    chosen = tuple(
        o.candidates[int(answer.argmax())].text if len(answer) else ""
        for o, answer in zip(offers, np.split(found, np.cumsum(counts)[:-1]), strict=True)
    )
    models = {
        scoring.STATEMENTS: fitting.fit(fitting.STATEMENTS, rows, targets),
        scoring.ASSERTS: fitting.fit(fitting.ASSERTS, scenes, asserts),
        scoring.LENGTH: fitting.fit(fitting.LENGTH, scenes, length),
        scoring.WORTH: fitting.fit(fitting.WORTH, table, worth, weight),
    }
    return Recipe({name: model.model_to_string() for name, model in models.items()}, chosen)


def _statements(example: Example, known: Known | None) -> Numbers:
    if known is None:
        return scoring.statement_rows(example.case)
    return site.statement_rows(example.case, known)


def _scene(example: Example, scores: Numbers, known: Known | None) -> Numbers:
    if known is None:
        return scoring.scene_row(example.case, scores)
    return site.scene_row(example.case, scores, known)


def _offered(
    example: Example, scores: Numbers, expected: Expected, known: Known | None
) -> _Offered:
    found = example.case
    quiet = site.calm(found, known) if known else normals(found)[:1]
    asked = (Extracts(_Told(scores, quiet)), Normals())
    every = [c for source in asked for c in source.candidates(found.request)]
    every += neighbours.offered(known) if known else ()
    left = tuple(p.candidate for p in passed(every, found))
    table = features(found, scores, expected, left)
    if known:
        table = np.hstack([table, neighbours.features(known, left)])
    worth = [likeness(example, c.text) + AGREEMENT * agreement(example, c.text) for c in left]
    centred = np.asarray(worth, np.float32) - np.float32(np.mean(worth) if worth else 0.0)
    return _Offered(left, table, centred)
