"""The plan of a bundle: what is learnt, for whom, with which codes and which recipe.

A site writes its own plan (JSON) to train its own bundle; `plans` beside this module holds
those of the shipped ones. Read, checked and turned into records here; nothing is trained here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from processors.training.data import Question

KEYS = frozenset(
    [
        "name",
        "version",
        "changelog",
        "size",
        "channels",
        "widths",
        "frame",
        "modality",
        "task",
        "description",
        "labels",
        "questions",
        "limits",
        "field",
        "gate",
        "notes",
        "place",
        "twins",
        "recipe",
        "start",
    ]
)
NEEDED = frozenset(
    ["name", "version", "size", "channels", "widths", "labels", "questions", "recipe"]
)
PLANS = Path(__file__).parent / "plans"


class PlanError(ValueError):
    """A plan that cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Plan:
    """raw: the file as it was read; questions in the order of the head's rows."""

    raw: Mapping[str, Any]
    questions: tuple[Question, ...]

    @property
    def start(self) -> Path | None:
        """Weights of `models pretrain` to begin with: a shipped file's name, or a path."""
        given = str(self.raw.get("start", ""))
        shipped = PLANS / f"{given}.safetensors"
        return (shipped if shipped.is_file() else Path(given)) if given else None

    def with_recipe(self, **changes: object) -> Plan:
        recipe = {**self.raw["recipe"], **{k: v for k, v in changes.items() if v is not None}}
        return replace(self, raw={**self.raw, "recipe": recipe})


def read_plan(path_or_name: str) -> Plan:
    """A shipped plan by name, or any by its path."""
    shipped = PLANS / f"{path_or_name}.json"
    file = shipped if shipped.is_file() else Path(path_or_name)
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in PLANS.glob("*.json")))
        raise PlanError(f"The plan {file} is no file, nor one of those that ship: {known}.")
    try:
        raw = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise PlanError(f"The plan {file} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise PlanError(f"The plan {file} is no mapping of keys.")
    unknown = sorted(set(raw) - KEYS)
    if unknown:
        raise PlanError(f"The plan {file} has an unknown key {unknown[0]!r}.")
    missing = NEEDED - set(raw)
    if missing:
        raise PlanError(f"The plan {file} has no key {sorted(missing)[0]!r}.")
    try:
        questions = questions_of(raw["questions"])
        named = {entry["label"] for entry in raw["labels"]}
    except KeyError as error:
        raise PlanError(f"A label or question of the plan {file} has no key {error}.") from error
    except (TypeError, ValueError) as error:
        raise PlanError(f"The labels or questions of the plan {file}: {error}.") from error
    unnamed = {label for q in questions for label in q.labels} - named
    if unnamed:
        raise PlanError(f"The plan {file} asks for {sorted(unnamed)[0]!r}, which no label names.")
    return Plan(raw, questions)


def questions_of(entries: Any) -> tuple[Question, ...]:
    """The questions of a plan or of a card."""
    return tuple(
        Question(
            name=entry["name"],
            low=int(entry["low"]),
            high=int(entry["high"]),
            labels=tuple(answer["label"] for answer in entry["answers"]),
            answers=tuple(tuple(answer["positive"]) for answer in entry["answers"]),
            negative=tuple(entry.get("negative", ())),
        )
        for entry in entries
    )
