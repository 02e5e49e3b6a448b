"""Reads a site's table of images as it comes out of a spreadsheet, or says which line is wrong.

In: a CSV file in UTF-8, with or without the mark that Excel puts before it, its columns parted by
commas, semicolons or tabs. Out: one mapping of column to cell for each row, without blanks around
either; rows without any content are left out. Never: a guess at a row that has lost a cell.
"""

from __future__ import annotations

import csv
import io
import posixpath
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", ";", "\t")
NEEDED = ("path", "split", "labels")
JUDGED = ("path",)  # enough where nothing is taught
TRAINED = "train"


@dataclass(frozen=True, slots=True)
class Line:
    """One row. place: the table and the line on which the row ends, for messages."""

    place: str
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """The cell; empty where the table has no such column."""
        return self.cells.get(column, "")

    @property
    def labels(self) -> tuple[str, ...]:
        """What is parted by |; accents are one letter however they were typed."""
        named = unicodedata.normalize("NFC", self.get("labels")).split("|")
        return tuple(label for one in named if (label := one.strip()))

    @property
    def age(self) -> float | None:
        """Years, also of DICOM's form (034Y, 006M); None where a source has words instead
        ("early 40") or an age that nobody reaches: no age is better than a guess."""
        text = self.get("age").replace(",", ".").upper()
        divisor = PER_YEAR.get(text[-1:], 0.0)
        try:
            years = float(text[:-1]) / divisor if divisor else float(text)
        except ValueError:
            return None
        return years if 0 <= years <= OLDEST else None

    @property
    def boxes(self) -> tuple[tuple[float, ...], ...]:
        """x, y, width, height of each. Raises ValueError, naming the line."""
        try:
            found = [tuple(map(float, one.split(","))) for one in _parted(self.get("boxes"))]
        except ValueError as error:
            raise ValueError(f"{self.place}: {error} among the boxes") from error
        for box in found:
            if len(box) != 4 or not min(box) >= 0:
                raise ValueError(
                    f"{self.place}: a box is x,y,width,height in pixels, none below 0, and not "
                    f"{','.join(map('{:g}'.format, box))}"
                )
        return tuple(found)


PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
OLDEST = 120  # years


def _parted(text: str) -> list[str]:
    return [one for each in text.split(";") if (one := each.strip())]


def read_lines(table: Path, needed: Sequence[str] = NEEDED) -> tuple[Line, ...]:
    """The rows in order. needed: columns without which the table is none.

    Raises ValueError, naming the table and the line, for what is no such table, for a patient
    whose images both teach and judge, since a figure measured on them would say too much, and for
    an image that is labelled twice.
    """
    header, *rows = _rows(table) or [(0, [])]
    columns = [name.strip().casefold() for name in header[1]]
    if missing := [name for name in needed if name not in columns]:
        has = ", ".join(filter(None, columns)) or "nothing"
        raise ValueError(f"{table} has no column {missing[0]!r}; it has {has}")
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ValueError(f"{table} has two columns {twice[0]!r}")
    lines = tuple(_line(table, number, columns, cells) for number, cells in rows)
    _apart(table, lines)
    _once(lines)
    return lines


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """Number of the line and cells of each row with content, the header first."""
    text = _text(table)
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{table} is no CSV: {error}") from error


def _text(table: Path) -> str:
    try:
        data = table.read_bytes()
    except OSError as error:
        raise ValueError(f"{table} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{table}, line {line}, is no UTF-8: save the table as `CSV UTF-8`"
        ) from error


def _line(table: Path, number: int, columns: Sequence[str], cells: Sequence[str]) -> Line:
    place, surplus = f"{table}, line {number}", cells[len(columns) :]
    if len(cells) < len(columns) or any(cell.strip() for cell in surplus):
        raise ValueError(
            f"{place}, has {len(cells)} cells and the header {len(columns)}: quote cells that "
            "hold the delimiter"
        )
    named = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name}
    if not named["path"]:
        raise ValueError(f"{place}, names no path")
    if named.get("split", "").casefold() == TRAINED:  # else such rows would judge what they taught
        named["split"] = TRAINED
    return Line(place, named)


def _same(column: str, cell: str) -> str:
    """What two spellings of one patient or one file have in common."""
    plain = unicodedata.normalize("NFC", cell)
    if column == "path":
        return posixpath.normpath(plain)
    return " ".join(plain.split()).casefold()


def _apart(table: Path, lines: Sequence[Line]) -> None:
    """No patient, and no image, is among those that teach and among others."""
    for column in ("patient", "path"):
        cells = [(one, _same(column, one.get(column))) for one in lines if one.get(column)]
        taught = {same for one, same in cells if one.get("split") == TRAINED}
        for one, same in cells:
            if one.get("split") != TRAINED and same in taught:
                raise ValueError(
                    f"{table}: {column} {one.get(column)!r} stands in the splits {TRAINED!r} and "
                    f"{one.get('split')!r}; what teaches must not judge: keep one of the two"
                )


def _once(lines: Sequence[Line]) -> None:
    """No image has two rows that say different things of it."""
    told: dict[str, Line] = {}
    for one in lines:
        first = told.setdefault(_same("path", one.get("path")), one)
        if set(one.labels) != set(first.labels):
            raise ValueError(
                f"{one.place}, labels {one.get('path')!r} otherwise than an earlier row: one row "
                "an image, its labels joined by |"
            )
