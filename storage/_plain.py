"""Decides what text and JSON may enter a database: the same on SQLite and PostgreSQL.

PostgreSQL takes no NUL, neither takes half a surrogate pair, and JSON has no NaN. Such things
come in DICOM headers; they are replaced here, in the rows only, never in the stored objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def text(value: str) -> str:
    """`value` without NUL and with U+FFFD for what UTF-8 cannot carry."""
    if value.isascii():
        return value.replace("\0", "") if "\0" in value else value
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "")


def plain(value: Any) -> Any:
    """`value` as JSON's own types; what JSON has no word for becomes text, NaN becomes null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {text(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return text(str(value))


def dumps(value: Any) -> str:
    """JSON in the order given."""
    try:  # everyday: nothing in it that a database would not take
        said = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if said.isascii() and "\\u0000" not in said:
            return said
    except (TypeError, ValueError):
        pass
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def canonical(value: Any) -> str:
    """JSON of which there is only one spelling: sorted names, no spaces, ASCII."""
    return json.dumps(plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
