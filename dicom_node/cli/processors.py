"""processors: list, shadow-report, promote, demote: from shadow to live, on the record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from config import Settings, document
from config import settings as cfg
from dicom_node.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    memory,
    out,
    person,
    print_one,
    print_rows,
    visible,
)
from storage import Storage

if TYPE_CHECKING:
    from dicom_node.shadow.evidence import Evidence
    from processors.analysis import Algorithm

app = typer.Typer(help="Processors in shadow, and their way to live.", no_args_is_help=True)


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(app, name="processors")


NameArgument = Annotated[str, typer.Argument(help="Its name in node.yaml.")]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        exists=True,
        dir_okay=False,
        help="CSV of the site's readings: study (UID) or accession, label, present (0 or 1).",
    ),
]
SinceOption = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only runs from this UTC day on.")
]
UntilOption = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only runs before this UTC day.")
]
ByOption = Annotated[str, typer.Option("--by", help="The name of the person who decides.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.")]


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the processors: mode, runs, and whether a promotion stands behind it."""
    from dicom_node.shadow import promotion

    with memory(config) as (settings, storage):
        tally = storage.runs.tally()
        records = storage.audit.list(kinds=(promotion.PROMOTED, promotion.DEMOTED), limit=100_000)
        rows = []
        for one in settings.processors:
            last, shadow = promotion.standing(records, one.name), tally.get((one.name, "shadow"), 0)
            now = _algorithm(one) if promotion.is_promoted(last) else None
            rows.append(
                {
                    "processor": one.name,
                    "mode": one.mode,
                    "bundle": one.bundle,
                    "live_runs": tally.get((one.name, "live"), 0),
                    "shadow_runs": shadow,
                    "last": last.entry.kind.partition(".")[2] if last else None,
                    "by": last.entry.who if last else None,
                    "at": last.at if last else None,
                    "remark": promotion.remark(one.mode, last, shadow, now),
                }
            )
        print_rows(rows, as_json, title="Processors")


@app.command("shadow-report")
def shadow_report(
    name: NameArgument,
    reference: ReferenceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to look at.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """What a processor in shadow would have done, beside live ones and the site's readings."""
    with memory(config) as (settings, storage):
        _processor(settings, name)
        evidence = _evidence(storage, name, reference, (since, until))
        if html is not None:
            from dicom_node.shadow.page import page

            html.write_text(page(evidence, settings.node.language), encoding="utf-8")
        if as_json:
            print_one({**evidence.plain(), "sha256": evidence.sha256}, as_json)
        else:
            _tell(evidence, settings.node.language)
        if html is not None and not as_json:
            out.print(f"wrote {html}")


@app.command()
def promote(
    name: NameArgument,
    by: ByOption,
    reason: ReasonOption,
    reference: ReferenceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even without evidence, or with other weights.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Record that a person lets a processor go live, and on what evidence."""
    from dicom_node.shadow import promotion

    _named(by, reason)
    with memory(config) as (settings, storage):
        processor, place = _processor(settings, name)
        evidence = _evidence(storage, name, reference, (since, until))
        against = promotion.objections(evidence, _algorithm(processor))
        kept = storage.spool.write(
            "evidence", f"{name}-{evidence.sha256[:16]}.json", evidence.document()
        )
        storage.audit.append(
            promotion.promotion(
                evidence,
                who=by,
                reason=reason,
                against=against,
                overruled=anyway,
                more={
                    "account": person(),
                    "evidence_file": kept,
                    "since": since.date().isoformat() if since else "",
                    "until": until.date().isoformat() if until else "",
                    "reference_sha256": (
                        hashlib.sha256(reference.read_bytes()).hexdigest() if reference else ""
                    ),
                },
            )
        )
        done = anyway or not against
        todo = _todo(config, place, processor.mode, "live") if done else ""
        if as_json:
            said = {"processor": name, "promoted": done, "by": by, "reason": reason}
            said |= {"objections": against, "todo": todo, "evidence_file": kept}
            print_one(
                {**said, "evidence_sha256": evidence.sha256, "evidence": evidence.plain()}, as_json
            )
        else:
            _tell(evidence, settings.node.language)
            out.print(Text(f"evidence kept as {storage.spool.path(kept)}"), soft_wrap=True)
    if not done:
        raise fail(f"not promoted: {'; '.join(against)}. --anyway overrules, and is recorded")
    if not as_json:
        out.print(Text(f"recorded: {by} promotes {name}. {todo}"), soft_wrap=True)


@app.command()
def demote(
    name: NameArgument,
    by: ByOption,
    reason: ReasonOption,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Record that a person sends a processor back into shadow."""
    from dicom_node.shadow import promotion

    _named(by, reason)
    with memory(config) as (settings, storage):
        processor, place = _processor(settings, name)
        storage.audit.append(
            promotion.demotion(name, who=by, reason=reason, more={"account": person()})
        )
        todo = _todo(config, place, processor.mode, "shadow")
    out.print(Text(f"recorded: {by} demotes {name}. {todo}"), soft_wrap=True)


def _processor(settings: Settings, name: str) -> tuple[cfg.Processor, int]:
    for place, one in enumerate(settings.processors):
        if one.name == name:
            return one, place
    known = ", ".join(one.name for one in settings.processors) or "none"
    raise fail(f"no processor {name!r} in node.yaml; there are {known}")


def _named(by: str, reason: str) -> None:
    for option, said in (("--by", by), ("--reason", reason)):
        if not any(letter.isalpha() for letter in said):
            raise typer.BadParameter(f"{option} must say it in words")


def _evidence(
    storage: Storage,
    name: str,
    reference: Path | None,
    period: tuple[datetime | None, datetime | None],
) -> Evidence:
    from dicom_node.shadow.gather import gather
    from dicom_node.shadow.reference import ReferenceFault, read

    since, until = (day.replace(tzinfo=UTC) if day else None for day in period)
    try:
        readings = read(reference) if reference else ()
    except ReferenceFault as error:
        raise fail(str(error)) from error
    return gather(storage, name, readings, since=since, until=until)


def _algorithm(processor: cfg.Processor) -> Algorithm:
    from processors import kinds

    return kinds.algorithm(processor.kind, processor.bundle)


def _todo(config: Path, place: int, mode: str, wanted: str) -> str:
    """Which line of node.yaml to change; the file stays the administrator's."""
    if mode == wanted:
        return f"{config} says mode: {wanted} already."
    read = document.read(config.read_text(encoding="utf-8-sig"))
    there = ("processors", place, "mode")
    line = read.at(there, key=True).line
    what = f"set mode: {wanted}" if there in read.keys else f"below it, add mode: {wanted}"
    return f"Now in {config}, line {line}, {what}; then reload (HUP). Older runs stay as they are."


def _tell(evidence: Evidence, language: str) -> None:
    from dicom_node.shadow.telling import sections

    for one in sections(evidence, language):
        out.print(Text(f"\n{one.title}", style="bold"))
        for note in one.notes:
            out.print(Text(visible(note)), soft_wrap=True)
        rows: list[Mapping[str, Any]] = [
            dict(zip(one.header, row, strict=True)) for row in one.rows
        ]
        if rows:
            print_rows(rows, as_json=False, title="")
