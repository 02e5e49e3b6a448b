"""Reads text out of headers as plain upper-case words, whatever a header holds.

Body parts and views are written in free text in two languages; words are compared without accents.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

WORD = re.compile(r"[A-Z]+")
TOKEN = re.compile(r"[A-Z0-9]+")


def values(header: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of an attribute as stripped upper-case text; empty when absent or unreadable."""
    try:
        value = header.get(keyword)
    except (TypeError, ValueError, AttributeError):
        return ()
    if value is None or isinstance(value, Sequence):
        return ()
    several = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    return tuple(str(one).strip().upper() for one in several)


def first(header: Dataset, keyword: str) -> str:
    return next((value for value in values(header, keyword) if value), "")


def number(header: Dataset, keyword: str) -> int | None:
    try:
        return int(float(first(header, keyword)))
    except (ValueError, OverflowError):
        return None


def words(*texts: str) -> frozenset[str]:
    """The words of texts, upper case, without accents; digits and signs part words."""
    plain = unicodedata.normalize("NFKD", " ".join(texts).upper())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return frozenset(WORD.findall(letters))


def tokens_of(header: Dataset, keyword: str) -> tuple[str, ...]:
    """The words of an attribute in their order, upper case, without accents; digits belong."""
    plain = unicodedata.normalize("NFKD", " ".join(values(header, keyword)))
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return tuple(TOKEN.findall(letters))


def words_of(header: Dataset, keywords: Iterable[str]) -> frozenset[str]:
    return words(*(value for keyword in keywords for value in values(header, keyword)))


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none when it is absent or no sequence."""
    try:
        value = header.get(keyword)
    except (TypeError, ValueError, AttributeError):
        return []
    return list(value) if isinstance(value, Sequence) else []


def decimal(header: Dataset, keyword: str) -> float | None:
    """The first value as a number; None when absent or no number."""
    try:
        return float(first(header, keyword))
    except ValueError:
        return None


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as numbers; none when one is no number."""
    try:
        return tuple(float(value) for value in values(header, keyword))
    except ValueError:
        return ()


def meanings(header: Dataset, keyword: str) -> frozenset[str]:
    """The words of the code meanings in a sequence."""
    return words(*(first(item, "CodeMeaning") for item in items(header, keyword)))
