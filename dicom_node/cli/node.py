"""init, serve, check, echo, analyse, demo."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from config import Settings, schema, template
from config.settings import Processor
from dicom_node import logs, opening, roles, rooms, supervisor
from dicom_node.cli.common import (
    DEFAULT_CONFIG,
    ConfigArgument,
    ConfigOption,
    JsonOption,
    err,
    fail,
    out,
    refusals,
    settings_of,
    visible,
)

if TYPE_CHECKING:
    from dicom_node import checks


class Language(StrEnum):
    EN = "en"
    ES = "es"


class Only(StrEnum):
    INTAKE = "intake"
    WORKER = "worker"
    COURIER = "courier"
    INBOX = "inbox"


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (init, serve, check, echo, analyse, demo):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="Where node.yaml and its keys go.")] = Path(),
    language: Annotated[Language, typer.Option(help="Of the comments and of the reports.")] = (
        Language.EN
    ),
) -> None:
    """Write a commented node.yaml and its audit key; never over an existing one."""
    with refusals():
        try:
            written = template.write(folder, language.value)
        except FileExistsError as error:
            raise fail(f"{error.filename} exists already; nothing was written.") from error
    for path in written:
        out.print(f"wrote {path}", soft_wrap=True)
    file = written[0]
    out.print(
        f"Next: edit {file}, then: dictamen check {file}; dictamen serve {file}", soft_wrap=True
    )


def serve(
    config: ConfigArgument,
    only: Annotated[Only | None, typer.Option(help="Be this one process, alone.")] = None,
) -> None:
    """Run the node until TERM. HUP reads the settings again; KILL is always safe."""
    settings = settings_of(config)
    with refusals():
        logs.configure(
            settings.node.log, rooms.audit_key(settings), process=only.value if only else "node"
        )
        try:
            if only:
                stopping = threading.Event()
                roles.stop_on_signals(stopping)
                roles.run(roles.ROLES[list(Only).index(only)], settings, stopping)
                return
            node = supervisor.Supervisor(settings, lambda: supervisor.reread(config), opening.apart)
            raise typer.Exit(node.serve())
        except (supervisor.StartError, roles.RoleError) as error:
            raise fail(str(error)) from error


def check(
    config: Annotated[
        Path | None, typer.Argument(help="The node's settings.", readable=False)
    ] = None,
    schema_only: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of node.yaml for editors.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the settings, try every peer, say what would go wrong."""
    if schema_only:
        typer.echo(json.dumps(schema.json_schema(), indent=1))
        return
    if config is None:
        raise typer.BadParameter("name the settings file, or --schema")
    from dicom_node import checks  # here: `serve` is to open the door soon

    settings = settings_of(config)
    results = checks.run(
        settings,
        {name: peer for name, (peer, _) in rooms.destinations(settings).items()},
        bundles=_models(settings),
    )
    _show(results, as_json)
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


def echo(
    destination: Annotated[str, typer.Argument(help="A name below destinations in node.yaml.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Try one destination: C-ECHO, MLLP connect, or a write to its folder."""
    peers = rooms.destinations(settings_of(config))
    if destination not in peers:
        raise fail(f"no destination {destination!r}; there are {', '.join(peers) or 'none'}")
    why = peers[destination][0].probe()
    if why:
        raise fail(f"{destination}: {why}")
    out.print(f"{destination}: answers")


def analyse(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files or folders.", exists=True)],
    target: Annotated[Path, typer.Option("--out", help="Folder for results and reports.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Judge files without a network: reports and result.json for each study."""
    from dicom_node import offline, wiring  # the models' runtime, in this command alone

    settings = settings_of(config)
    with refusals():
        logs.configure(settings.node.log, rooms.audit_key(settings), process="analyse")
        judges = wiring.judges(settings)
        target.mkdir(parents=True, exist_ok=True)
    files = offline.files_of(paths)
    with Progress(console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task(f"{len(files)} files", total=None)
        done, rejected = offline.analyse(
            files, settings, judges, target, lambda _: progress.advance(task)
        )
    for outcome in done:
        _say(outcome.result, as_json, folder=str(outcome.folder))
    for file in rejected:
        _say({"status": "rejected", "reason": file.reason, "file": str(file.file)}, as_json)
    if not as_json:
        out.print(f"{len(done)} results in {target}, {len(rejected)} files belong to no study")
    raise typer.Exit(0 if done else 1)


def demo(
    target: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "dictamen-demo"
    ),
    language: Annotated[Language, typer.Option(help="Of the reports.")] = Language.ES,
) -> None:
    """Show the whole way on synthetic patients: trial PACS, trial RIS and node on loopback."""
    from dicom_node import demo as show  # draws patients with the model's decoder

    with refusals():
        raise typer.Exit(show.run(target, language.value))


def _say(line: Mapping[str, Any], as_json: bool, **more: str) -> None:
    names = ("study_instance_uid", "file", "processor", "status", "reason")
    kept = {name: line[name] for name in names if name in line} | more
    if as_json:
        typer.echo(json.dumps(kept, ensure_ascii=False))
    else:
        what = kept.get("study_instance_uid") or kept.get("file")
        said = visible(f"{kept['status']:11} {what}  {kept['reason']}")
        out.print(Text(said), soft_wrap=True)


def _show(results: Sequence[checks.CheckResult], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=1))
        return
    table = Table(title="dictamen check", title_justify="left")
    for column in ("", "what", "found"):
        table.add_column(column, overflow="fold")
    for result in results:
        mark = Text("ok", style="green") if result.ok else Text("WRONG", style="bold red")
        table.add_row(mark, Text(result.name), Text(visible(result.detail)))
    out.print(table)
    wrong = sum(not result.ok for result in results)
    out.print(f"{wrong} of {len(results)} would go wrong" if wrong else "all is well")


def _models(settings: Settings) -> dict[str, checks.Verify]:
    """What opens each model of node.yaml, by its key there."""
    found = {f"processors.{p.name}": _verify(settings, p) for p in settings.processors}
    if settings.takes_texts:
        found["impressions"] = partial(_verify_drafter, settings)
    return found


def _verify_drafter(settings: Settings) -> None:
    from dicom_node import wiring  # the models' runtime

    wiring.scribe(settings)


def _verify(settings: Settings, processor: Processor) -> checks.Verify:
    def verify() -> None:
        from dicom_node import wiring  # the models' runtime

        wiring.verify(settings, processor)

    return verify
