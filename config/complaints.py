"""Turns what pydantic found into Problems: place, the value as written, what would be right.

One mistake gives one Problem: what a union's other branches say is dropped, and so is "missing"
beside a misspelt key. Values are quoted as they stand in the file, before any ${VARIABLE}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from config import schema
from config.document import Document
from config.problems import Place, Problem, dotted, nearest

_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_LONGEST = 80  # characters of a value that a message quotes
_NAME = "a name has letters, digits and . _ - only"
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}


def problems(errors: Iterable[ErrorDetails], data: Any, document: Document) -> list[Problem]:
    """One Problem for each mistake among pydantic's errors about those data."""
    placed = [(_place(error, data), error) for error in errors]
    spoken = {problem.path for problem in document.problems}
    found: dict[tuple[Place, str], Problem] = {}
    for place, error in placed:
        if dotted(place) in spoken or _is_other_branch(place, placed, data):
            continue
        problem = _problem(place, error, data, document)
        found.setdefault((place, problem.message), problem)
    meant = {(problem.line, problem.suggestion) for problem in found.values()}
    parents = {place[:-1] for (place, _), problem in found.items() if problem.suggestion}
    return [
        problem
        for (place, _), problem in found.items()
        if not _is_named_by_a_misspelling(place, problem, meant, parents)
    ]


def _is_named_by_a_misspelling(
    place: Place, problem: Problem, meant: set[tuple[int, str]], parents: set[Place]
) -> bool:
    missing = problem.message.startswith("is missing")
    return missing and place[:-1] in parents and any(place[-1] == name for _, name in meant)


def quoted(text: str) -> str:
    """The text in quotes, never with a control character in it, and not all of a long one."""
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return f"'{text}'" if text.isprintable() else repr(text)


def _place(error: ErrorDetails, data: Any) -> Place:
    """Pydantic's loc without the names of a union's branches."""
    place: list[str | int] = []
    here = data
    for step in error["loc"]:
        known = isinstance(here, dict) and step in here
        if known or (isinstance(here, list) and isinstance(step, int) and step < len(here)):
            place.append(step)
            here = here[step]
    if error["type"] == "missing":
        place.append(error["loc"][-1])
    return tuple(place)


def _is_other_branch(place: Place, placed: Sequence[tuple[Place, ErrorDetails]], data: Any) -> bool:
    """Whether a union complains as a whole although one branch complains about a part of it."""
    if not isinstance(_value(data, place), list | dict):
        return False
    return any(len(other) > len(place) and other[: len(place)] == place for other, _ in placed)


def _value(data: Any, place: Place) -> Any:
    for step in place:
        data = schema.child(data, step)
    return data


def _problem(place: Place, error: ErrorDetails, data: Any, document: Document) -> Problem:
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(place, data, document)
    if kind == "missing":
        wanted = schema.at(place[:-1], data).get("properties", {}).get(place[-1], {})
        about = wanted.get("description", "")
        return document.problem(place, "is missing" + (f": {about}" if about else ""))
    if error["loc"] and error["loc"][-1] == "[key]":
        return document.problem(place, _NAME, key=True)
    if kind.startswith("union_tag"):
        return _kind(place, data, document)
    return _wrong_value(place, error, data, document)


def _unknown_key(place: Place, data: Any, document: Document) -> Problem:
    key = str(place[-1])
    known = schema.known_keys(place[:-1], data)
    if meant := nearest(key, known):
        return document.problem(place, "unknown key", meant, key=True)
    if homes := schema.homes(key):
        home = " or ".join(name or "the top of the file" for name in homes)
        return document.problem(place, f"unknown key here; it belongs to {home}", key=True)
    return document.problem(place, f"unknown key; known are {', '.join(known)}", key=True)


def _kind(place: Place, data: Any, document: Document) -> Problem:
    known = tuple(schema.at(place, data).get("discriminator", {}).get("mapping", {}))
    given = _value(data, (*place, "kind"))
    if given is None:
        return document.problem((*place, "kind"), f"is missing: one of {', '.join(known)}")
    written = document.written.get((*place, "kind"), "this")
    return document.problem(
        (*place, "kind"),
        f"{quoted(written)} is not one of {', '.join(known)}",
        nearest(written, known),
    )


def _wrong_value(place: Place, error: ErrorDetails, data: Any, document: Document) -> Problem:
    governing = schema.at(place, data)
    written = document.written.get(place)
    given = "this" if written is None else "nothing" if written == "" else quoted(written)
    if "x-secret" in governing and written:
        given = "this"  # a password may stand in it, and messages go into the log
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return document.problem(place, f"{given} does not fit: {_NAME}")
    if error["type"] == "value_error":
        return document.problem(place, f"{given} does not fit: {context['error']}")
    unit = next(filter(None, (part.get("x-unit") for part in _branches(governing))), None)
    if error["type"] in _BOUNDS and unit:
        bound = next(value for value in context.values() if isinstance(value, int | float))
        limit = f"{_BOUNDS[error['type']]} {schema.with_unit(bound, unit)}"
        return document.problem(place, f"{given} is out of range: {limit}")
    filled = "; a variable fills in a text" if written and "${" in written else ""
    return document.problem(
        place,
        f"{given} is not {expected(governing)}{filled}",
        _meant_value(written or "", governing),
    )


def _branches(governing: schema.Schema) -> list[schema.Schema]:
    return [governing, *governing.get("anyOf", ())]


def _meant_value(written: str, governing: schema.Schema) -> str:
    if governing.get("type") == "boolean":
        return _YAML_1_1.get(written.lower(), "")
    return nearest(written, _words(governing))


def _words(governing: schema.Schema) -> tuple[str, ...]:
    words = [*governing.get("enum", ())]
    if "const" in governing:
        words.append(governing["const"])
    for branch in governing.get("anyOf", ()):
        words += _words(branch)
    return tuple(words)


def expected(governing: schema.Schema) -> str:
    """What a value must be, in words."""
    if words := governing.get("enum"):
        return f"one of {', '.join(words)}"
    if "const" in governing:
        return f"the word {governing['const']}"
    if branches := governing.get("anyOf"):
        return " or ".join(expected(branch) for branch in branches)
    if "oneOf" in governing or "$ref" in governing:
        return "a mapping"
    kind = governing.get("type", "")
    plain = {"boolean": "true or false", "array": "a list", "object": "a mapping", "null": "null"}
    if kind == "integer":
        return f"a whole number{_span(governing.get('minimum'), governing.get('maximum'))}"
    if kind == "string":
        span = _span(governing.get("minLength"), governing.get("maxLength"))
        about = " (quoted if it looks like a number)" if not span else " characters"
        return f"a text{about if not span else span.replace(' from', ' of') + about}"
    return plain.get(kind, "what is taken here")


def _span(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" up to {high}" if high is not None else ""
