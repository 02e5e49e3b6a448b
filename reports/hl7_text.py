"""HL7 v2 text: escaping (chapter 2.7), person names (XPN), and a plain reader of own messages.

Decides how a text stands in a field. The rule: every text is escaped before anything builds a
segment of it, because hl7apy leaves ^ and & as they are. Never: a line feed in a field.
"""

from __future__ import annotations

import re

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_PLAIN = {sequence: char for char, sequence in _ESCAPES.items()}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")  # CR ends a segment, 0x0B and 0x1C frame MLLP
NULL = '""'
_REPRESENTATION = "AIP"  # alphabetic, ideographic, phonetic (table 0465)


def escape(text: str) -> str:
    """A text as field content; control characters, line ends among them, become one blank.

    A text that is `""`, as worklists hand it on, stays out: in HL7 it would delete a value.
    """
    clean = known(_CONTROL.sub(" ", text).strip())
    return "".join(_ESCAPES.get(char, char) for char in clean)


def known(text: str) -> str:
    """A text, or nothing where it is `""`."""
    return "" if text.strip() == NULL else text


def unescape(text: str) -> str:
    """The text that a field's content stands for."""
    return re.sub(r"\\[EFSTR]\\", lambda match: _PLAIN[match[0]], text)


def paragraphs(text: str, limit: int = 7000) -> tuple[str, ...]:
    """The non-empty lines of a text, none longer in UTF-8 than an engine takes in one OBX."""
    found: list[str] = []
    for line in text.splitlines():
        words, current = line.split(), ""
        for word in words:
            if current and len(f"{current} {word}".encode()) > limit:
                found.append(current)
                current = word
            else:
                current = f"{current} {word}".strip()
        if current:
            found.append(current)
    return tuple(found)


def person_name(name: str) -> str:
    """A DICOM person name as XPN repetitions; another order, one repetition for each group.

    DICOM: family^given^middle^prefix^suffix. XPN: family^given^middle^suffix^prefix, the type of
    name in XPN.7 and the representation in XPN.8. No name at all: XPN.7 U, unspecified.
    """
    repetitions = []
    for group, representation in zip(name.split("="), _REPRESENTATION, strict=False):
        parts = [escape(part) for part in (group.split("^") + [""] * 5)[:5]]
        if any(parts):
            family, given, middle, prefix, suffix = parts
            repetitions.append(
                "^".join((family, given, middle, suffix, prefix, "", "L", representation))
            )
    return "~".join(repetitions) or "^^^^^^U"


def dicom_name(field: str) -> str:
    """The DICOM person name of a PID-5 field, groups in their places.

    Of a family name in parts (FN) the first one is the whole name.
    """
    groups = ["", "", ""]
    for repetition in field.split("~"):
        whole = (repetition.split("^") + [""] * 8)[:8]
        parts = [unescape(part.split("&")[0]) for part in whole]
        family, given, middle, suffix, prefix, _, _, representation = parts
        if representation in _REPRESENTATION and representation:
            joined = "^".join((family, given, middle, prefix, suffix))
            groups[_REPRESENTATION.index(representation)] = joined.rstrip("^")
    return "=".join(groups).rstrip("=")


class Parsed:
    """A message split into its fields; enough to compare our own message with its source."""

    def __init__(self, text: str) -> None:
        if not text.startswith("MSH|^~\\&|"):
            raise ValueError("not a message with the usual separators")
        self._rows = [line.split("|") for line in text.split("\r") if line]

    def rows(self, name: str) -> list[list[str]]:
        return [row for row in self._rows if row[0] == name]

    def count(self, name: str) -> int:
        return len(self.rows(name))

    def field(self, name: str, number: int) -> str:
        rows = self.rows(name)
        return rows[0][number] if rows and number < len(rows[0]) else ""

    def components(self, name: str, number: int) -> list[str]:
        """The components of a field's first repetition, as plain text."""
        return [unescape(part) for part in self.field(name, number).split("~")[0].split("^")]

    def parts(self, name: str, number: int, component: int) -> list[str]:
        """The subcomponents of one component (counted from 1), still escaped."""
        found = self.field(name, number).split("~")[0].split("^")
        return (found[component - 1] if component <= len(found) else "").split("&")
