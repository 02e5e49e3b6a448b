"""impressions: its commands together; guard: what the grounding is worth on planted errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dicom_node.cli import (
    impressions_draft,
    impressions_evaluate,
    impressions_explain,
    impressions_reading,
    impressions_train,
    received,
)
from dicom_node.cli.common import JsonOption, fail, out, refusals
from processors.impressions import appraise
from processors.impressions.text import fold

_HELP = "Drafts of impressions: what guards them, what readers made of them."
app = typer.Typer(help=_HELP, no_args_is_help=True)
received.add_to(app)
impressions_draft.add_to(app)
impressions_reading.add_to(app)


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(app, name="impressions")


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
    price: Annotated[
        bool, typer.Option(help="Also mend every draft: its ROUGE before and after.")
    ] = False,
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
            prices = appraise.price(rows, _rouge(), language) if price else ()
        except ValueError as error:
            raise fail(str(error)) from error
    if as_json:
        told = {f.kind: {**asdict(f), "passed": f.passed} for f in figures}
        told |= {p.kind: {**told.get(p.kind, {}), "rouge1": asdict(p)} for p in prices}
        typer.echo(json.dumps(told, indent=1))
    else:
        out.print(_alarms(figures))
        if prices:
            out.print(_prices(prices))
    if not all(f.passed for f in figures):
        raise typer.Exit(1)


app.command("evaluate")(impressions_evaluate.evaluate)
app.command("train")(impressions_train.train)
app.command("convert")(impressions_train.convert)
app.command("explain")(impressions_explain.explain)


def _alarms(figures: Iterable[appraise.Figure]) -> Table:
    table = Table("planted", "rows", "alarm", "alarm by the error", "limit", "")
    for f in figures:
        sign = "≤" if f.kind == appraise.UNCHANGED else "≥"
        limit = "" if f.limit is None else f"{sign} {f.limit}"
        state = "" if f.limit is None else "ok" if f.passed else "red"
        table.add_row(f.kind, str(f.rows), f"{f.alarms:.3f}", f"{f.news:.3f}", limit, state)
    return table


def _prices(prices: Iterable[appraise.Price]) -> Table:
    table = Table("planted", "rows", "ROUGE-1 as drafted", "mended")
    for p in prices:
        table.add_row(p.kind, str(p.rows), f"{p.drafted:.3f}", f"{p.mended:.3f}")
    return table


def _rouge() -> appraise.Score:
    """ROUGE-1 F1 with stemming, of words without accents; masks removed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise fail(f"--price needs the extra 'train' ({error.name} is not installed).") from error
    scorer = RougeScorer(["rouge1"], use_stemmer=True)

    def score(reference: str, draft: str) -> float:
        return float(scorer.score(fold(reference), fold(draft))["rouge1"].fmeasure)

    return score


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                rows.append(dict(json.loads(line)))
            except ValueError as error:
                raise fail(f"{path}, line {number}: no JSON object: {error}") from error
    return rows
