"""Fills in ${VARIABLE} from an environment that is handed in; $${ stands for a plain ${.

Values of variables are always texts, and no message ever holds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from config.document import Document
from config.problems import Place, Problem

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}|(\$\{)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class Filler:
    """Fills texts and collects what could not be filled."""

    environ: Mapping[str, str]
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def fill(self, text: str, place: Place, *, in_url: bool = False) -> str:
        """The text with its variables; in_url: a part of a URL, so quoted for one."""
        whole = _REFERENCE.fullmatch(text)

        def value(found: re.Match[str]) -> str:
            if found[1]:
                return found[1]
            inserted = self._value(found[2], place)
            return quote(inserted, safe="") if in_url and not whole else inserted

        return _REFERENCE.sub(value, text)

    def _value(self, name: str | None, place: Place) -> str:
        if name is None or not _NAME.fullmatch(name):
            self._complain(place, "write a variable as ${NAME}, or $${ for a plain ${")
        elif name not in self.environ:
            self._complain(place, f"environment variable {name} is not set")
        elif not self.environ[name]:
            self._complain(place, f"environment variable {name} is empty")
        else:
            return self.environ[name]
        return ""

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(self.document.problem(place, message))
