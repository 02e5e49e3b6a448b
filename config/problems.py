"""What is wrong with a node.yaml, and where: one Problem a mistake, one error for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. line and column count from 1; line 0 is the file as a whole.

    path: dotted, as in `processors[0].settle.quiet`. suggestion: "" or what was probably meant.
    Never holds the value of an environment variable.
    """

    line: int
    column: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        path = f"{self.path}: " if self.path else ""
        meant = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{where}{path}{self.message}{meant}"


class SettingsError(Exception):
    """node.yaml cannot be used; `problems` are all that was found, in the order of the file."""

    def __init__(self, file: Path | str, problems: Sequence[Problem]) -> None:
        self.file = Path(file)
        self.problems = tuple(sorted(problems))
        lines = [f"{file}: {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))


def dotted(place: Place) -> str:
    """How people write a place: ("processors", 0, "name") is processors[0].name."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that was probably meant, or "" if none is near."""
    folded = {name.lower().replace("-", "_"): name for name in known}
    found = get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""
