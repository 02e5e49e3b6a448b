"""Which findings sections are near duplicates of each other, so that none teaches about the other.

In: pairs. Out: the same pairs with a group each. Never: a group that the table already names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

from processors.impressions.corpus import Pair
from processors.impressions.neighbours import WORDS
from processors.impressions.text import fold

_ALIKE = 0.8  # Jaccard index of words and pairs of words from which two sections are duplicates
_BLOCK = 1000  # reports compared with all others at a time


def grouped(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs with a group each: the table's, else by near duplicates, chained."""
    if all(p.group for p in pairs):
        return list(pairs)
    count = CountVectorizer(preprocessor=fold, token_pattern=WORDS, ngram_range=(1, 2), binary=True)
    table = csr_matrix(count.fit_transform([p.findings for p in pairs]), dtype=np.float32)
    sizes = np.asarray(table.sum(1)).ravel()
    links = []
    for start in range(0, len(pairs), _BLOCK):
        both = (table[start : start + _BLOCK] @ table.T).tocoo()
        union = sizes[start + both.row] + sizes[both.col] - both.data
        alike = both.data >= _ALIKE * union
        links.append(
            csr_matrix(
                (np.ones(int(alike.sum()), np.int8), (both.row[alike], both.col[alike])),
                shape=both.shape,
            )
        )
    _, found = connected_components(vstack(links), directed=False)
    return [replace(p, group=p.group or f"alike {g}") for p, g in zip(pairs, found, strict=True)]
