"""For whom the model speaks: which population's row and calibration answer for this patient.

Without an age every population answers and the more suspicious answer counts; when they disagree
the finding is undetermined. How an age is read from a header is the gate's affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def fitting(age: int | None, populations: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the populations that answer: the one of this age, or all when none is known."""
    if age is None:
        return list(range(len(populations)))
    fits = [i for i, p in enumerate(populations) if p["low"] <= age <= p["high"]]
    return fits or list(range(len(populations)))
