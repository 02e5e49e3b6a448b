"""What several commands share: reading node.yaml, opening the memory, tables or JSON."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from config import Settings, SettingsError, load
from dicom_node import logs, rooms, rules
from processors import ProcessorError
from storage import Storage, StorageError

EX_CONFIG = 78
_ANY_WIDTH = 10_000
out = Console()
err = Console(stderr=True)

# readable=False: typer would call it wrong usage (2) what is a node.yaml that cannot be used (78)
ConfigArgument = Annotated[
    Path, typer.Argument(help="The node's settings (node.yaml).", readable=False)
]
ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="DICTAMEN_CONFIG",
        help="The node's settings.",
        readable=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
MOST = 2**63 - 1  # what a database takes for a whole number
NumberArgument = Annotated[int, typer.Argument(min=0, max=MOST, help="Its number.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=MOST, help="At most this many, newest first.")
]
DEFAULT_CONFIG = Path("/etc/dictamen/node.yaml")


def settings_of(path: Path) -> Settings:
    """Read node.yaml, or print every problem with its line and leave with status 78."""
    try:
        return load(path, os.environ, check_rule=rules.faults)
    except SettingsError as error:
        err.print(Text(str(error)), soft_wrap=True)
        raise typer.Exit(EX_CONFIG) from error


def person() -> str:
    """Who types, for the audit log; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextmanager
def refusals() -> Iterator[None]:
    """What storage, models or the file system refuse is said in one line, with status 1."""
    try:
        yield
    except BrokenPipeError:  # whoever read has seen enough: nothing is wrong that could be named
        raise
    except (StorageError, ProcessorError, rooms.Unusable) as error:
        raise fail(str(error)) from error
    except OSError as error:
        named = error.filename is not None and error.strerror
        raise fail(f"{error.filename}: {error.strerror}" if named else str(error)) from error


@contextmanager
def memory(path: Path) -> Iterator[tuple[Settings, Storage]]:
    """The node's settings and its storage; what storage refuses is said in one line."""
    settings = settings_of(path)
    with refusals():
        logs.configure(settings.node.log, rooms.audit_key(settings), process="cli")
        storage = rooms.storage(settings, f"cli:{person()}")
        try:
            yield settings, storage
        finally:
            storage.close()


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, *, title: str) -> None:
    """A table for eyes, or a JSON array for scripts.

    What is wider than the terminal is told a field a line: a UID cut into pieces of five
    characters serves nobody. Into a pipe a row is a line, however long.
    """
    if as_json:
        _print_json(list(rows))
        return
    if not rows:
        out.print(f"{title}: none")
        return
    names = [name for name in rows[0] if any(_plain(row[name]) for row in rows)]
    table = Table(title=title)
    for name in names:
        table.add_column(_words(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(row[name])) for name in names))
    width = Measurement.get(out, out.options.update(max_width=_ANY_WIDTH), table).maximum
    if width > out.width and out.is_terminal:
        out.print(f"{title}: {len(rows)}")
        for row in rows:
            out.print()
            _print_fields({name: row[name] for name in names if _plain(row[name])})
    else:
        Console(width=max(width, out.width)).print(table)


def print_one(record: Mapping[str, Any], as_json: bool) -> None:
    """One record, a field a line."""
    if as_json:
        _print_json(record)
    else:
        _print_fields(record)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, default=_instant, indent=1))


def _print_fields(record: Mapping[str, Any]) -> None:
    for name, value in record.items():
        out.print(Text(f"{_words(name)}: {_plain(value)}"), soft_wrap=True)


def fail(message: str) -> typer.Exit:
    """Print why, and give the exit to raise."""
    err.print(Text(message), soft_wrap=True)
    return typer.Exit(1)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _instant(value: Any) -> str:
    """What JSON has no form for: times as ISO 8601 has them."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> str:
    """Text for a terminal: times short, control characters of peers shown and never obeyed."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_instant) if value else ""
    return visible(str(value))


def visible(text: str) -> str:
    """The text with its control characters written out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
