"""Follow-up of an incidental lung nodule by the Fleischner Society's table of 2017, or why not.

In: what is known of the nodule and the patient. Out: the table's words with table and row, or a
Refusal that says what stands against it or what is not known. Source: MacMahon et al., Radiology
2017;284:228-243. Never: a guess for what is missing, a nodule of a radiograph, another population.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from processors.analysis import Refusal
from processors.impressions.lexicon import table

YOUNGEST = 35  # years
SMALL, LARGE = 6, 8  # mm; exactly 6 and exactly 8 belong to the cell between


class Kind(StrEnum):
    """What a nodule is made of."""

    SOLID = "solid"
    GROUND_GLASS = "ground_glass"
    PART_SOLID = "part_solid"


@dataclass(frozen=True, slots=True)
class Nodule:
    """The dominant nodule and its patient; None: not known.

    modality: as in DICOM. axes: long and short axis in mm; of one number, the mean diameter.
    age: years. cancer, immunosuppression: known. high_risk: of cancer, asked of solid ones only.
    benign: perifissural, calcified or fatty as benign nodules are. several: more than one nodule.
    """

    modality: str | None = None
    axes: tuple[float, ...] | None = None
    kind: Kind | None = None
    several: bool | None = None
    high_risk: bool | None = None
    age: float | None = None
    cancer: bool | None = None
    immunosuppression: bool | None = None
    screening: bool | None = None
    benign: bool | None = None

    def __post_init__(self) -> None:
        if self.axes is not None and not (self.axes and all(axis > 0 for axis in self.axes)):
            raise ValueError("a nodule's axes are lengths in mm, above 0")

    @property
    def size(self) -> int:
        """Mean of the axes in whole mm, halves up, as the table wants it. Needs axes."""
        axes = self.axes or ()
        return int(sum(axes) / len(axes) + 0.5)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What the table says, in its words, and where it says so."""

    text: str
    source: str


def follow_up(nodule: Nodule, language: str) -> FollowUp | Refusal:
    """The cell of the table for a nodule, or the reason why none applies; language en or es."""
    data = table("fleischner")
    against = _against(nodule)
    if against:
        return Refusal(against, data["refusals"][against][language])
    missing = [name for name in data["missing"] if _unknown(nodule, name)]
    if missing:
        what = ", ".join(data["missing"][name][language] for name in missing)
        return Refusal("missing", data["refusals"]["missing"][language].format(what=what))
    part, row = _row(nodule, data)
    column, size = _column(nodule)
    name = row["row"][language]
    source = data["words"]["table"][language].format(part=part, row=name, size=size)
    return FollowUp(row[column][language], source)


def _against(nodule: Nodule) -> str:
    """What stands against the table, whatever else is known; empty if nothing."""
    if nodule.modality not in (None, "CT"):
        return "modality"
    if nodule.screening:
        return "screening"
    if nodule.age is not None and nodule.age < YOUNGEST:
        return "age"
    for name in ("cancer", "immunosuppression", "benign"):
        if getattr(nodule, name):
            return name
    return ""


def _unknown(nodule: Nodule, name: str) -> bool:
    if name == "risk":
        return nodule.kind is Kind.SOLID and nodule.high_risk is None
    return getattr(nodule, {"count": "several"}.get(name, name)) is None


def _row(nodule: Nodule, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    count = "multiple" if nodule.several else "single"
    if nodule.kind is Kind.SOLID:
        return "A", data["solid"][count]["high" if nodule.high_risk else "low"]
    return "B", data["subsolid" if nodule.several else str(nodule.kind)][count]


def _column(nodule: Nodule) -> tuple[str, str]:
    """The cell's column and its name."""
    if nodule.size < SMALL:
        return "small", f"< {SMALL} mm"
    if nodule.kind is not Kind.SOLID:
        return "large", f"≥ {SMALL} mm"
    if nodule.size <= LARGE:
        return "medium", f"{SMALL}-{LARGE} mm"
    return "large", f"> {LARGE} mm"
