"""models: list, check, pretrain, train, evaluate, card, gate, probe, audit-bias, sheet,
shap-summary, export, time; study.

`evaluate` is a contract for scripts: the same columns in, the same columns and JSON out. Training
and evaluation need the extra `train`; torch is loaded by these commands alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dicom_node.cli import models_check, studies
from dicom_node.cli.common import JsonOption, fail, out
from dicom_node.cli.models_options import (
    BoardOption,
    BundleArgument,
    Device,
    ImagesOption,
    SeedOption,
    StepsOption,
    TablesOption,
    ThreadsOption,
    Width,
    WorkOption,
    figure,
    file_option,
    flat,
    pairs,
    refused,
    told,
)
from processors import ProcessorError

app = typer.Typer(help="The models of this node: see, train, measure.", no_args_is_help=True)


def add_to(root: typer.Typer) -> None:
    """Register the commands of this module."""
    root.add_typer(app, name="models")


app.add_typer(studies.app, name="study")
app.command()(models_check.check)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Shipped models: version, for whom, and how well."""
    from processors.catalogue import shipped

    entries = shipped()
    if as_json:
        typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    table = Table("model", "version", "answer", "AUC [95 %]", "state", "weights sha256")
    for entry in entries:
        for row in entry["answers"]:
            state = "red" if row["red"] else "ok"
            digest = entry["sha256"][:12]
            table.add_row(entry["name"], entry["version"], row["name"], row["auc"], state, digest)
    out.print(table)


@app.command()
def train(
    target: Annotated[Path, typer.Option("--out", help="Folder of the new bundle.")],
    table: TablesOption,
    images: ImagesOption,
    plan: Annotated[str, typer.Option(help="A shipped plan's name or a JSON file.")] = "chest",
    work: WorkOption = None,
    start: Annotated[
        Path | None, typer.Option(exists=True, help="Weights of `models pretrain` to begin with.")
    ] = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    patience: Annotated[
        int, typer.Option(min=0, help="Checkpoints without gain before it stops; 0: never.")
    ] = 0,
    threads: ThreadsOption = 1,
    board: BoardOption = None,
) -> None:
    """Train a bundle from labelled images; continues where it was stopped."""
    both = pairs(table, images)
    with refused("training"):
        from processors.training.command import Wanted, train_bundle

        wanted = Wanted(plan, steps, seed, threads, start, patience, board)
        place = work or target.with_name(target.name + ".work")  # chest-1.3 and chest-1.4 are two
        written = train_bundle(both, target, place, wanted)
    out.print(f"wrote {written}; measure it with `dictamen models evaluate {written}`")


@app.command()
def pretrain(
    target: Annotated[Path, file_option("--out", what="The weights: a .safetensors file.")],
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", exists=True, help="CSV of images; repeat for several sets."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", exists=True, help="Tar or folder, one per --table."),
    ] = None,
    layout: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="A MedMNIST .npz or a MedIMeta folder; repeat for more."),
    ] = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(help="A set whose labels are not used, by its file's name without ending."),
    ] = None,
    size: Annotated[
        int, typer.Option(min=32, help="Side of the network's input in pixels, a multiple of 8.")
    ] = 128,
    channels: Annotated[int, typer.Option(min=1, help="Numbers per latent cell.")] = 16,
    width: Annotated[Width, typer.Option(help="Of the encoder.")] = Width.S,
    work: WorkOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = 1,
    board: BoardOption = None,
) -> None:
    """Teach one network all image sets together; `models train --start` goes on from it."""
    both = pairs(table or [], images or [])
    if not both and not layout:
        raise typer.BadParameter("give at least one --table or one --layout")
    if size % 8:
        raise typer.BadParameter(f"--size {size} is no multiple of 8")
    with refused("pre-training"):
        from processors.training.command import Ground, Wanted, pretrain_network

        ground = Ground(both, layout or (), unlabelled or (), size, channels, width.value)
        wanted = Wanted(steps=steps, seed=seed, threads=threads, board=board)
        place = work or target.with_suffix(".work")
        written = pretrain_network(ground, target, place, wanted)
    out.print(f"wrote {written}; go on with `dictamen models train --start {written}`")


