"""The plan of a bundle: what is learnt, for whom, with which codes and which recipe.

A site writes its own plan (JSON) to train its own bundle; `chest.json` beside this module is the
shipped one. Read, checked and turned into records here; nothing is trained here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from processors.training.data import Population

PLANS = Path(__file__).parent / "plans"


class PlanError(ValueError):
    """A plan that cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Plan:
    """raw: the file as it was read; populations in the order of the head's rows."""

    raw: Mapping[str, Any]
    populations: tuple[Population, ...]

    @property
    def label(self) -> str:
        return str(self.raw["labels"][0]["label"])

    def with_recipe(self, **changes: object) -> Plan:
        recipe = {**self.raw["recipe"], **{k: v for k, v in changes.items() if v is not None}}
        return replace(self, raw={**self.raw, "recipe": recipe})


def read_plan(path_or_name: str) -> Plan:
    """A shipped plan by name, or any by its path."""
    shipped = PLANS / f"{path_or_name}.json"
    file = shipped if shipped.is_file() else Path(path_or_name)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise PlanError(f"The plan {file} cannot be read: {error}") from error
    missing = {"name", "version", "size", "labels", "populations", "recipe"} - set(raw)
    if missing:
        raise PlanError(f"The plan {file} has no key {sorted(missing)[0]!r}.")
    if len(raw["labels"]) != 1:
        raise PlanError(f"The plan {file} names {len(raw['labels'])} labels; one is supported.")
    return Plan(raw, populations_of(raw["populations"]))


def populations_of(entries: Any) -> tuple[Population, ...]:
    """The populations of a plan or of a card."""
    return tuple(
        Population(
            e["name"], int(e["low"]), int(e["high"]), tuple(e["positive"]), tuple(e["negative"])
        )
        for e in entries
    )
