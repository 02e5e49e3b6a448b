"""db: upgrade, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import storage
from dicom_node.cli.common import DEFAULT_CONFIG, ConfigOption, fail, out, settings_of

app = typer.Typer(help="The database and its copies.", no_args_is_help=True)


@app.command()
def upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the database to this version's schema; safe to repeat."""
    settings = settings_of(config)
    try:
        settings.node.data_dir.mkdir(parents=True, exist_ok=True)
        storage.upgrade(settings.node.database_url)
    except storage.StorageError as error:
        raise fail(str(error)) from error
    out.print("the database is up to date")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Folder that the copy goes to.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Copy the database and the spool while the node runs."""
    settings = settings_of(config)
    try:
        written = storage.backup(settings.node.database_url, settings.node.data_dir, target)
    except storage.StorageError as error:
        raise fail(str(error)) from error
    out.print(f"wrote {written}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that backup wrote.", exists=True)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put a backup in place; refuses to overwrite what is there. Stop the node first."""
    settings = settings_of(config)
    try:
        missing = storage.restore(source, settings.node.database_url, settings.node.data_dir)
    except storage.StorageError as error:
        raise fail(str(error)) from error
    if missing:
        out.print(f"{len(missing)} files of the spool are not in the backup; copy them back too")
    for path in missing:
        out.print(f"not in the backup: {path}")
    out.print("restored; now: dictamen db upgrade, dictamen audit verify, dictamen serve")