@app.command()
def evaluate(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: Annotated[
        str | None,
        typer.Option(
            help="Which rows are judged; default: all but `train`, all if there are no others."
        ),
    ] = None,
    train_table: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Its `train` teaches the trivial bar; default: --table."),
    ] = None,
    train_images: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Tar or folder of those films, one per --train-table."),
    ] = None,
    scores: Annotated[
        Path | None,
        file_option(
            "--scores",
            what="CSV, a line for each row judged: path, probability per label, gate "
            "(`accepted`, or why the picture is refused).",
        ),
    ] = None,
    json_file: Annotated[Path | None, file_option("--json", what="The evaluation.")] = None,
    write_card: Annotated[bool, typer.Option(help="Write metadata and docs/README.md.")] = False,
    strips: Annotated[int, typer.Option(help="Explanations to test per answer.")] = 0,
    witness_steps: Annotated[
        int, typer.Option(min=0, help="Training of a network that judges the strips; 0: none.")
    ] = 1200,
    variants: Annotated[int | None, typer.Option(help="Variants tried, for the card.")] = None,
) -> None:
    """AUC with its 95 % interval beside the trivial bar, per answer; --scores image by image.

    The table is a CSV with `path`, and `labels` for figures; `split`, `patient`, `age`, `sex` and
    `view` are used where they stand, other columns are not. A picture that cannot be read is
    counted, has no probability, and is in no figure.
    """
    known = pairs(train_table or table, train_images or images)
    judged = pairs(table, images)
    with told("evaluation") as tell:
        from processors.training.appraise import Asked, evaluate_bundle

        asked = Asked(judged, known, split, scores, strips, witness_steps, variants, write_card)
        found = evaluate_bundle(bundle, asked, tell)
        if json_file:
            json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _print(found)


