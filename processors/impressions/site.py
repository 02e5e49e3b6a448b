"""A site's corpus folder: its index and all that was learnt of its reports, opened for drafting.

In: the folder that `dictamen impressions index` made (JSON, npz and LightGBM's text, each file
checked by its SHA-256). Out: a Judge, and a Source of the nearest impressions. The full recipe:
neighbours, a scorer of sentences by their words, the house's style, the choice over all candidates.
Never: a pickle; a word of it into the shipped bundle.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from processors.impressions import neighbours, scoring
from processors.impressions.composing import normals
from processors.impressions.drafting import Candidate, Request
from processors.impressions.features import FEATURES, Expected, features
from processors.impressions.labeller import read
from processors.impressions.neighbours import Known, Vocabulary
from processors.impressions.scoring import Trees
from processors.impressions.statements import SCENE, TRAITS, Case, Numbers, case, names
from processors.runtime import read_verified

TEXTS = "texts.json"
ARRAYS = "arrays.npz"
LARGEST = 4 * 2**30  # bytes of one file: a hospital's reports of years
_REMEMBERED = 8  # requests whose Known is kept: sources, scores and worth all ask for it


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear model over a vocabulary: weight (answers, terms), bias (answers,)."""

    words: Vocabulary
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, texts: Sequence[str]) -> Numbers:
        """The margin of each answer: (texts, answers)."""
        return np.asarray(self.words.table(texts) @ self.weight.T + self.bias, np.float32)


@dataclass(frozen=True, slots=True)
class Site:
    """What a site's reports know. impressions: one a row of the index, tidy; common: the house's
    commonest with their share, the answers of `style` in that order, after which "other"."""

    words: Vocabulary
    index: csr_matrix
    impressions: tuple[str, ...]
    common: tuple[tuple[str, float], ...]
    sentences: Linear
    style: Linear
    length: Linear

    def known(self, found: Case, left_out: NDArray[np.bool_] | None = None) -> Known:
        """left_out: rows of the index that may not be neighbours."""
        request = found.request
        whole = [style_text(request)]
        near = neighbours.closest(self.index, self.words.table([request.findings]), left_out)
        return Known(
            tuple((self.impressions[i], similar) for i, similar in near),
            ranked(self.common, probabilities(self.style(whole))[0]),
            self.common,
            sigmoid(self.sentences([s.text for s in found.statements])[:, 0]),
            float(np.expm1(self.length(whole)[0, 0])),
        )


@dataclass(frozen=True, slots=True)
class SiteJudge:
    """A Judge and a Source out of a site's reports."""

    site: Site
    statements: Trees
    asserts: Trees
    length: Trees
    choice: Trees
    caution: float
    _remembered: OrderedDict[Request, Known] = field(default_factory=OrderedDict)

    def _known(self, found: Case) -> Known:
        if found.request not in self._remembered:
            self._remembered[found.request] = self.site.known(found)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return self._remembered[found.request]

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        return neighbours.offered(self._known(case(request)))

    def scores(self, case: Case) -> Numbers:
        return self.statements(statement_rows(case, self._known(case)))

    def calm(self, case: Case) -> tuple[str, ...]:
        return calm(case, self._known(case))

    def worth(self, case: Case, candidates: Sequence[Candidate]) -> Numbers:
        known, scores = self._known(case), self.scores(case)
        row = scene_row(case, scores, known)
        expected = Expected(float(self.asserts(row)[0]), float(np.expm1(self.length(row)[0])))
        ours = features(case, scores, expected, candidates)
        found = self.choice(np.hstack([ours, neighbours.features(known, candidates)]))
        language = case.request.language
        return scoring.cautious(found, expected.asserts, self.caution, candidates, language)


def style_text(request: Request) -> str:
    """What the house's style depends on."""
    return f"{request.indication}\n{request.findings}"


def statement_rows(found: Case, known: Known) -> Numbers:
    return np.hstack([scoring.statement_rows(found), known.statements[:, None]])


def scene_row(found: Case, scores: Numbers, known: Known) -> Numbers:
    likely = [p for _, p in known.likely[:1]] or [0.0]
    return np.hstack([scoring.scene_row(found, scores), [[known.length, *likely]]])


SITE_SCENE = 2  # columns that scene_row adds


def calm(found: Case, known: Known) -> tuple[str, ...]:
    """How this house says that nothing else is acute: its likeliest impression that asserts
    nothing, and our own."""
    ours = normals(found)[:1]
    if not ours:
        return ()
    language = found.request.language
    theirs = (t for t, _ in known.likely if not any(map(names, read(t, language))))
    return tuple(dict.fromkeys((*list(theirs)[:1], *ours)))


def ranked(common: Sequence[tuple[str, float]], likely: Numbers) -> tuple[tuple[str, float], ...]:
    """The house's impressions with their probability, the likeliest first."""
    told = [(text, float(p)) for (text, _), p in zip(common, likely, strict=False)]
    return tuple(sorted(told, key=lambda each: -each[1]))


def sigmoid(margin: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-margin)), np.float32)


def probabilities(margins: Numbers) -> Numbers:
    """Softmax of each row."""
    powers = np.exp(margins - margins.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def open_site(folder: Path) -> SiteJudge:
    """The Judge of a corpus folder. Raises BundleError."""
    _, files = read_verified(str(folder), largest=LARGEST)
    columns = {"traits": TRAITS, "scene": SCENE, "features": FEATURES, "near": neighbours.FEATURES}
    scoring.check_columns(files, columns)
    texts: Mapping[str, Any] = json.loads(files[TEXTS])
    with np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    scene = len(SCENE) + scoring.LEADING + SITE_SCENE
    return SiteJudge(
        _site(texts, arrays),
        scoring.trees(files, scoring.STATEMENTS, len(TRAITS) + len(SCENE) + 1),
        scoring.trees(files, scoring.ASSERTS, scene),
        scoring.trees(files, scoring.LENGTH, scene),
        scoring.trees(files, scoring.WORTH, len(FEATURES) + len(neighbours.FEATURES)),
        scoring.caution_of(files),
    )


def _site(texts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Site:
    def words(name: str) -> Vocabulary:
        return neighbours.vocabulary(texts["terms"][name], arrays[f"{name} weights"])

    def linear(name: str, vocabulary: Vocabulary) -> Linear:
        return Linear(vocabulary, arrays[f"{name} weight"], arrays[f"{name} bias"])

    parts = (arrays[f"index {part}"] for part in ("data", "indices", "indptr"))
    style = words("style")
    findings = words("findings")
    impressions = tuple(texts["impressions"])
    return Site(
        findings,
        csr_matrix(tuple(parts), shape=(len(impressions), len(findings.terms))),
        impressions,
        tuple((text, share) for text, share in texts["common"]),
        linear("sentences", words("sentences")),
        linear("style", style),
        linear("length", style),
    )
