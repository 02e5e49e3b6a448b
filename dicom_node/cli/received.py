"""impressions: messages, retry, close, agreement, corrections; what came from the readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node import narrative, rooms
from dicom_node.agreement import figures, page, pairs
from dicom_node.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    LimitOption,
    NumberArgument,
    WhyOption,
    fail,
    memory,
    out,
    person,
    print_rows,
)
from dicom_node.inbox.desk import renewed
from storage import AgreementRecord, MessageRecord, MessageState, Storage

Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Only final reports received from this UTC day on."),
]
Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Only those received before this UTC day."),
]


class Language(StrEnum):
    EN = "en"
    ES = "es"


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (messages, retry, close, agreement, corrections):
        app.command()(command)


def messages(
    state: Annotated[MessageState | None, typer.Option(help="Only in this state.")] = None,
    limit: LimitOption = 100,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the reports that came as messages."""
    with memory(config) as (_, storage):
        rows = [_row(one) for one in storage.inbox.list(state=state, limit=limit)]
        print_rows(rows, as_json, title="Messages")


def retry(
    message: NumberArgument,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Look again whose a held message is, after its study was corrected at the source."""
    with memory(config) as (settings, storage):
        record = storage.inbox.get(message)
        if record is None or record.state is not MessageState.HELD:
            raise fail(f"message {message} is not held")
        processing = settings.intake.mllp.processing if settings.intake.mllp else "P"
        said = narrative.dictation(storage, record, processing)
        found = storage.inbox.reconsider(message, renewed(said, record), person())
        if found is None or found.state is MessageState.HELD:
            raise fail(f"message {message} stays held: {found.reason if found else ''}")
        out.print(f"{found.state.value}" + (f", run {found.run_id}" if found.run_id else ""))


def close(
    message: NumberArgument,
    why: WhyOption,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """End a held message: nothing becomes of it, and retention takes its text."""
    with memory(config) as (_, storage):
        if not storage.inbox.close(message, person(), why):
            raise fail(f"message {message} is not held")
        out.print(MessageState.CLOSED.value)


def agreement(
    since: Since = None,
    until: Until = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with drawings there.")] = None,
    language: Annotated[
        Language | None, typer.Option(help="Of the page; the node's where not said.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """How far drafts agree with what was signed: overall, by week, reader and finding."""
    with memory(config) as (settings, storage):
        found = figures.summary(_records(storage, since, until))
        spoken = language.value if language else settings.node.language
        if html is not None:
            html.write_text(page.page(found, spoken), encoding="utf-8")
        if as_json:
            typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=1))
            return
        overall = [found.overall] if found.overall else []
        for title, groups in (
            ("Agreement", overall), ("By week", found.weeks), ("By reader", found.readers),
        ):  # fmt: skip
            print_rows([_group_row(one) for one in groups], as_json, title=title)
        rows = [
            {**asdict(one), "name": page.finding_name(one.name, spoken)} for one in found.findings
        ]
        print_rows(rows, as_json, title="By finding")


def corrections(
    target: Annotated[
        Path, typer.Option("--out", help="CSV: uid, findings, impression, language.")
    ],
    since: Since = None,
    until: Until = None,
    changed_only: Annotated[
        bool, typer.Option("--changed", help="Only where the reader changed the draft.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Export what readers signed as pairs to train on; the texts are the patients'."""
    with memory(config) as (settings, storage):
        try:
            count = pairs.write(
                _records(storage, since, until),
                target,
                rooms.audit_key(settings),
                changed_only=changed_only,
            )
        except FileExistsError as error:
            raise fail(f"{target} exists already; nothing was written.") from error
        out.print(f"{count} pairs written to {target}")


def _records(
    storage: Storage, since: datetime | None, until: datetime | None
) -> Iterator[AgreementRecord]:
    first, end = (day.replace(tzinfo=UTC) if day else None for day in (since, until))
    return storage.agreements.all(since=first, until=end)


def _row(one: MessageRecord) -> dict[str, Any]:
    return {
        "message": one.id,
        "kind": one.kind.value,
        "state": one.state.value,
        "study": one.study_uid,
        "run": one.run_id,
        "control_id": one.control_id,
        "from": one.address,
        "received_at": one.received_at,
        "repeats": one.repeats,
        "reason": one.reason,
    }


def _group_row(one: figures.Group) -> dict[str, Any]:
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(one).items()
    }
