"""Which codes may stand in a report, and what people call them.

The table is codes.yaml beside this file; it is read once and each code is checked (PS3.3 8.8:
lengths; SNOMED CT identifiers: Verhoeff digit). Passing is necessary, not sufficient: whether a
code means what its row says was verified by people, see the comments there.
Never: a code for a label that has none; a retired scheme; a table from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from pydicom.dataset import Dataset
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from processors.analysis import Code
from reports.model import ReportError

PRIVATE_SCHEME = "99DICTAMEN"
_SCHEMES = {"SCT", "DCM", "LN", "UCUM", "RADLEX", "UMLS"}
_LENGTHS = {"value": 16, "scheme": 16, "meaning": 64}
_SECTIONS = ("version", "concepts", "modalities", "procedures", "sites", "labels")
# Anatomic Region Sequence of a chest film (PS3.16 CID 4031): Thorax, Chest, and the older codes
_CHEST = frozenset({"51185008", "816094009", "43799004", "T-D3000"})
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


class CodeTableError(ReportError):
    """The code table cannot be used: the process must not start with it."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """The procedure of a study that names none; empty lists fit everything."""

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    code: Code


@dataclass(frozen=True, slots=True)
class Table:
    """The loaded table. labels: label -> code; spanish: label or code value -> Spanish name."""

    version: str
    concepts: Mapping[str, Code]
    modalities: Mapping[str, Code]
    sites: Mapping[str, Code]
    labels: Mapping[str, Code]
    spanish: Mapping[str, str]
    procedures: tuple[Procedure, ...]


def verhoeff(number: str) -> bool:
    """Whether the last digit of a SNOMED CT identifier is its right check digit."""
    if not re.fullmatch(r"[1-9]\d{5,17}", number):
        return False
    check = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(position % 8):
            value = _PERMUTATION[value]
        check = _dihedral(check, value)
    return check == 0


def _dihedral(a: int, b: int) -> int:
    """The product of two elements of the dihedral group D5."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


def fault(code: Code) -> str:
    """Why a code may not be emitted, or an empty string."""
    for name, limit in _LENGTHS.items():
        text = getattr(code, name)
        if not text or text != text.strip() or "\\" in text:
            return f"{name} is empty or not plain text"
        if len(text) > limit:
            return f"{name} is longer than {limit} characters"
    if code.scheme not in _SCHEMES and not code.scheme.startswith("99"):
        return f"scheme {code.scheme} is not one of {', '.join(sorted(_SCHEMES))} or 99..."
    if code.scheme == "SCT" and not verhoeff(code.value):
        return f"{code.value} is no SNOMED CT identifier (check digit)"
    return ""


def usable(code: Code | None) -> bool:
    """Whether a finding's code may be emitted as a code."""
    return code is not None and not fault(code)


def usable_from_site(code: Code) -> bool:
    """Whether a code that the source itself carries may be repeated: complete, of any scheme."""
    return not fault(Code(code.value, "99SITE", code.meaning)) and (
        bool(code.scheme) and len(code.scheme) <= 16 and (code.scheme != "SCT" or not fault(code))
    )


def _parsed(text: str) -> dict[str, Any]:
    """The YAML as plain mappings; ruamel's safe loader also refuses a key given twice."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise CodeTableError(f"codes.yaml: {error}") from error
    missing = [name for name in _SECTIONS if not isinstance(data, dict) or not data.get(name)]
    if missing:
        raise CodeTableError(f"codes.yaml: missing or empty: {', '.join(missing)}")
    return dict(data)


def load(text: str) -> Table:
    """Read and check a table; raises CodeTableError with every fault in it."""
    data = _parsed(text)
    faults: list[str] = []

    def code(place: str, row: Mapping[str, Any]) -> Code:
        made = Code(*(str(row.get(name, "")) for name in _LENGTHS))
        if problem := fault(made):
            faults.append(f"{place}: {problem}")
        return made

    def section(name: str) -> dict[str, Code]:
        return {key: code(f"{name}.{key}", row) for key, row in data[name].items()}

    procedures = tuple(
        Procedure(
            tuple(row["modalities"]), tuple(row["body_parts"]), code(f"procedures.{number}", row)
        )
        for number, row in enumerate(data["procedures"])
    )
    labels = data["labels"]
    table = Table(
        version=str(data["version"]),
        concepts=section("concepts"),
        modalities=section("modalities"),
        sites=section("sites"),
        labels=section("labels"),
        spanish={key: str(row.get("es", "")) for key, row in labels.items()}
        | {str(row["value"]): str(row.get("es", "")) for row in labels.values()},
        procedures=procedures,
    )
    if faults:
        raise CodeTableError("codes.yaml: " + "; ".join(faults))
    return table


@cache
def table() -> Table:
    """The table that is shipped, read once."""
    return load(resources.files("reports").joinpath("codes.yaml").read_text(encoding="utf-8"))


def concept(name: str) -> Code:
    """One of the codes that the writers themselves use."""
    return table().concepts[name]


def state(name: str) -> Code:
    """Present, Absent or Undetermined (CID 240)."""
    return table().concepts[name]


def display(label: str, code: Code | None, language: str) -> str:
    """What people call a finding: from the table, else the code's meaning, else the label."""
    key = label.replace("_", " ").strip().casefold()
    known = table().labels.get(key)
    if language == "es":
        spanish = table().spanish
        name = spanish.get(key) or (spanish.get(code.value, "") if code else "")
        if name:
            return name
    if known:
        return known.meaning
    if code:
        return code.meaning
    readable = label.replace("_", " ").strip()
    return readable[:1].upper() + readable[1:]


def _region(header: Dataset) -> str:
    """CHEST, OTHER, or "" where Anatomic Region Sequence, which DX images must have, says none."""
    named = [
        str(item.get("CodeValue") or "") for item in header.get("AnatomicRegionSequence") or ()
    ]
    if not any(named):
        return ""
    return "CHEST" if _CHEST.issuperset(filter(None, named)) else "OTHER"


def procedure(header: Dataset) -> Code:
    """The procedure of a study by modality and body part, for studies that name none."""
    modality = str(header.get("Modality") or "").strip()
    part = str(header.get("BodyPartExamined") or "").strip().upper() or _region(header)
    for row in table().procedures:
        if (not row.modalities or modality in row.modalities) and (
            not row.body_parts or part in row.body_parts
        ):
            return row.code
    raise CodeTableError("codes.yaml: procedures: no row fits every study")
