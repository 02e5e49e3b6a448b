"""Which subgroups a study belongs to: sex, age group, view, maker of the equipment.

In: a study with its headers. Out: one word each, as it is kept beside an analysis, so that gaps
between groups can be seen after the images are gone. Never: a birth date, an exact age, a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom.multival import MultiValue

from processors import Study
from processors.gate import age_in_years

VARIABLES = ("sex", "age", "view", "maker")
UNKNOWN = "?"
_LONGEST = 64  # characters of what a header states
_BOUNDS = ((17, "0-17"), (39, "18-39"), (64, "40-64"), (79, "65-79"))
_KEYWORDS = {"sex": "PatientSex", "view": "ViewPosition", "maker": "Manufacturer"}


def of(study: Study) -> Mapping[str, str]:
    """Variable -> group. What several images state differently is joined by "+"."""
    found = {name: _stated(study, keyword) for name, keyword in _KEYWORDS.items()}
    return found | {"age": _joined(age_group(age_in_years(i.header)) for i in study.instances)}


def age_group(years: int | None) -> str:
    """The group of an age in completed years; UNKNOWN for None."""
    if years is None:
        return UNKNOWN
    return next((name for most, name in _BOUNDS if years <= most), "80+")


def _stated(study: Study, keyword: str) -> str:
    values = (i.header.get(keyword) for i in study.instances)
    each = (one for v in values for one in (v if isinstance(v, MultiValue) else [v or ""]))
    return _joined(str(one).strip().upper()[:_LONGEST] for one in each)


def _joined(stated: Iterable[str]) -> str:
    known = {one for one in stated if one and one.isprintable()}
    return "+".join(sorted(known - {UNKNOWN})) or UNKNOWN
