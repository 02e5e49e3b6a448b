"""studies, runs and deliveries: list, show, retry, close."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

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
    print_one,
    print_rows,
)
from storage import (
    Commitment,
    CommitmentState,
    Delivery,
    DeliveryState,
    Run,
    RunState,
    StudyRecord,
    StudyState,
)

studies = typer.Typer(help="What was received.", no_args_is_help=True)
runs = typer.Typer(help="What was judged.", no_args_is_help=True)
deliveries = typer.Typer(help="What was sent.", no_args_is_help=True)
StudyOption = Annotated[str | None, typer.Option("--study", help="Only of this study.")]


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(studies, name="studies")
    root.add_typer(runs, name="runs")
    root.add_typer(deliveries, name="deliveries")


@studies.command("list")
def list_studies(
    state: Annotated[StudyState | None, typer.Option(help="Only in this state.")] = None,
    limit: LimitOption = 100,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the studies received."""
    with memory(config) as (_, storage):
        found = storage.studies.list(state=state, limit=limit)
        print_rows([_study_row(study) for study in found], as_json, title="Studies")


@studies.command("show")
def show_study(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one study, its instances and its runs."""
    with memory(config) as (_, storage):
        record = storage.studies.get(study)
        if record is None:
            raise fail(f"no study {study}")
        rows = [
            {
                "sop_uid": i.sop_uid,
                "patient_id": i.headers.get("PatientID"),
                "modality": i.headers.get("Modality"),
                "bytes": i.size,
                "from": i.calling_ae,
                "at": i.received_at,
            }
            for i in storage.studies.instances(study)
        ]
        judged = [_run_row(run) for run in storage.runs.list(study_uid=study)]
        shown = {**_study_row(record), "trace": record.trace}
        print_one({**shown, "instances": rows, "runs": judged} if as_json else shown, as_json)
        if not as_json:
            print_rows(rows, as_json, title="Instances")
            print_rows(judged, as_json, title="Runs")


@studies.command("retry")
def retry_study(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    without: Annotated[
        list[str] | None,
        typer.Option(help="SOP Instance UID that does not belong to it; repeat for several."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Release a held study: you have looked at it, and it may be judged."""
    with memory(config) as (_, storage):
        for sop_uid in without or ():
            if not storage.studies.exclude(study, sop_uid, person()):
                raise fail(f"{sop_uid} is no instance of a held study {study}")
        if not storage.studies.release(study, person()):
            record = storage.studies.get(study)
            held = record is not None and record.state is StudyState.HELD
            raise fail(record.reason if record and held else f"study {study} is not held")
        out.print("released; it settles anew")


@runs.command("list")
def list_runs(
    state: Annotated[RunState | None, typer.Option(help="Only in this state.")] = None,
    study: StudyOption = None,
    limit: LimitOption = 100,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the runs."""
    with memory(config) as (_, storage):
        found = storage.runs.list(study_uid=study, state=state, limit=limit)
        print_rows([_run_row(run) for run in found], as_json, title="Runs")


@runs.command("show")
def show_run(
    run: NumberArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one run with its analysis and its reports."""
    with memory(config) as (_, storage):
        record = storage.runs.get(run)
        if record is None:
            raise fail(f"no run {run}")
        reports = [
            {"kind": r.kind, "uid": r.uid, "bytes": r.size} for r in storage.runs.reports(run)
        ]
        print_one(
            {**_run_row(record), "reports": reports, "analysis": storage.runs.analysis(run)},
            as_json,
        )


@runs.command("retry")
def retry_run(
    run: NumberArgument,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Run a failed or set-aside run again."""
    with memory(config) as (settings, storage):
        record = storage.runs.get(run)
        if record is not None and record.processor not in settings.runs_of:
            raise fail(
                f"node.yaml has no processor {record.processor}: put it back and reload first"
            )
        if not storage.runs.retry(run, person()):
            raise fail(f"run {run} is neither failed nor set aside")
        out.print("ready again")


@deliveries.command("list")
def list_deliveries(
    state: Annotated[DeliveryState | None, typer.Option(help="Only in this state.")] = None,
    destination: Annotated[str | None, typer.Option(help="Only to this destination.")] = None,
    study: StudyOption = None,
    commitment: Annotated[
        CommitmentState | None, typer.Option(help="Only where the peer's commitment is so.")
    ] = None,
    limit: LimitOption = 100,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the deliveries."""
    with memory(config) as (_, storage):
        found = storage.outbox.list(
            study_uid=study,
            destination=destination,
            state=state,
            commitment=commitment,
            limit=limit,
        )
        kept = storage.commitments.of([item.id for item in found])
        rows = [_delivery_row(item, kept.get(item.id)) for item in found]
        print_rows(rows, as_json, title="Deliveries")


@deliveries.command("show")
def show_delivery(
    delivery: NumberArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one delivery with the peer's last answer."""
    with memory(config) as (_, storage):
        record = storage.outbox.get(delivery)
        if record is None:
            raise fail(f"no delivery {delivery}")
        kept = storage.commitments.of([delivery]).get(delivery)
        print_one({**_delivery_row(record, kept), "report": asdict(record.report)}, as_json)


@deliveries.command("retry")
def retry_delivery(
    delivery: NumberArgument,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Send a held, rejected, given-up or not committed report again, under the same UID."""
    with memory(config) as (settings, storage):
        record = storage.outbox.get(delivery)
        if record is not None and record.destination not in settings.destinations:
            where = f"node.yaml has no destination {record.destination}"
            raise fail(f"{where}: put it back and reload first")
        if not storage.outbox.retry(delivery, person()):
            raise fail(f"delivery {delivery} is not held, rejected, given up or uncommitted")
        out.print("waiting to be sent")


@deliveries.command("close")
def close_delivery(
    delivery: NumberArgument,
    why: WhyOption,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give up a waiting or held report: nobody will take it. Its study can then be purged."""
    with memory(config) as (_, storage):
        if not storage.outbox.close(delivery, person(), why):
            raise fail(f"delivery {delivery} is neither waiting nor held")
        out.print("given up")


def _study_row(study: StudyRecord) -> dict[str, Any]:
    return {
        "study": study.uid,
        "state": study.state.value,
        "instances": study.instances,
        "first_received": study.first_received,
        "last_received": study.last_received,
        "reason": study.reason,
    }


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "study": run.study_uid,
        "processor": run.processor,
        "mode": run.mode,
        "state": run.state.value,
        "attempt": run.attempt,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
        "predecessor": run.predecessor,
        "reason": run.reason,
    }


def _delivery_row(item: Delivery, kept: Commitment | None) -> dict[str, Any]:
    """kept: whether the peer committed to it; None: it need not."""
    return {
        "delivery": item.id,
        "study": item.study_uid,
        "kind": item.report.kind,
        "destination": item.destination,
        "state": item.state.value,
        "attempts": item.attempts,
        "next_try": item.next_try,
        "answer": item.answer,
        "commitment": kept.state.value if kept else "",
        "commitment_answer": kept.answer if kept else "",
    }
