"""Pairs as examples: what of the findings each impression took up, and how good a candidate is.

In: Pairs. Out: Examples with their folds (near duplicates stay in one fold), the target of each
statement, the target of each candidate. Never: a report in two folds.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.impressions.corpus import Pair
from processors.impressions.drafting import Request
from processors.impressions.labeller import Mention, read
from processors.impressions.overlap import content, f1, words
from processors.impressions.statements import Case, Numbers, case, fourteen, names

FOLDS = 5
TAKEN = 0.6  # share of its words by which a statement counts as taken up by an impression
Folds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """One report; mentions: of its impression."""

    pair: Pair
    case: Case
    mentions: tuple[Mention, ...]

    @property
    def asserts(self) -> bool:
        """Whether the impression asserts one of the fourteen findings."""
        return bool(fourteen(self.mentions))

    @property
    def length(self) -> int:
        return len(words(self.pair.impression))


def examples(pairs: Sequence[Pair]) -> list[Example]:
    """Pairs with statements; a findings section without a sentence teaches nothing."""
    made = [
        Example(
            pair,
            case(Request(pair.findings, pair.language, pair.indication)),
            read(pair.impression, pair.language),
        )
        for pair in pairs
    ]
    return [example for example in made if example.case.statements and example.length]


def folds(pairs: Sequence[Pair]) -> Folds:
    """The fold of each pair: by its group, else by its own uid; the same in every run."""
    keys = (pair.group or f"uid {pair.uid}" for pair in pairs)
    return np.array([zlib.crc32(key.encode()) % FOLDS for key in keys], np.int64)


def taken(example: Example) -> Numbers:
    """1 for each statement that the impression takes up, by its words or by what it asserts."""
    theirs = content(example.pair.impression)
    concepts = {m.concept for m in example.mentions if names(m)}
    found = []
    for statement in example.case.statements:
        ours = content(statement.text)
        repeated = len(ours & theirs) >= TAKEN * len(ours) > 0
        same = concepts & {m.concept for m in statement.mentions if names(m)}
        found.append(float(repeated or bool(same)))
    return np.asarray(found, np.float32)


def likeness(example: Example, text: str) -> float:
    """How like the impression a text is: mean F1 of words, pairs and sequence, 0..1."""
    return float(np.mean(f1(words(text), words(example.pair.impression))))
