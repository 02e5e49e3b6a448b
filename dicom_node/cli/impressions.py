"""impressions: guard; what the grounding of drafts is worth, measured on planted errors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dicom_node.cli import received
from dicom_node.cli.common import JsonOption, fail, out, refusals
from processors.impressions import appraise

_HELP = "Drafts of impressions: what guards them, what readers made of them."
app = typer.Typer(help=_HELP, no_args_is_help=True)
received.add_to(app)


@app.callback(help=_HELP)
def group() -> None:
    """Keeps its commands a group, whatever their number."""


@app.command()
def guard(
    pairs: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON lines: kind, findings, original, corrupted, checkable.",
        ),
    ],
    language: Annotated[str, typer.Option(help="en or es.")] = "en",
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the guard on planted errors; exit 1 when a kind misses its limit."""
    with refusals():
        rows = _rows(pairs)
        if split is not None:
            rows = [row for row in rows if row.get("split") == split]
        if not rows:
            raise fail(f"{pairs} holds no rows to judge.")
        try:
            figures = appraise.guard(rows, language)
        except ValueError as error:
            raise fail(str(error)) from error
    if as_json:
        told = {f.kind: {**asdict(f), "passed": f.passed} for f in figures}
        typer.echo(json.dumps(told, indent=1))
    else:
        table = Table("planted", "rows", "alarm", "alarm by the error", "limit", "")
        for f in figures:
            sign = "≤" if f.kind == appraise.UNCHANGED else "≥"
            state = "ok" if f.passed else "red"
            cells = (str(f.rows), f"{f.alarms:.3f}", f"{f.news:.3f}", f"{sign} {f.limit}", state)
            table.add_row(f.kind, *cells)
        out.print(table)
    if not all(f.passed for f in figures):
        raise typer.Exit(1)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                rows.append(dict(json.loads(line)))
            except ValueError as error:
                raise fail(f"{path}, line {number}: no JSON object: {error}") from error
    return rows
