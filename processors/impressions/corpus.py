"""Reads a site's own reports as pairs of findings and impression.

In: a CSV table, JSON lines, or a folder of HL7 v2 messages ORU^R01 (final reports alone: a draft of
this node must never come back as a teacher). Out: a Reading: Pairs, and each row that cannot be
used with its place and the reason; a bad row costs no other row. Never: the patient (no segment
but MSH, OBR and OBX is looked at), a changed text, a row dropped in silence.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.analysis import ProcessorError
from processors.impressions import oru
from processors.impressions.lexicon import LANGUAGES

_FIELD_LIMIT = 1 << 24  # characters of one CSV field; the library's own limit ends a whole file
_COLUMNS = ("uid", "findings", "impression", "indication", "group", "split", "language")


class UnreadableCorpus(ProcessorError):
    """A file or folder of reports cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One report. impression: "" where there is none yet. group: reports of one group are near
    duplicates, "" for none known. split: as the table says. language: en or es."""

    uid: str
    findings: str
    impression: str = ""
    indication: str = ""
    group: str = ""
    split: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it stands (file and line), and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file or folder holds, in its order."""

    pairs: tuple[Pair, ...]
    bad: tuple[BadRow, ...]


def read(path: Path, language: str = "en", *, impressions: bool = True) -> Reading:
    """Pairs of a folder of HL7 messages, of JSON lines (.jsonl, .ndjson, .json) or of a CSV table.

    language: of rows that name none. impressions: whether a row without impression is bad.
    Raises UnreadableCorpus, naming what is wrong with the whole.
    """
    if path.is_dir():
        return read_oru(path, language, impressions=impressions)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return read_jsonl(path, language, impressions=impressions)
    return read_csv(path, language, impressions=impressions)


def read_csv(path: Path, language: str = "en", *, impressions: bool = True) -> Reading:
    """Pairs of a table with a header line: uid, findings, and what else a Pair holds."""
    csv.field_size_limit(_FIELD_LIMIT)
    table = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [str(name).strip().lower() for name in table.fieldnames or ()]
    except csv.Error as error:
        raise UnreadableCorpus(f"{path} is no CSV table: {error}.") from error
    needed = {"uid", "findings", *(("impression",) if impressions else ())}
    if missing := sorted(needed - set(header)):
        raise UnreadableCorpus(
            f"{path} has no column {', '.join(missing)}.",
            then=f"Its first line names: {', '.join(header) or 'nothing'}.",
        )
    table.fieldnames = header

    def rows() -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        start = table.line_num + 1
        try:
            for row in table:
                extra = None in row
                told = "more fields than columns; is a comma unquoted?" if extra else row
                yield f"{path}, line {start}", told
                start = table.line_num + 1
        except csv.Error as error:
            yield f"{path}, line {start}", f"no CSV from here to the end: {error}"

    return _reading(rows(), language, impressions)


def read_jsonl(path: Path, language: str = "en", *, impressions: bool = True) -> Reading:
    """Pairs of JSON lines, an object a line with the names of a Pair."""

    def rows() -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        # only line feeds end a line: texts may hold other separators, such as U+2028
        for number, line in enumerate(_text(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                row = f"no JSON: {error}"
            told = row if isinstance(row, (dict, str)) else "no JSON object"
            yield f"{path}, line {number}", told if isinstance(row, dict) else str(told)

    return _reading(rows(), language, impressions)


def read_oru(folder: Path, language: str = "en", *, impressions: bool = True) -> Reading:
    """Pairs of the final reports among a folder's HL7 messages (every file that begins with MSH).

    Of several messages on one study the latest counts (MSH-7), as corrections do.
    """
    latest: dict[str, tuple[str, str, Mapping[str, Any] | str]] = {}
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    messages = 0
    for file in files:
        for number, told in enumerate(oru.reports(file.read_bytes()), 1):
            messages += 1
            place = f"{file}, message {number}"
            if isinstance(told, str):
                latest[place] = ("", place, told)
                continue
            row = {
                "uid": told.uid,
                "findings": told.sections.findings,
                "impression": told.sections.impression,
                "indication": told.sections.indication,
                "language": told.language,
            }
            known = latest.get(told.uid)
            if known is None or told.written_at >= known[0]:
                latest[told.uid] = (told.written_at, place, row)
    if not messages:
        raise UnreadableCorpus(
            f"{folder} holds no HL7 message.", then="Each file must begin with an MSH segment."
        )
    return _reading(((place, row) for _, place, row in latest.values()), language, impressions)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableCorpus(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}.",
            then="Save it as UTF-8 and try again.",
        ) from error
    except OSError as error:
        raise UnreadableCorpus(f"{path} cannot be read: {error.strerror}.") from error


def _reading(
    rows: Iterator[tuple[str, Mapping[str, Any] | str]], language: str, impressions: bool
) -> Reading:
    """Sorts rows into pairs and bad ones; a uid counts once, its first row."""
    pairs: dict[str, Pair] = {}
    bad = []
    for place, row in rows:
        told = row if isinstance(row, str) else _pair(row, language, impressions)
        if isinstance(told, Pair) and told.uid in pairs:
            told = f"uid {told.uid} stands above already"
        if isinstance(told, str):
            bad.append(BadRow(place, told))
        else:
            pairs[told.uid] = told
    return Reading(tuple(pairs.values()), tuple(bad))


def _pair(row: Mapping[str, Any], language: str, impressions: bool) -> Pair | str:
    fields = {name: _plain(row.get(name)) for name in _COLUMNS}
    fields["language"] = fields["language"].lower()[:2] or language
    needed = ("uid", "findings", *(("impression",) if impressions else ()))
    empty = [name for name in needed if not any(char.isalnum() for char in fields[name])]
    if empty:
        return f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty or missing"
    if fields["language"] not in LANGUAGES:
        return f"language {fields['language']!r} is none of {', '.join(LANGUAGES)}"
    return Pair(**fields)


def _plain(value: Any) -> str:
    """A cell as text; lists and objects are no text, and count as empty."""
    return str(value).strip() if isinstance(value, (str, int, float)) else ""