@app.command()
def card(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """What a bundle is for, whom it was taught on, and how well it was measured to do."""
    from processors.runtime import read_verified

    try:
        _, files = read_verified(bundle)
    except ProcessorError as error:
        raise fail(str(error)) from error
    if as_json:
        try:
            held = json.loads(files["configs/metadata.json"])["dictamen"]
        except (ValueError, KeyError, TypeError) as error:
            said = (
                "has no card that a program can read, a block `dictamen` of configs/metadata.json"
            )
            raise fail(f"{bundle} {said}") from error
        typer.echo(json.dumps(held, indent=2, ensure_ascii=False))
    elif "docs/README.md" in files:
        typer.echo(files["docs/README.md"].decode())
    else:
        raise fail(f"{bundle} was not measured yet: `dictamen models evaluate ... --write-card`")


@app.command("gate")
def gate_(
    bundle: BundleArgument,
    images: Annotated[
        Path, typer.Option("--images", exists=True, help="Folder of the sets: NAME.csv, NAME.tar.")
    ],
    folds: Annotated[
        int, typer.Option(min=0, help="Of lateral films, each trained anew (long); 0: none.")
    ] = 5,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of a fold.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What a bundle's gate refuses of each class, at what cost, and what misses its floor."""
    with told("measuring a gate"):
        from processors.training.gate_recall import gate_recall, lines

        found = gate_recall(bundle, images, folds, steps or 0)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


@app.command()
def probe(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: Annotated[str, typer.Option(help="Which rows are asked.")] = "val",
    most: Annotated[int, typer.Option(min=1, help="Explanations to test per answer.")] = 60,
    witness_steps: Annotated[
        int, typer.Option(min=1, help="Training steps of the independent network.")
    ] = 1200,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """What a model's pictures and explanations are worth: does a strip convince anyone else?"""
    both = pairs(table, images)
    with told("probing") as tell:
        from processors.training.appraise import probe_bundle
        from processors.training.command import use_threads

        use_threads(threads)
        found = probe_bundle(bundle, both, both, split, most, witness_steps, tell)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in flat(found):
        typer.echo(line)


@app.command("audit-bias")
def audit_bias_(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: Annotated[str, typer.Option(help="Which rows are judged.")] = "val",
    target: Annotated[
        Path | None, typer.Option("--out", help="Folder of audit.html and audit.json.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the page: en or es.")] = "en",
    write_card: Annotated[bool, typer.Option(help="Write what was found into the card.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Does it read the finding, or a mark, the source, the view? For whom does it work worse?"""
    both = pairs(table, images)
    with told("an audit") as tell:
        from processors.training.audit.command import Asked, audit_bias

        found = audit_bias(bundle, Asked(both, split, target, language, write_card), tell)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, one in found["answers"].items():
        said = "BIASED" if one["biased"] else "no bias found"
        typer.echo(f"{name} ({one['positive']}/{one['films']}): {said}")
        for line in (*one["reasons"], *(f"noted: {line}" for line in one["noted"])):
            typer.echo(f"  {line}")
    if target:
        typer.echo(f"wrote {target / 'audit.html'}")


@app.command()
def sheet(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    target: Annotated[Path, file_option("--out", what="The picture, a PNG.")],
    split: Annotated[str, typer.Option(help="Which rows are drawn.")] = "val",
    count: Annotated[int, typer.Option(min=1, help="Images of each answer.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """One picture for the eye: outlines, strips and what the node withholds, image by image."""
    both = pairs(table, images)
    with told("a sheet") as tell:
        from processors.training.studies.command import write_sheet
        from reports.lettering import font

        rows = write_sheet(bundle, both, split, count, target, font, tell)
    if as_json:
        typer.echo(json.dumps({"file": str(target), "images": rows}))
    else:
        out.print(f"wrote {target}: {rows} images")


@app.command("shap-summary")
def shap_summary(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    target: Annotated[Path, file_option("--out", what="The page, one HTML file.")],
    split: Annotated[str, typer.Option(help="Rows that are averaged.")] = "val",
    most: Annotated[int, typer.Option(min=5, help="Images of each answer, seconds each.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """What a model uses on the whole: mean SHAP maps of each answer, against named averages."""
    both = pairs(table, images)
    with told("a summary"):
        from processors.training.studies.command import write_shap_summary

        found = write_shap_summary(bundle, both, split, most, target)
    if as_json:
        typer.echo(json.dumps({"file": str(target), "images": dict(found)}))
        return
    counts = ", ".join(f"{name} {count} images" for name, count in found.items())
    out.print(f"wrote {target}: {counts or 'no answer with enough patients'}")


@app.command("export")
def export_(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    target: Annotated[Path, typer.Option("--out", help="Folder of the copy; must not exist.")],
    int8: Annotated[
        bool, typer.Option("--int8/--fp32", help="8-bit integers, or anew from the weights.")
    ] = True,
    split: Annotated[
        str, typer.Option(help="Rows that are compared on; `train` teaches ranges.")
    ] = "val",
    most: Annotated[int, typer.Option(min=30, help="Images compared on.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle again, in 8-bit integers; refused when its answers change too much."""
    both = pairs(table, images)
    with told("exporting"):
        from processors.training.export_command import export_from_tables

        found = export_from_tables(bundle, target, both, int8, split, most)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(flat(found)))


@app.command("time")
def time_(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    int8: Annotated[
        Path | None, typer.Option(exists=True, help="Its copy by `models export`.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Measurements of each part.")] = 60,
    split: Annotated[str, typer.Option(help="Rows whose findings are explained.")] = "val",
    core: Annotated[
        int | None, typer.Option(min=0, help="Processor core; default: the first.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method of explanation, as in `explain:`; repeat for more."),
    ] = None,
    device: Annotated[Device, typer.Option(help="One core of the CPU, or a GPU.")] = Device.CPU,
    as_json: JsonOption = False,
) -> None:
    """Milliseconds of answer, decoder, explanation on one core or a GPU; images/s by batch."""
    both = pairs(table, images)
    with refused("timing"):  # without a spinner, whose thread would be timed as well
        from processors.training.timing import time_bundle

        found = time_bundle(bundle, both, int8, rounds, split, core, method or (), device.value)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(flat(found)))


def _beside(e: dict[str, Any]) -> str:
    if "trivial" not in e:
        return "no trivial bar, since no rows of `train` have both answers"
    return (
        f"trivial statistics {figure(e['trivial'])}; gain {figure(e['gain'])}; on equalised input "
        f"{figure(e['trivial_equalised'])}; gain {figure(e['gain_equalised'])}"
    )


def _print(found: dict[str, Any]) -> None:
    """One line per task and subgroup: plain text, so that a pipe keeps it whole."""
    if "train" in found["split"].split(", "):
        typer.echo("rows of `train` are judged: what a model learnt from says too much of it")
    if found["taught"]:
        typer.echo(
            f"{found['taught']} of {found['images']} images stand in `train` as well, under "
            "another name or in another table: the figures say too much"
        )
    if found["nameless"]:
        typer.echo(
            f"of {found['nameless']} of {found['images']} images the tables name no patient: each "
            "counts as one, and intervals are too narrow where images share a patient"
        )
    if not found["answers"]:
        typer.echo(
            "no figures: no question of the bundle has two answers among the labels of these rows "
            "(its labels: `dictamen models card BUNDLE --json`)"
        )
    for name, e in found["answers"].items():
        if "positive" not in e:
            typer.echo(f"{name} ({e['n']}): mean AUC {figure(e['auc'])}")
            continue
        ece = f"; ECE {e['ece']:.3f}" if "ece" in e else ""
        typer.echo(f"{name} ({e['positive']}/{e['n']}): AUC {figure(e['auc'])}; {_beside(e)}{ece}")
        for group, one in e["subgroups"].items():
            count = f"{one['positive']}/{one['n']}"
            typer.echo(f"  {name}, {group} ({count}): AUC {figure(one)}")
    for label, e in found["other_labels_called_present"].items():
        typer.echo(f"called present among {e['n']} labelled {label}: {figure(e)}")
    typer.echo(f"refused by the gate: {found['refused_by_gate']} (they are in every figure above)")
    if found["unreadable"]:
        typer.echo(f"cannot be read: {found['unreadable']} (they are in no figure above)")
    for name, e in found["explanations"].items():
        typer.echo(
            f"{name}: {e['shown']:.0%} of {e['n']} strips pass every check; cells exchanged, "
            f"median {e['cells']:.0%}; {e['ms']:.0f} ms"
        )
