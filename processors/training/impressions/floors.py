"""Whether a drafter reaches what was set for it before it was measured.

In: the record of `evaluation`, the name of a set of floors (`floors.toml`). Out: each floor with
the figure beside it. Never: a floor passed because nobody measured it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Floor:
    """at_least or at_most is set. judged: asked of every judge but our own labeller; read: only of
    judges that read both texts themselves, since labels of a report name what neither says."""

    figure: str
    group: str
    at_least: float | None = None
    at_most: float | None = None
    judged: bool = False
    read: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A floor and what was measured; value: None when nobody measured it."""

    system: str
    group: str
    figure: str
    judge: str
    value: float | None
    sign: str
    limit: float

    @property
    def passed(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.limit if self.sign == "≥" else self.value <= self.limit


@cache
def floors() -> Mapping[str, tuple[Floor, ...]]:
    """The sets of floors by name."""
    text = (resources.files(__package__) / "floors.toml").read_text(encoding="utf-8")
    return {name: tuple(Floor(**row) for row in rows) for name, rows in tomllib.loads(text).items()}


def hold(record: Mapping[str, Any], system: str, name: str) -> tuple[Held, ...]:
    """One system of one data set against the floors called `name`.

    Raises KeyError for a system that was not measured.
    """
    held = []
    for floor in floors()[name]:
        group = record["groups"].get(floor.group)
        told = group["systems"][system] if group else None
        for judge, value in _values(floor, told, record["judges"]):
            low = floor.at_least is not None
            limit = floor.at_least if floor.at_least is not None else floor.at_most
            assert limit is not None, floor  # noqa: S101 - a table of ours, not a user's
            held.append(
                Held(system, floor.group, floor.figure, judge, value, "≥" if low else "≤", limit)
            )
    return tuple(held)


def _values(
    floor: Floor, told: Mapping[str, Any] | None, judges: Mapping[str, Any]
) -> list[tuple[str, float | None]]:
    if told is None:
        return [("", None)]
    if not floor.judged:
        figure = told["critical"] if floor.figure == "left_out" else told[floor.figure]
        return [("", figure["left_out" if floor.figure == "left_out" else "mean"])]
    asked = [
        name for name, j in judges.items() if not j["own"] and not (floor.read and j["labels"])
    ]
    return [(name, told["findings"][name][floor.figure]) for name in asked] or [("", None)]
