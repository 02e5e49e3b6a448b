"""db: upgrade, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import storage
from dicom_node import rooms
from dicom_node.cli.common import DEFAULT_CONFIG, ConfigOption, fail, out, refusals, settings_of

app = typer.Typer(help="The database and its copies.", no_args_is_help=True)


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(app, name="db")


@app.command()
def upgrade(
    config: ConfigOption = DEFAULT_CONFIG,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Make a new database beside images whose own is lost: all are judged and sent "
            "again, and what persons decided about them is forgotten.",
        ),
    ] = False,
) -> None:
    """Bring the database to this version's schema; safe to repeat."""
    settings = settings_of(config)
    with refusals():
        rooms.make_data_dir(settings)
        rooms.make_database(settings, adopt=adopt)
    out.print("the database is up to date")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new or empty folder for the copy.")],
    config: ConfigOption = DEFAULT_CONFIG,
    files: Annotated[
        bool, typer.Option(help="The spool's files too, or only a listing of them.")
    ] = True,
) -> None:
    """Copy the database and the spool's files while the node runs."""
    settings = settings_of(config)
    with refusals():
        written = storage.backup(
            settings.node.database_url, settings.node.data_dir, target, files=files
        )
    out.print(Text(f"wrote {written}"), soft_wrap=True)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that backup wrote.", exists=True)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put a backup in place; refuses to overwrite what is there. Stop the node first."""
    settings = settings_of(config)
    with refusals():
        missing = storage.restore(source, settings.node.database_url, settings.node.data_dir)
    for path in missing:
        out.print(Text(f"missing: {path}"), soft_wrap=True)
    if missing:
        raise fail(f"restored, but {len(missing)} files are neither in the backup nor in place")
    out.print("restored; now: dictamen db upgrade, dictamen audit verify, dictamen serve")
