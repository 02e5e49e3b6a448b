"""audit: list, verify, export."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from dicom_node.cli.common import (
    DEFAULT_CONFIG,
    MOST,
    ConfigOption,
    JsonOption,
    memory,
    out,
    print_one,
    print_rows,
)
from storage import AuditEntry

AfterOption = Annotated[int, typer.Option(min=0, max=MOST, help="Only after this sequence number.")]
app = typer.Typer(help="The append-only audit log.", no_args_is_help=True)


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(app, name="audit")


class Form(StrEnum):
    DICOM = "dicom"
    JSONL = "jsonl"


@app.command("list")
def list_events(
    study: Annotated[str | None, typer.Option(help="Only of this study.")] = None,
    after: AfterOption = 0,
    limit: Annotated[
        int,
        typer.Option(min=1, max=MOST, help="At most this many, oldest first; go on with --after."),
    ] = 100,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List audit events; looking is itself recorded."""
    with memory(config) as (_, storage):
        found = storage.audit.list(study_uid=study, after=after, limit=limit)
        storage.audit.append(AuditEntry("110101", "R", details={"shown": len(found)}))
        rows = [
            {
                "sequence": record.sequence,
                "at": record.at,
                "event": record.entry.event,
                "kind": record.entry.kind,
                "action": record.entry.action,
                "outcome": record.entry.outcome,
                "study": record.entry.study_uid,
                "who": record.entry.who,
                "details": dict(record.entry.details),
            }
            for record in found
        ]
        print_rows(rows, as_json, title="Audit")


def _head(text: str) -> tuple[int, str]:
    sequence, colon, digest = text.partition(":")
    if not (colon and sequence.isascii() and sequence.isdecimal()):
        raise typer.BadParameter("write SEQUENCE:HASH, as an earlier verify printed it")
    return int(sequence), digest


@app.command()
def verify(
    known: Annotated[
        str | None,
        typer.Option(help="SEQUENCE:HASH of an earlier verify; the chain must still hold it."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Check the hash chain: changed, removed, re-ordered and inserted rows are named."""
    earlier = _head(known) if known else None
    with memory(config) as (_, storage):
        faults = storage.audit.verify(earlier)
        head = ":".join(map(str, storage.audit.head()))
    if as_json:
        print_one({"clean": not faults, "faults": list(faults), "head": head}, as_json)
    else:
        for fault in faults:
            out.print(Text(fault), soft_wrap=True)
        out.print("the chain is whole" if not faults else f"{len(faults)} faults")
        hint = "(keep it elsewhere; --known proves later that nothing was cut off)"
        out.print(f"head {head} {hint}", soft_wrap=True)
    raise typer.Exit(1 if faults else 0)


@app.command()
def export(
    form: Annotated[Form, typer.Option("--format", help="DICOM audit messages, or JSON lines.")] = (
        Form.JSONL
    ),
    after: AfterOption = 0,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write the log to standard output, a message a line."""
    with memory(config) as (_, storage):
        # first: who stops reading before the end has read all the same
        storage.audit.append(AuditEntry("110101", "R", details={"exported": form.value}))
        for line in storage.audit.export(form.value, after=after):
            typer.echo(line)
