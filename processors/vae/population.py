"""For whom the model speaks: which of the card's questions are asked of this patient.

Without an age every question is asked and the more suspicious answer counts; when they disagree
the finding is undetermined. How an age is read from a header is the gate's affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def fitting(age: int | None, questions: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the questions for this age, or of all when none fits or none is known."""
    if age is None:
        return list(range(len(questions)))
    fits = [i for i, q in enumerate(questions) if q["low"] <= age <= q["high"]]
    return fits or list(range(len(questions)))
