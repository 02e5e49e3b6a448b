"""The reports that drafts are measured on, and which of them are hard.

In: a table or JSON lines of pairs (`processors.impressions.corpus`), perhaps with columns of their
own: abnormal and unseen (0 or 1), mesh. Out: Cases of one split, and the reports of `train` that
baselines copy from. Never: a report that is dropped in silence; a split that was not asked for.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.analysis import ProcessorError
from processors.impressions import corpus
from processors.impressions.corpus import Pair
from processors.training.impressions.scores import unmask

GROUPS = ("all", "normal", "abnormal", "unseen-and-abnormal")
_NORMAL = "normal"  # what MeSH indexers write of a report without a finding
_LIST_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)](?=\s)")
_WORDS = re.compile(r"[^\w\s]")


class UnusableCases(ProcessorError):
    """A set of reports cannot be drafted for or measured on."""


@dataclass(frozen=True, slots=True)
class CaseSet:
    """One data set. reports: what may be copied from. abnormal, unseen: by case, None where the
    table does not say. bad: rows that could not be used, with their reasons."""

    name: str
    cases: tuple[Pair, ...]
    reports: tuple[Pair, ...]
    abnormal: NDArray[np.bool_] | None
    unseen: NDArray[np.bool_] | None
    bad: tuple[str, ...] = ()

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Which cases belong to each of GROUPS; groups that the table does not tell, or that hold
        nobody, are left out."""
        found = {"all": np.ones(len(self.cases), dtype=np.bool_)}
        if self.abnormal is not None:
            found |= {"normal": ~self.abnormal, "abnormal": self.abnormal}
            if self.unseen is not None:
                found["unseen-and-abnormal"] = self.abnormal & self.unseen
        return {name: mask for name, mask in found.items() if mask.any()}

    def draw_groups(self) -> list[str]:
        """What the bootstrap draws: the near-duplicate group, or the report itself."""
        return [case.group or f"u{case.uid}" for case in self.cases]


def bare(impression: str) -> str:
    """An impression as it is compared with those of `train`: no case, mask, number or mark."""
    text = _WORDS.sub(" ", _LIST_NUMBER.sub(" ", unmask(impression)).lower())
    return " ".join(text.split())


def load(
    path: Path, split: str, train: Path | None = None, language: str = "en", name: str = ""
) -> CaseSet:
    """The cases of one split of a file ("" takes all rows); train: another file to copy from.

    Raises UnusableCases when the split is empty, UnreadableCorpus when the file is unusable.
    """
    reading = corpus.read(path, language)
    cases = tuple(pair for pair in reading.pairs if not split or pair.split == split)
    if not cases:
        known = ", ".join(sorted({p.split or "(none)" for p in reading.pairs})) or "no rows"
        raise UnusableCases(
            f"{path} has no report of the split {split!r}.", then=f"It has: {known}."
        )
    source = corpus.read(train, language) if train else reading
    reports = tuple(p for p in source.pairs if p.split == "train" or (train and not p.split))
    marks = _marks(path)
    abnormal = _flags(cases, marks, "abnormal")
    if abnormal is None and all("mesh" in marks.get(case.uid, {}) for case in cases):
        mesh = (str(marks[case.uid]["mesh"]).strip().lower() for case in cases)
        abnormal = np.array([said != _NORMAL for said in mesh], dtype=np.bool_)
    unseen = _flags(cases, marks, "unseen")
    if unseen is None and reports:
        seen = {bare(report.impression) for report in reports}
        unseen = np.array([bare(case.impression) not in seen for case in cases], dtype=np.bool_)
    bad = tuple(map(str, (*reading.bad, *(source.bad if train else ()))))
    return CaseSet(name or path.stem, cases, reports, abnormal, unseen, bad)


def _marks(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """What a file says of its rows beside the pair, by uid; a folder of messages says nothing."""
    if path.is_dir():
        return {}
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        rows: Sequence[Any] = list(csv.DictReader(text.splitlines(keepends=True)))
    else:
        rows = [_object(line) for line in text.split("\n")]
    return {str(row["uid"]).strip(): row for row in rows if row and row.get("uid") is not None}


def _object(line: str) -> dict[str, Any]:
    """A line's JSON object; what is none was already named by the reader of pairs."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _flags(
    cases: Sequence[Pair], marks: Mapping[str, Mapping[str, Any]], name: str
) -> NDArray[np.bool_] | None:
    """A column of 0 and 1, None where a case lacks it. Raises UnusableCases for another value."""
    told = [str(marks.get(case.uid, {}).get(name, "")).strip().lower() for case in cases]
    if not all(told):
        return None
    known = {"1": True, "true": True, "0": False, "false": False}
    if odd := next((value for value in told if value not in known), None):
        raise UnusableCases(f"The column {name} holds {odd!r}.", then="It takes 0 or 1.")
    return np.array([known[value] for value in told], dtype=np.bool_)
