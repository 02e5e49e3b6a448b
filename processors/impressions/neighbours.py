"""A site's own reports as an index: what the impressions of the most similar findings say.

In: folded words of findings (TF-IDF of words and pairs, scikit-learn) and the site's impressions.
Out: the nearest reports, and impressions to offer: theirs, the house's commonest, the likeliest.
The index holds the site's texts and words, and therefore never leaves the site. Never: a report's
patient or uid; a neighbour out of a group that is left out (training: its own near duplicates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from processors.impressions.drafting import Candidate
from processors.impressions.overlap import shared
from processors.impressions.phrasing import cleaned
from processors.impressions.statements import Numbers
from processors.impressions.text import fold, sentences

WORDS = r"[a-z0-9]+"
NEAREST = 25
OFFERED = 12  # of the nearest, and of the commonest
LIKELIEST = 6
_COMPARED = 10  # nearest impressions that a candidate is compared with
_BELIEVED = 15  # likeliest impressions over which a candidate's worth is expected

FEATURES = (
    *("near rank", "near share", "near similarity", "near best", "near mean", "near median"),
    *("house share", "likely share", "likely expected", "nearest similarity", "mean similarity"),
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and pairs of words with their weights."""

    terms: tuple[str, ...]
    weights: NDArray[np.float64]
    vectorizer: TfidfVectorizer

    def table(self, texts: Sequence[str]) -> csr_matrix:
        """TF-IDF of texts: (texts, terms), rows of length 1."""
        return self.vectorizer.transform(texts)


def vectorizer(
    terms: Sequence[str] | None = None, least: int = 1, most: int | None = None
) -> TfidfVectorizer:
    """How texts become terms; terms: those to count, else they are learnt (fit)."""
    return TfidfVectorizer(
        preprocessor=fold,
        token_pattern=WORDS,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=least,
        max_features=most,
        vocabulary=None if terms is None else {term: i for i, term in enumerate(terms)},
    )


def vocabulary(terms: Sequence[str], weights: NDArray[np.float64]) -> Vocabulary:
    """A vocabulary as it was stored."""
    made = vectorizer(terms)
    made.idf_ = weights
    return Vocabulary(tuple(terms), weights, made)


@dataclass(frozen=True, slots=True)
class Known:
    """What a site knows of one request. near: impressions of the nearest reports with their
    similarity 0..1; likely: the house's commonest impressions with their probability here; common:
    the same with their share of all reports. statements: a linear model's score of each statement
    by its words, 0..1; length: words of the impression by words of the findings."""

    near: tuple[tuple[str, float], ...]
    likely: tuple[tuple[str, float], ...]
    common: tuple[tuple[str, float], ...]
    statements: Numbers
    length: float


def closest(
    index: csr_matrix, row: csr_matrix, left_out: NDArray[np.bool_] | None = None
) -> list[tuple[int, float]]:
    """The nearest rows of an index with their cosine, the first one first."""
    similar = np.asarray((index @ row.T).todense(), np.float32).ravel()
    if left_out is not None:
        similar[left_out] = -1.0
    order = np.argsort(-similar, kind="stable")[:NEAREST]
    return [(int(i), float(similar[i])) for i in order if similar[i] >= 0.0]


@lru_cache(maxsize=65536)
def tidy(impression: str) -> str:
    """An impression as a candidate: no list numbers, no masks, whole sentences."""
    return " ".join(filter(None, (cleaned(span.text) for span in sentences(impression))))


def offered(known: Known) -> tuple[Candidate, ...]:
    """Impressions to choose from: of the nearest, the commonest and the likeliest."""
    near = dict.fromkeys(text for text, _ in known.near)
    texts = [*list(near)[:OFFERED], *(t for t, _ in known.common[:OFFERED])]
    texts += [t for t, _ in known.likely[:LIKELIEST]]
    return tuple(Candidate(text, "nearest") for text in dict.fromkeys(texts) if text)


def features(known: Known, candidates: Sequence[Candidate]) -> Numbers:
    """What the site's reports say of each candidate: (candidates, len(FEATURES)) float32."""
    near = [text for text, _ in known.near]
    weights = np.array([max(s, 1e-3) for _, s in known.near[:_COMPARED]] or [1.0])
    likely, common = dict(known.likely), dict(known.common)
    believed = known.likely[:_BELIEVED]
    mass = sum(p for _, p in believed) or 1.0
    rows = []
    for text in (c.text for c in candidates):
        alike = np.array([shared(text, other) for other in near[:_COMPARED]] or [0.0])
        first = near.index(text) if text in near else -1
        rows.append(
            [
                float(first),
                near.count(text) / max(1, len(near)),
                known.near[first][1] if first >= 0 else 0.0,
                float(alike.max()),
                float(np.average(alike, weights=weights[: len(alike)])),
                float(np.median(alike)),
                common.get(text, 0.0),
                likely.get(text, 0.0),
                sum(p * shared(text, other) for other, p in believed) / mass,
                known.near[0][1] if known.near else 0.0,
                float(weights.mean()),
            ]
        )
    return np.asarray(rows, np.float32).reshape(len(rows), len(FEATURES))
