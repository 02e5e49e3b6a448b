"""Reads the readings that a site gives as truth: a CSV of study, label, present.

In: the text of a file. Out: readings, or every line that cannot be used. Never: a guess: a value
that is not 0 or 1, or two readings that contradict each other, is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("study", "label", "present")


class ReferenceFault(Exception):
    """The file of readings cannot be used; says in which lines and why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a person read. study: Study Instance UID or accession number."""

    study: str
    label: str
    present: bool


def read(file: Path) -> tuple[Reading, ...]:
    """The readings of a file in UTF-8, comma or semicolon. Raises ReferenceFault."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReferenceFault(f"{file} cannot be read: {error}") from error
    try:
        return parse(text.splitlines())
    except ReferenceFault as error:
        raise ReferenceFault(f"{file}: {error}") from error


def parse(lines: Iterable[str]) -> tuple[Reading, ...]:
    """The readings of these lines, the first of which names the columns."""
    lines = list(lines)
    mark = ";" if lines and ";" in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=mark, skipinitialspace=True)
    named = [str(name).strip().lower() for name in rows.fieldnames or ()]
    study = next((name for name in ("study", "accession") if name in named), "")
    if not study or not {"label", "present"} <= set(named):
        raise ReferenceFault(f"line 1 must name {', '.join(COLUMNS)} (or accession for study)")
    rows.fieldnames = named
    found: dict[tuple[str, str], Reading] = {}
    faults = []
    for row in rows:
        one, fault = _reading(row, study)
        if one is None:
            faults.append(f"line {rows.line_num}: {fault}")
            continue
        known = found.setdefault((one.study, one.label.casefold()), one)
        if known.present != one.present:
            faults.append(f"line {rows.line_num}: contradicts an earlier line on {one.label}")
    if faults or not found:
        raise ReferenceFault("; ".join(faults) or "it holds no reading")
    return tuple(found.values())


def _reading(row: Mapping[str, str | None], key: str) -> tuple[Reading | None, str]:
    study, label, present = ((row.get(name) or "").strip() for name in (key, "label", "present"))
    if not study or not label:
        return None, "study and label must not be empty"
    if present not in ("0", "1"):
        return None, f"present is 0 or 1, not {present!r}"
    return Reading(study, label, present == "1"), ""
