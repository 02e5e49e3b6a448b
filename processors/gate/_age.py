"""The patient's age in completed years, from Patient's Age or from birth and study dates.

PS3.5 table 6.2-1: AS is three digits and D, W, M or Y. A bare number is taken as years, as some
archives write it; an age nobody reaches counts as unknown.
"""

from __future__ import annotations

import re
from datetime import date

from pydicom.dataset import Dataset

from processors.gate._text import first

AGE = re.compile(r"(\d{1,3})([DWMY]?)")
PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0, "": 1.0}
OLDEST = 120
STUDY_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def age_in_years(header: Dataset) -> int | None:
    """Completed years, or None when unknown."""
    found = AGE.fullmatch(first(header, "PatientAge"))
    if found and int(found[1]) > 0:
        return _plausible(int(int(found[1]) / PER_YEAR[found[2]]))
    born = _date(first(header, "PatientBirthDate"))
    taken = next((d for d in (_date(first(header, k)) for k in STUDY_DATES) if d), None)
    if born is None or taken is None:
        return None
    birthday_ahead = (taken.month, taken.day) < (born.month, born.day)
    return _plausible(taken.year - born.year - birthday_ahead)


def _plausible(years: int) -> int | None:
    return years if 0 <= years <= OLDEST else None


def _date(text: str) -> date | None:
    digits = re.sub(r"\D", "", text)[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
