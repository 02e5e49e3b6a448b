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
from rich.table import Table
from rich.text import Text

from config import Settings, SettingsError, load
from dicom_node import logs, rooms, rules
from processors import ProcessorError
from storage import Storage, StorageError

EX_CONFIG = 78
out = Console()
err = Console(stderr=True)

ConfigArgument = Annotated[Path, typer.Argument(help="The node's settings (node.yaml).")]
ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="DICTAMEN_CONFIG", help="The node's settings."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
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
    except (StorageError, ProcessorError, OSError) as error:
        raise fail(str(error)) from error


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
    """A table for eyes, or a JSON array for scripts."""
    if as_json:
        typer.echo(json.dumps(list(rows), ensure_ascii=False, default=str, indent=1))
        return
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(value)) for value in row.values()))
    out.print(table)


def print_one(record: Mapping[str, Any], as_json: bool) -> None:
    """One record, a field a line."""
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, default=str, indent=1))
        return
    for name, value in record.items():
        out.print(Text(f"{name.replace('_', ' ')}: {_plain(value)}"))


def fail(message: str) -> typer.Exit:
    """Print why, and give the exit to raise."""
    err.print(Text(message), soft_wrap=True)
    return typer.Exit(1)


def _plain(value: Any) -> str:
    """Text for a terminal: times short, control characters of peers shown and never obeyed."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if value is None:
        return ""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
