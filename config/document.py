"""Reads YAML text into plain values and remembers where each of them stood.

YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3), made stricter: what programs read in
different ways (010, 0x1F, 1e3, 1_000) is a problem instead of a guess; no, yes, on, off and
12:30:00 are texts. Tags, merge keys and directives are refused, so nothing in a file can make an
object; the size of the text, its depth and what its aliases expand to are bounded.
Never reads a file and knows nothing of what the values mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from config.problems import Place, Problem, dotted

MOST_CHARACTERS = 256 * 1024  # a large hospital's file has some 20,000
MOST_VALUES = 20_000  # after every alias is written out
MOST_LEVELS = 32

_ODD_SPACE = re.compile(
    "[\u00a0\u2000-\u200b\u202f\u3000\ufeff]"
)  # of word processors and web pages
_ODD = "a special space (no-break; copied from a page?)"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9]\d{0,17})\.\d{1,17}")
_AMBIGUOUS = re.compile(
    r"""[-+]?( 0\d+(\.\d*)? | 0x[0-9a-fA-F_]+ | 0o[0-7_]+ | 0b[01_]+ | \d+_[\d_]*(\.\d*)?
    | \d+\. | \.\d+ | (\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+ | \.(inf|Inf|INF) )
    | \.(nan|NaN|NAN)""",
    re.VERBOSE,
)

# what the parser says -> what was probably done
_HINTS = {
    "mapping values": "; check the indentation and the line before (a colon needs a space behind "
    "it), and quote a text that holds a colon and a space",
    "expected <block end>": "; check the indentation here and in the lines before, and the quotes",
    "unknown escape": '; between " a \\ begins an escape: write the text without quotes',
    "cannot start any token": "; put the text in quotes",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A line and a column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """data: the plain values. The maps tell, by place, where a value or its key stood."""

    data: Any
    values: dict[Place, Spot] = field(default_factory=dict)
    keys: dict[Place, Spot] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def at(self, place: Place, *, key: bool = False) -> Spot:
        """Where that place stands; for one that is not there, where its parent stands."""
        for cut in range(len(place), 0, -1):
            known = self.keys if key or cut < len(place) else self.values
            spot = known.get(place[:cut]) or self.values.get(place[:cut])
            if spot:
                return spot
        return self.values.get((), Spot(1, 1))

    def problem(
        self, place: Place, message: str, suggestion: str = "", *, key: bool = False
    ) -> Problem:
        spot = self.at(place, key=key)
        return Problem(spot.line, spot.column, dotted(place), message, suggestion)


class _Stop(Exception):
    """The text cannot be read on; carries the one problem."""

    def __init__(self, spot: Spot, message: str) -> None:
        self.problem = Problem(spot.line, spot.column, "", message)
        super().__init__(message)


@dataclass(slots=True)
class _Node:
    spot: Spot
    text: str | None = None  # of a scalar
    quoted: bool = False
    tag: str | None = None
    items: list[_Node] | None = None
    pairs: list[tuple[_Node, _Node]] | None = None
    size: int = 1  # values in it, aliases written out
    height: int = 0  # levels below it, aliases written out


def read(text: str) -> Document:
    """The document in the text; what makes it unreadable as a whole is its only problem."""
    try:
        root = _Composer(text).document()
    except _Stop as stop:
        return Document(None, problems=[stop.problem])
    document = Document({})
    return Document(
        _plain(root, (), document),
        document.values,
        document.keys,
        document.written,
        document.problems,
    )


class _Composer:
    """Nodes from the parser's events, within the bounds."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise _Stop(Spot(1, 1), f"the file is longer than {MOST_CHARACTERS} characters")
        self._events = _events(text)
        self._anchors: dict[str, _Node] = {}
        self._values = 0

    def document(self) -> _Node:
        root: _Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if event.version or event.tags:
                    raise _Stop(_spot(event), "directives (%YAML, %TAG) are not taken")
                if root:
                    raise _Stop(_spot(event), "a second document (---) in the same file")
                root = self._node(next(self._events), 0)
        return root or _Node(Spot(1, 1), text="")

    def _node(self, event: Event, depth: int) -> _Node:
        spot = _spot(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, spot, depth)
        _check_depth(spot, depth)
        node = _Node(spot, tag=getattr(event, "tag", None))
        if isinstance(event, ScalarEvent):
            node.text, node.quoted = event.value, not event.implicit[0]
        elif isinstance(event, SequenceStartEvent):
            node.items = list(self._children(SequenceEndEvent, depth))
            _measure(node, node.items)
        elif isinstance(event, MappingStartEvent):
            flat = list(self._children(MappingEndEvent, depth))
            node.pairs = list(zip(flat[::2], flat[1::2], strict=True))
            _measure(node, flat)
        self._count(spot, 1)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = node
        return node

    def _children(self, end: type[Event], depth: int) -> Iterator[_Node]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield self._node(event, depth + 1)

    def _alias(self, event: AliasEvent, spot: Spot, depth: int) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Stop(
                spot, f"*{event.anchor} names no &{event.anchor} before it; quote a text with *"
            )
        _check_depth(spot, depth + node.height)
        self._count(spot, node.size)
        return node

    def _count(self, spot: Spot, more: int) -> None:
        self._values += more
        if self._values > MOST_VALUES:
            raise _Stop(spot, f"more than {MOST_VALUES} values, aliases written out")


def _check_depth(spot: Spot, depth: int) -> None:
    if depth > MOST_LEVELS:
        raise _Stop(spot, f"nested more than {MOST_LEVELS} levels deep")


def _measure(node: _Node, children: list[_Node]) -> None:
    node.size += sum(child.size for child in children)
    node.height = 1 + max((child.height for child in children), default=0)


def _events(text: str) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(mark.line + 1, mark.column + 1) if mark else Spot(1, 1)
        raise _Stop(spot, f"not YAML: {error.problem}{_hint(error, text, spot)}") from error
    except YAMLError as error:  # characters that YAML does not allow
        place = min(getattr(error, "position", 0), len(text))
        line = text.count("\n", 0, place) + 1
        raise _Stop(Spot(line, 1), "a character that YAML does not allow") from error


def _hint(error: MarkedYAMLError, text: str, spot: Spot) -> str:
    began = error.context_mark.line + 1 if error.context_mark else spot.line
    if began < spot.line and re.search("flow|quoted", str(error.context)):
        return f"; what opens in line {began} is not closed"
    lines = text.splitlines()[max(0, spot.line - 2) : spot.line]
    if lines and "\t" in lines[-1]:
        return "; indent with spaces, not with tabs"
    if any(map(_ODD_SPACE.search, lines)):
        return f"; there is {_ODD}: write a plain one"
    if lines and re.search(r"[\[{].*\$\{", lines[-1]):
        return "; quote a text with a variable: '${NAME}'"
    if "could not find expected ':'" in str(error.problem):
        return f"; line {began} needs a colon with a space behind it"
    return next((hint for words, hint in _HINTS.items() if words in str(error.problem)), "")


def _spot(event: Event) -> Spot:
    return Spot(event.start_mark.line + 1, event.start_mark.column + 1)


def _plain(node: _Node, place: Place, into: Document) -> Any:
    """The node's value; positions and problems are noted under its place."""
    into.values.setdefault(place, node.spot)
    if node.tag:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        into.problems.append(into.problem(place, f"tag {tag} is not taken; write the value"))
        return None
    if node.items is not None:
        return [_plain(item, (*place, index), into) for index, item in enumerate(node.items)]
    if node.pairs is not None:
        return _mapping(node.pairs, place, into)
    into.written[place] = node.text or ""
    return _scalar(node, place, into)


def _mapping(pairs: list[tuple[_Node, _Node]], place: Place, into: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        name = key.text
        here = (*place, name or "")
        at = Problem(key.spot.line, key.spot.column, dotted(here), "")
        if name is None or key.tag:
            into.problems.append(_with(at, "a key is one plain word"))
        elif name == "<<" and not key.quoted:
            into.problems.append(_with(at, "merge keys are not part of YAML 1.2; write them out"))
        elif name in found:
            first = into.keys[here].line
            into.problems.append(_with(at, f"the same key twice; the first is in line {first}"))
        elif _ODD_SPACE.search(name) and not key.quoted:
            into.problems.append(_with(at, f"{_ODD} in a key: write a plain one"))
        else:
            into.keys[here] = key.spot
            if value.text == "" and not value.quoted:  # it "stands" where the next thing begins
                into.values[here] = key.spot
            found[name] = _plain(value, here, into)
    return found


def _with(at: Problem, message: str) -> Problem:
    return Problem(at.line, at.column, at.path, message)


def _scalar(node: _Node, place: Place, into: Document) -> Any:
    text = node.text or ""
    if node.quoted:
        return text
    if _NULL.fullmatch(text):
        return None
    if found := _BOOL.fullmatch(text):
        return bool(found[1])
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _AMBIGUOUS.fullmatch(text):
        message = f"{text} is read as different numbers by different programs; "
        message += f"write the plain decimal number, or '{text}' in quotes if it is a text"
        into.problems.append(into.problem(place, message))
    return text
