"""The recipe: score statements, expect, offer candidates, learn which one is worth most.

In: examples with folds. Out: the four models as text, and for each example the candidate that
models which never saw it would choose. Never: a model whose training rows were answered by models
that saw them; a draft time that differs from training (the guard sifts here too).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from processors.impressions import neighbours, scoring, site
from processors.impressions.composing import Extracts, Normals, normals
from processors.impressions.drafting import Candidate
from processors.impressions.features import Expected, asserts, features
from processors.impressions.guarding import passed
from processors.impressions.neighbours import Known
from processors.impressions.overlap import words
from processors.impressions.statements import Case, Numbers
from processors.training.impressions import fitting
from processors.training.impressions.examples import Example, Folds, likeness, taken

Tell = Callable[[str, int, int], None]
FALSE_NORMALS = 0.15  # goal, out of fold: drafts without a finding among impressions that have one
CAUTIONS = tuple(round(0.02 * step, 2) for step in range(51))
LARGEST = 8  # reports of one group of near duplicates
NEW = 4.0  # weight of an impression that stands once: of 1, 2, 3, 4, 8 tried, out of fold


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
    asserts: Numbers
    table: Numbers
    worth: Numbers


@dataclass(frozen=True, slots=True)
class Recipe:
    """models: file name to LightGBM text. caution: see `scoring.cautious`. chosen: each example's
    draft, out of fold."""

    models: dict[str, str]
    caution: float
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
    telling = np.array([e.asserts for e in learners], np.float32)
    length = np.log1p(np.array([e.length for e in learners], np.float32))
    likely = fitting.out_of_fold(fitting.ASSERTS, scenes, telling, fold)
    long = np.expm1(fitting.out_of_fold(fitting.LENGTH, scenes, length, fold))
    offers = []
    for i, example in enumerate(learners):
        tell("candidates", i, len(learners))
        expected = Expected(float(likely[i]), float(long[i]))
        offers.append(_offered(example, scores[i], expected, known[i]))
    counts = [len(o.candidates) for o in offers]
    table = np.vstack([o.table for o in offers])
    worth = np.concatenate([o.worth for o in offers])
    shape, new = (fitting.WORTH, 1.0) if knowledge else (fitting.ALONE, NEW)
    weight = np.repeat(weights(learners, new), counts)
    tell("choice", 0, 1)
    found = fitting.out_of_fold(shape, table, worth, np.repeat(fold, counts), weight)
    found_each = np.split(found, np.cumsum(counts)[:-1])
    caution, chosen = _with_caution(learners, offers, found_each, likely)
    models = {
        scoring.STATEMENTS: fitting.fit(fitting.STATEMENTS, rows, targets),
        scoring.ASSERTS: fitting.fit(fitting.ASSERTS, scenes, telling),
        scoring.LENGTH: fitting.fit(fitting.LENGTH, scenes, length),
        scoring.WORTH: fitting.fit(shape, table, worth, weight),
    }
    texts = {name: model.model_to_string() for name, model in models.items()}
    return Recipe(texts, caution, chosen)


def weights(learners: Sequence[Example], new: float) -> Numbers:
    """A group of near duplicates counts as LARGEST reports at most: boilerplate is one lesson.

    new: what an impression counts for that stands once. The others are a house's templates: which
    one it is, its neighbours tell, and no number of the findings does.
    """
    sizes = Counter(e.pair.group for e in learners if e.pair.group)
    times = Counter(words(e.pair.impression) for e in learners)
    found = [
        min(1.0, LARGEST / max(1, sizes[e.pair.group]))
        * (new if times[words(e.pair.impression)] == 1 else 1.0)
        for e in learners
    ]
    return np.array(found, np.float32)


def _with_caution(
    learners: Sequence[Example],
    offers: Sequence[_Offered],
    answers: Sequence[Numbers],
    likely: Numbers,
) -> tuple[float, tuple[str, ...]]:
    """The least caution that keeps false normals at the goal, out of fold, and what is then chosen;
    the greatest where none does."""
    caution, chosen = 0.0, tuple[str, ...]()
    for caution in CAUTIONS:
        places = [
            int((answer + caution * p * offer.asserts).argmax()) if len(answer) else -1
            for offer, answer, p in zip(offers, answers, likely, strict=True)
        ]
        chosen = tuple(
            o.candidates[i].text if i >= 0 else "" for o, i in zip(offers, places, strict=True)
        )
        normal = [
            i < 0 or not offer.asserts[i]
            for example, offer, i in zip(learners, offers, places, strict=True)
            if example.asserts
        ]
        if not normal or np.mean(normal) <= FALSE_NORMALS:
            break
    return caution, chosen


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
    worth = [likeness(example, c.text) for c in left]
    centred = np.asarray(worth, np.float32) - np.float32(np.mean(worth) if worth else 0.0)
    return _Offered(left, asserts(left, found.request.language), table, centred)
