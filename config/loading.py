"""One node.yaml in, typed settings out, or every problem of the file at once.

The order: read within bounds, fill in variables, make paths absolute (they count from the file's
folder), validate, look across the parts (names that must fit each other, rules), and only then
speak. Reads the file and the password file that it names, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from config import complaints, document, schema
from config.document import Document
from config.problems import Place, Problem, SettingsError, dotted, nearest
from config.settings import OWN_PROCESSORS, Node, Settings, Stow
from config.variables import Filler

_FILE = "sqlite:///"
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|.*\\")
_EVERYWHERE = {"0.0.0.0", "::", "[::]"}  # noqa: S104 - names them, listens nowhere
CheckRule = Callable[[Mapping[str, Any]], list[tuple[tuple[str | int, ...], str]]]


def load(path: Path, environ: Mapping[str, str], check_rule: CheckRule | None = None) -> Settings:
    """The settings in that file.

    check_rule: says what is wrong with a `when:`, as (place below it, message).
    Raises: SettingsError with all problems.
    """
    read = document.read(_text(path))
    if read.data is None or not isinstance(read.data, dict):
        shapeless = Problem(1, 1, "", "the file must be a mapping with node:, intake:, processors:")
        raise SettingsError(path, read.problems or [shapeless])
    filler = Filler(environ, read)
    data = _prepared(read.data, (), read.data, filler, path.absolute().parent)
    read.problems.extend(filler.problems)
    settings, found, whole = _validated(data, read)
    problems = [*read.problems, *found]
    told = {problem.path for problem in problems}
    across = [*_across(data, read), *_rules(data, read, check_rule)]
    problems += [problem for problem in across if problem.path not in told]
    if problems or settings is None:
        raise SettingsError(path, problems or whole)
    return _with_password(settings, path, read)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        new = "; `dictamen init` writes a first one" if isinstance(error, FileNotFoundError) else ""
        raise SettingsError(
            path, [Problem(0, 0, "", f"cannot be read: {error.strerror}{new}")]
        ) from error
    if len(raw) > 4 * document.MOST_CHARACTERS:
        raise SettingsError(path, [Problem(0, 0, "", f"is too long: {len(raw)} bytes")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError(path, [Problem(line, 1, "", "is not UTF-8")]) from error


def _prepared(value: Any, place: Place, root: Any, filler: Filler, folder: Path) -> Any:
    """The same data with variables filled in and paths made absolute; `when:` stays as written."""
    if place[-1:] == ("when",):
        return value
    if isinstance(value, dict):
        keys = value.keys()
        return {key: _prepared(value[key], (*place, key), root, filler, folder) for key in keys}
    if isinstance(value, list):
        parts = enumerate(value)
        return [_prepared(part, (*place, at), root, filler, folder) for at, part in parts]
    if not isinstance(value, str):
        return value
    text = filler.fill(value, place, in_url=place == ("node", "database"))
    if place == ("node", "database"):
        return _absolute_url(text, folder)
    if not _is_path(text, schema.at(place, root)):
        return text
    if wrong := _meant_elsewhere(value, text):
        filler.problems.append(filler.document.problem(place, wrong))
    return str(folder / text) if text else text


def _absolute_url(url: str, folder: Path) -> str:
    """The URL of an SQLite file with its path from the settings' folder, not from a caller's."""
    file = url.removeprefix(_FILE)
    return url if file in (url, "", ":memory:") else _FILE + str(folder / file)


def _meant_elsewhere(written: str, text: str) -> str:
    """Why this path would be another place than the one that was meant; "" if it is not."""
    if not written:  # pathlib takes it for the folder in which a command was called
        return "is empty; write the path"
    if text.startswith("~"):
        return f"{complaints.quoted(written)}: no shell reads this, so ~ is no home; write it out"
    if _WINDOWS.match(text):
        return f"{complaints.quoted(written)}: Windows' paths mean nothing here; write / between"
    return ""


def _is_path(text: str, governing: schema.Schema) -> bool:
    branches = governing.get("anyOf", [governing])
    if any(branch.get("format") == "path" for branch in branches):
        return True
    return "x-path" in governing and "/" in text


def _validated(data: Any, read: Document) -> tuple[Settings | None, list[Problem], list[Problem]]:
    """The settings; what is wrong, with its place; what the model says of the whole file.

    The last has no place: `_across` says the same with one.
    """
    try:
        return Settings.model_validate_json(json.dumps(data)), [], []
    except ValidationError as error:
        details = error.errors()
        placed = complaints.problems([one for one in details if one["loc"]], data, read)
        whole = [Problem(1, 1, "", one["msg"]) for one in details if not one["loc"]]
        return None, placed, whole


def _across(data: dict[str, Any], read: Document) -> Iterator[Problem]:
    """What only several values together show; the data may be wrong in any other way."""
    known = data.get("destinations")
    known = tuple(known) if isinstance(known, dict) else ()
    names: dict[str, int] = {}
    senders: list[tuple[Place, Any]] = [(("impressions",), data.get("impressions"))]
    for place, processor in _processors(data):
        name = processor.get("name")
        senders.append((place, processor))
        if isinstance(name, str) and name in names:
            first = f"the first is in line {names[name]}"
            yield read.problem((*place, "name"), f"two processors are called {name}; {first}")
        elif isinstance(name, str):
            names[name] = read.at((*place, "name")).line
            if name in OWN_PROCESSORS:
                yield read.problem((*place, "name"), f"{name} is the node's own; choose another")
    for place, sender in senders:
        targets = sender.get("send_to") if isinstance(sender, dict) else None
        for index, target in enumerate(targets if isinstance(targets, list) else ()):
            if isinstance(target, str) and target not in known:
                here = (*place, "send_to", index)
                yield read.problem(
                    here, f"no destination is called {target}", nearest(target, known)
                )
    for place in (("intake", "accept_from"), ("intake", "mllp", "accept_from")):
        if _value(data, place) == []:
            yield read.problem(place, "names nobody, so nobody could send; list the sender")
    yield from _doors(data, read)


def _doors(data: dict[str, Any], read: Document) -> Iterator[Problem]:
    """Two doors at one port: whichever opens last would find it taken."""
    defaults: dict[Place, Any] = {
        ("node", "listen"): Node.model_fields["listen"].default,
        ("node", "status"): Node.model_fields["status"].default,
        ("intake", "tls", "listen"): None,
        ("intake", "stow", "listen"): Stow.model_fields["listen"].default,
        ("intake", "mllp", "listen"): None,
    }
    taken: dict[str, list[tuple[str, Place]]] = {}
    for place, default in defaults.items():
        if not isinstance(_value(data, place[:-1]), dict):
            continue
        address = _value(data, place) or default
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        for other, first in taken.get(port, []):
            if port and (other == host or {other, host} & _EVERYWHERE):
                where = f"in line {read.at(first).line}" if first in read.values else "by default"
                taken_by = f"port {port} is that of {dotted(first)} {where}, too"
                message = f"{taken_by}; each door needs one of its own"
                yield read.problem(place, message)
                break
        taken.setdefault(port, []).append((host, place))


def _value(data: Any, place: Place) -> Any:
    for step in place:
        data = schema.child(data, step)
    return data


def _rules(data: dict[str, Any], read: Document, check_rule: CheckRule | None) -> Iterator[Problem]:
    for place, processor in _processors(data):
        when = processor.get("when")
        if check_rule and isinstance(when, dict):
            for below, message in check_rule(when):
                yield read.problem((*place, "when", *below), message, key=True)


def _processors(data: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    listed = data.get("processors")
    for index, processor in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(processor, dict):
            yield ("processors", index), processor


def _with_password(settings: Settings, path: Path, read: Document) -> Settings:
    """The same settings with the password of database_password_file in the database's URL."""
    node = settings.node
    if node.database_password_file is None:
        return settings
    place: Place = ("node", "database_password_file")
    url = urlsplit(node.database)
    if not url.username or url.password:
        needed = "needs a database URL with a user and without a password"
        raise SettingsError(path, [read.problem(place, needed)])
    try:
        password = node.database_password_file.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise SettingsError(path, [read.problem(place, f"cannot be read: {reason}")]) from error
    if len(password.splitlines()) != 1:
        wrong = "must hold the password alone, in one line"
        raise SettingsError(path, [read.problem(place, wrong)])
    user = f"{url.username}:{quote(password, safe='')}@"
    filled = node.database.replace(f"{url.username}@", user, 1)
    return settings.model_copy(update={"node": node.model_copy(update={"database": filled})})
