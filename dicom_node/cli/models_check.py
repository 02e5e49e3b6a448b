"""models check: what every model must do, asked of one bundle, as a list."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from config.settings import Endpoint
from dicom_node.cli.common import JsonOption, err, fail, out, visible
from dicom_node.cli.models_options import BundleArgument
from processors import ProcessorError

COLOURS = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def check(
    bundle: BundleArgument,
    url: Annotated[
        str | None, typer.Option(help="Of an http_endpoint: where it is to be asked.")
    ] = None,
    trusted: Annotated[
        Path | None, typer.Option(exists=True, help="Authorities of the endpoint (PEM).")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(exists=True, help="Bearer token for the endpoint.")
    ] = None,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that one study may take.")] = 120,
    as_json: JsonOption = False,
) -> None:
    """Does a model keep the contract: refusals, ranges, checksums, pickles, time; whatever kind."""
    from dicom_node.endpoint import poster  # these load the models' runtime
    from processors import conformance, kinds

    try:
        kind = conformance.kind_of(bundle)
        post = None
        if url:
            post = poster(Endpoint(url=url, trusted=trusted, token_file=token_file))
        wanted = kinds.Wanted("check", bundle, device="cpu", post=post)
        with err.status("asking the model"):
            verdicts = conformance.run(conformance.Subject(kind, wanted), limit)
    except (ProcessorError, OSError) as error:
        raise fail(str(error)) from error
    except ValidationError as error:
        raise fail("; ".join(one["msg"] for one in error.errors())) from error
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in verdicts], indent=1, ensure_ascii=False))
    else:
        table = Table(title=f"{kind} {bundle}", title_justify="left")
        for column in ("", "what", "found"):
            table.add_column(column, overflow="fold")
        for one in verdicts:
            table.add_row(
                Text(one.state, style=COLOURS[one.state]), one.title, Text(visible(one.said))
            )
        out.print(table)
    raise typer.Exit(0 if conformance.passed(verdicts) else 1)
