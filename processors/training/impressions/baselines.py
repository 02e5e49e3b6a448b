"""What every draft must be compared with: a constant sentence, copied sentences, copied reports.

In: findings to draft for, and reports of the same house with their impressions. Out: impressions.
Never: a report as its own neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from processors.impressions.corpus import Pair
from processors.training.impressions.scores import rouge, sentences, unmask

CONSTANT = {
    "en": "No acute cardiopulmonary abnormality.",
    "es": "Sin alteraciones cardiopulmonares agudas.",
}
LEADS = (1, 3)
NEIGHBOURS = (1, 7)


def lead(findings: str, count: int) -> str:
    """The first sentences of the findings (LEAD-n)."""
    return " ".join(sentences(unmask(findings))[:count])


class Neighbours:
    """Nearest reports by the cosine of TF-IDF over words and pairs of words of the findings."""

    def __init__(self, reports: Sequence[Pair]) -> None:
        """Raises ValueError without reports."""
        if not reports:
            raise ValueError("There is no report to copy from: the nearest neighbours need some.")
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._reports = reports
        self._words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self._table: Any = self._words.fit_transform([unmask(r.findings) for r in reports])

    def impression(self, findings: str, count: int, uid: str = "", language: str = "en") -> str:
        """The impression of the nearest report, or of several the one most like the others
        (medoid by ROUGE-1, -2, -L). uid: of the report itself, which is left out."""
        near = (self._table @ self._words.transform([unmask(findings)]).T).toarray().ravel()
        order = np.argsort(-near, kind="stable")[: count + 1]
        found = [self._reports[i] for i in order if self._reports[i].uid != uid][:count]
        texts = [unmask(report.impression) for report in found]
        if len(texts) < 2:
            return "".join(texts)
        likeness = [
            np.mean([rouge(a, b, language)[:3] for j, b in enumerate(texts) if j != i])
            for i, a in enumerate(texts)
        ]
        return texts[int(np.argmax(likeness))]


def baselines(cases: Sequence[Pair], reports: Sequence[Pair]) -> dict[str, dict[str, str]]:
    """Impressions by name and uid; the neighbours are left out where there are no reports."""
    drafts = {"constant": {case.uid: CONSTANT[case.language] for case in cases}}
    for count in LEADS:
        drafts[f"lead-{count}"] = {case.uid: lead(case.findings, count) for case in cases}
    if reports:
        nearest = Neighbours(reports)
        for count in NEIGHBOURS:
            drafts[f"knn-{count}"] = {
                case.uid: nearest.impression(case.findings, count, case.uid, case.language)
                for case in cases
            }
    return drafts
