"""docs/evidence.md: every claim of the models with its floor, its figure and its colour.

    python scripts/evidence.py          writes the page
    python scripts/evidence.py --check  says whether it is up to date (exit 1 when not)

In: docs/evidence/*.json, as the commands of `dictamen models` wrote them; scripts/evidence_rows.py.
Never: a number of its own. A figure that was not measured says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from evidence_rows import SECTIONS, Row  # a script's neighbour

DOCS = Path(__file__).parents[1] / "docs"
HELD, PAGE = DOCS / "evidence", DOCS / "evidence.md"
HEAD = """# What was measured

Written by `scripts/evidence.py` from the files of `evidence/`, which commands of `dictamen models`
wrote; where a floor is missed, [what was tried](evidence/tried.md) is told by hand. Validation
part, 95 % intervals by patient, one seed where nothing else is said. **RED**: the floor is
missed, and nothing may be claimed. Floors were set before anything was trained. The sets of head
MR and breast ultrasound name no patients: there each image counts as one, intervals are too
narrow where images share a patient, and averages of six images may be of fewer patients.
"""


def found(row: Row, held: Mapping[str, Any]) -> Any:
    """The figure: a mapping with value, low, high; a number; words, why there is none; or None."""
    value: Any = held.get(row.file)
    why: Any = None
    for key in row.path:
        why = value.get("verdict", why) if isinstance(value, Mapping) else why
        value = value.get(key) if isinstance(value, Mapping) else None
    return why if value is None else value


def clears(row: Row, figure: Any) -> bool:
    """Of a row with a floor."""
    if row.floor is None:
        return True
    value = figure[row.at] if isinstance(figure, Mapping) else figure
    if row.at == "low":  # an interval that touches the floor does not clear it
        return bool(value > row.floor)
    return bool(value >= row.floor if row.least else value <= row.floor)


def _number(value: float) -> str:
    return f"{value:.3f}"


def _line(row: Row, figure: Any) -> str:
    sign = "lower bound >" if row.at == "low" else "≥" if row.least else "≤"
    bound = "" if row.floor is None else f"{sign} {row.floor:g}"
    if figure is None or (isinstance(figure, Mapping) and "value" not in figure):
        figure = "not measured"
    if isinstance(figure, str):
        return f"| {row.what} | {bound} | {figure} | {_colour(row, False)} |"
    return f"| {row.what} | {bound} | {_shown(figure)} | {_colour(row, clears(row, figure))} |"


def _colour(row: Row, good: bool) -> str:
    if row.floor is None:
        return ""
    return "ok" if good else "**RED**"


def _shown(figure: Any) -> str:
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    if isinstance(figure, Mapping):
        value, low, high = (_number(figure[k]) for k in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"
    return _number(figure)


def page(held: Mapping[str, Any]) -> str:
    return "\n".join(_page(held)) + "\n"


def _page(held: Mapping[str, Any]) -> Iterator[str]:
    yield HEAD
    for title, rows in SECTIONS:
        yield from (f"## {title}", "", "| what | floor | measured | |", "|---|---|---|---|")
        figures = ((row, found(row, held)) for row in rows)
        yield from (
            _line(row, figure)
            for row, figure in figures
            if row.floor is not None or not (figure is None or isinstance(figure, str))
        )
        yield ""
    yield from ("## Where each figure stands", "", "| file | sha256 of the bundle |", "|---|---|")
    for name in sorted({row.file for _, rows in SECTIONS for row in rows} & set(held)):
        digest = str(held[name].get("sha256", ""))
        yield f"| [{name}.json](evidence/{name}.json) | {digest[:16]} |"


def read() -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(HELD.glob("*.json"))}


def main() -> int:
    made = page(read())
    if "--check" in sys.argv:
        if PAGE.is_file() and PAGE.read_text("utf-8") == made:
            return 0
        print("docs/evidence.md is not what docs/evidence says: python scripts/evidence.py")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
