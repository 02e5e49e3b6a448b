"""Makes a site's corpus folder: the index of its reports and everything learnt of them.

In: the site's pairs. Out: the folder that `site.open_site` opens: texts and terms as JSON, arrays
as npz, LightGBM models as text, figures, checksums. It holds the site's words and belongs to the
site alone. Never: a neighbour or a linear model that knows the report it is asked about, nor one of
its near duplicates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge

from processors.impressions import neighbours, scoring
from processors.impressions.corpus import Pair
from processors.impressions.features import FEATURES
from processors.impressions.neighbours import Known, Vocabulary
from processors.impressions.site import ARRAYS, TEXTS, Linear, Site, style_text
from processors.impressions.statements import SCENE, TRAITS
from processors.training.files import write_checksums, write_json
from processors.training.impressions.duplicates import grouped
from processors.training.impressions.examples import Example, Folds, examples, folds, taken
from processors.training.impressions.figures import by_group
from processors.training.impressions.recipe import Tell, learn

_COMMON = 50  # impressions of the house that its style is told by
_LEAST_USED = 3
_TERMS = 30_000  # of a linear model's vocabulary
_FEW = 1000  # reports up to which every word counts, however rare


def make(pairs: Sequence[Pair], target: Path, tell: Tell) -> dict[str, Any]:
    """Writes the folder; returns its card, with the cross-validated figures."""
    tell("near duplicates", 0, 1)
    learners = examples(grouped(pairs))
    kept = [e.pair for e in learners]
    fold = folds(kept)
    knowledge = _knowledge(learners, fold, tell)
    recipe = learn(learners, fold, tell, knowledge)
    whole = _site(learners)
    for name, model in recipe.models.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(model, encoding="ascii")
    _write(whole, target)
    card = {
        "reports": len(kept),
        "groups of near duplicates": len({p.group for p in kept}),
        "languages": dict(Counter(p.language for p in kept)),
        "caution": recipe.caution,
        "columns": {
            "traits": TRAITS,
            "scene": SCENE,
            "features": FEATURES,
            "near": neighbours.FEATURES,
        },
        "figures": by_group(kept, recipe.chosen),
    }
    (target / "configs").mkdir(exist_ok=True)
    write_json(target / scoring.CARD, card)
    write_checksums(target)
    return card


@dataclass(frozen=True, slots=True)
class _Style:
    """Which of the house's commonest impressions each report has; the last one is "other"."""

    common: tuple[tuple[str, float], ...]
    of: NDArray[np.int64]


def _style(learners: Sequence[Example]) -> _Style:
    tidy = [neighbours.tidy(e.pair.impression) for e in learners]
    counted = Counter(tidy).most_common(_COMMON)
    common = tuple((t, n / len(tidy)) for t, n in counted if n >= _LEAST_USED)
    places = {text: i for i, (text, _) in enumerate(common)}
    return _Style(common, np.array([places.get(text, len(common)) for text in tidy], np.int64))


def _site(learners: Sequence[Example]) -> Site:
    """Index and linear models of these reports."""
    style = _style(learners)
    findings = _vocabulary([e.pair.findings for e in learners], 1, None)
    texts = [s.text for e in learners for s in e.case.statements]
    whole = [style_text(e.case.request) for e in learners]
    by_sentence = _vocabulary(texts, 2, _TERMS)
    by_report = _vocabulary(whole, 2, _TERMS)
    rows = by_report.table(whole)
    length = np.log1p([float(e.length) for e in learners])
    ridge = Ridge(alpha=1.0, solver="sparse_cg", random_state=0).fit(rows, length)
    weights = np.asarray(ridge.coef_, np.float32)[None], np.array([ridge.intercept_], np.float32)
    return Site(
        findings,
        csr_matrix(findings.table([e.pair.findings for e in learners]), dtype=np.float32),
        tuple(neighbours.tidy(e.pair.impression) for e in learners),
        style.common,
        _logistic(by_sentence, texts, np.concatenate([taken(e) for e in learners]).astype(int), 2),
        _logistic(by_report, whole, style.of, len(style.common) + 1),
        Linear(by_report, *weights),
    )


def _vocabulary(texts: Sequence[str], least: int, most: int | None) -> Vocabulary:
    fitted = neighbours.vectorizer(None, least if len(texts) > _FEW else 1, most).fit(texts)
    return neighbours.vocabulary(tuple(fitted.get_feature_names_out()), fitted.idf_)


def _logistic(
    words: Vocabulary, texts: Sequence[str], target: NDArray[np.int64], answers: int
) -> Linear:
    """Margins of answers 0.. (of two: of answer 1 alone); an answer nobody gave is unlikely."""
    seen = np.unique(target)
    weight = np.zeros((answers, len(words.terms)), np.float32)
    bias = np.full(answers, -20.0, np.float32)
    if len(seen) == 1:
        bias[seen] = 0.0
    else:
        fitted = LogisticRegression(C=4.0, max_iter=60, tol=1e-3).fit(words.table(texts), target)
        rows = fitted.coef_ if len(seen) > 2 else np.vstack([-fitted.coef_, fitted.coef_]) / 2
        shift = (
            fitted.intercept_ if len(seen) > 2 else np.r_[-fitted.intercept_, fitted.intercept_] / 2
        )
        weight[seen], bias[seen] = rows, shift
    if answers == 2:
        return Linear(words, weight[1:] - weight[:1], bias[1:] - bias[:1])
    return Linear(words, weight, bias)


def _knowledge(learners: Sequence[Example], fold: Folds, tell: Tell) -> list[Known]:
    """What the other reports know of each: linear models of other folds, no near duplicate as
    neighbour."""
    groups = np.array([e.pair.group for e in learners])
    whole = _site_index(learners)
    found: list[Known | None] = [None] * len(learners)
    numbers = np.unique(fold)
    for step, number in enumerate(numbers):
        tell("words", step, len(numbers))
        held = np.flatnonzero(fold == number).tolist()
        others = _site([e for e, f in zip(learners, fold, strict=True) if f != number])
        asked = replace(others, words=whole[0], index=whole[1], impressions=whole[2])
        for i in held:
            found[i] = asked.known(learners[i].case, groups == groups[i])
    return [known for known in found if known is not None]


def _site_index(
    learners: Sequence[Example],
) -> tuple[Vocabulary, csr_matrix, tuple[str, ...]]:
    findings = [e.pair.findings for e in learners]
    words = _vocabulary(findings, 1, None)
    index = csr_matrix(words.table(findings), dtype=np.float32)
    return words, index, tuple(neighbours.tidy(e.pair.impression) for e in learners)


def _write(whole: Site, target: Path) -> None:
    texts = {
        "terms": {
            "findings": whole.words.terms,
            "sentences": whole.sentences.words.terms,
            "style": whole.style.words.terms,
        },
        "impressions": whole.impressions,
        "common": whole.common,
    }
    (target / TEXTS).write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    arrays = {
        "findings weights": whole.words.weights,
        "sentences weights": whole.sentences.words.weights,
        "style weights": whole.style.words.weights,
        "index data": whole.index.data,
        "index indices": whole.index.indices,
        "index indptr": whole.index.indptr,
    }
    for name in ("sentences", "style", "length"):
        linear = getattr(whole, name)
        arrays |= {f"{name} weight": linear.weight, f"{name} bias": linear.bias}
    np.savez_compressed(target / ARRAYS, **arrays)
