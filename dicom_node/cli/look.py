"""explain and books: what became of a study, and of all studies."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from dicom_node import story
from dicom_node.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    memory,
    out,
    print_one,
    print_rows,
    visible,
)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(explain)
    app.command()(books)


def explain(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell a study's way through the node: rules, runs, findings, deliveries, and why."""
    with memory(config) as (settings, storage):
        record = storage.studies.get(study)
        if record is None:
            raise fail(f"no study {study} was received, or it was purged; see: dictamen audit list")
        runs = [(run, storage.runs.analysis(run.id)) for run in storage.runs.list(study_uid=study)]
        deliveries = storage.outbox.list(study_uid=study, limit=1000)
        kept = storage.commitments.of([item.id for item in deliveries])
        lines = story.tell(record, runs, deliveries, settings.node.language, kept)
        if as_json:
            print_one({"study": study, "trace": record.trace, "story": lines}, as_json)
        else:
            for line in lines:
                out.print(Text(visible(line)), soft_wrap=True)


def books(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only studies of this UTC day.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Each study received, in exactly one column; the difference must be zero."""
    since = day.replace(tzinfo=UTC) if day else None
    last = day is None or day.date() == date.max
    until = None if since is None or last else since + timedelta(days=1)
    with memory(config) as (_, storage):
        tally = storage.studies.books(since, until)
        if as_json:
            print_one(
                {
                    "received": tally.received,
                    **tally.columns,
                    "difference": tally.difference,
                    "reasons": tally.reasons,
                },
                as_json,
            )
        else:
            rows: list[dict[str, object]] = [{"": "received", "studies": tally.received, "why": ""}]
            for column, count in tally.columns.items():
                why = "; ".join(f"{n} × {r}" for r, n in tally.reasons.get(column, {}).items() if r)
                rows.append({"": column.replace("_", " "), "studies": count, "why": why})
            rows.append({"": "difference", "studies": tally.difference, "why": ""})
            print_rows(rows, as_json, title=f"Books of {day:%Y-%m-%d}" if day else "Books")
        raise typer.Exit(0 if tally.difference == 0 else 1)
