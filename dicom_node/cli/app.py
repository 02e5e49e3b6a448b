"""The root of the command line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dicom_node import product
from dicom_node.cli import (
    audit,
    database,
    impressions,
    impressions_reading,
    look,
    models,
    node,
    processors,
    queues,
)

app = typer.Typer(
    name=product.NAME,
    help="Models that explain themselves, beside a hospital's PACS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{product.NAME} {product.VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exit codes: 0 good, 1 something is wrong, 2 wrong usage, 78 node.yaml cannot be used."""


node.add_to(app)
look.add_to(app)
app.add_typer(queues.studies, name="studies")
app.add_typer(queues.runs, name="runs")
app.add_typer(queues.deliveries, name="deliveries")
app.add_typer(processors.app, name="processors")
app.add_typer(audit.app, name="audit")
app.add_typer(models.app, name="models")
impressions_reading.add_to(impressions.app)
app.add_typer(impressions.app, name="impressions")
app.add_typer(database.app, name="db")


def main() -> None:
    """Console script."""
    sys.exit(app())
