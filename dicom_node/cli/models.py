"""models: list, train, evaluate, gate, probe.

`evaluate` is a contract for scripts: the same columns in, the same columns and JSON out. Training
and evaluation need the extra `train`; torch is loaded by these commands alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dicom_node.cli.common import JsonOption, fail, out
from processors import ProcessorError

app = typer.Typer(help="The models of this node: see, train, measure.", no_args_is_help=True)

BundleArgument = Annotated[str, typer.Argument(help="A shipped bundle's name or a folder.")]
TablesOption = Annotated[
    list[Path],
    typer.Option("--table", exists=True, help="CSV of films; repeat for several sets."),
]
ImagesOption = Annotated[
    list[Path],
    typer.Option("--images", exists=True, help="Tar or folder of the films, one per --table."),
]


def _pairs(tables: list[Path], images: list[Path]) -> list[tuple[Path, Path]]:
    if len(tables) != len(images):
        raise typer.BadParameter("give one --images for each --table")
    return list(zip(tables, images, strict=True))


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
    work: Annotated[Path | None, typer.Option(help="Folder of the checkpoint.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats a run.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train a bundle from labelled films; continues where it was stopped."""
    try:
        from processors.training.command import train_bundle
    except ImportError as error:
        raise fail(f"training needs the extra `train`: {error}") from error
    try:
        written = train_bundle(
            _pairs(table, images), target, work or target.with_suffix(".work"),
            {"plan": plan, "steps": steps, "seed": seed, "threads": threads},
        )  # fmt: skip
    except ValueError as error:
        raise fail(str(error)) from error
    out.print(f"wrote {written}; measure it with `dictamen models evaluate {written}`")


@app.command()
def evaluate(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: Annotated[str, typer.Option(help="Which rows are judged.")] = "val",
    train_table: Annotated[
        list[Path] | None, typer.Option(help="Films for the trivial bar; default: --table.")
    ] = None,
    train_images: Annotated[list[Path] | None, typer.Option()] = None,
    scores: Annotated[Path | None, typer.Option(help="CSV: path, probability per label.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="The evaluation.")] = None,
    write_card: Annotated[bool, typer.Option(help="Write metadata and docs/README.md.")] = False,
    strips: Annotated[int, typer.Option(help="Explanations to test per answer.")] = 0,
    variants: Annotated[int | None, typer.Option(help="Variants tried, for the card.")] = None,
) -> None:
    """AUC with its 95 % interval beside the trivial bar, per answer."""
    try:
        from processors.training.appraise import Asked, evaluate_bundle
    except ImportError as error:
        raise fail(f"evaluation needs the extra `train`: {error}") from error
    known = _pairs(train_table or table, train_images or images)
    asked = Asked(_pairs(table, images), known, split, scores, strips, variants, write_card)
    try:
        found = evaluate_bundle(bundle, asked)
    except (OSError, ProcessorError, ValueError, RuntimeError) as error:
        raise fail(str(error)) from error
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _print(found)


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
    try:
        from processors.training.gate_recall import gate_recall, lines
    except ImportError as error:
        raise fail(f"measuring a gate needs the extra `train`: {error}") from error
    try:
        found = gate_recall(bundle, images, folds, steps or 0)
    except (OSError, ProcessorError) as error:
        raise fail(str(error)) from error
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
    ] = 600,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """What a model's pictures and explanations are worth: does a strip convince anyone else?"""
    try:
        from processors.training.appraise import probe_bundle
        from processors.training.command import use_threads
    except ImportError as error:
        raise fail(f"probing needs the extra `train`: {error}") from error
    use_threads(threads)
    pairs = _pairs(table, images)
    try:
        found = probe_bundle(bundle, pairs, pairs, split, most, witness_steps)
    except (OSError, ProcessorError, ValueError, RuntimeError) as error:
        raise fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in _flat(found):
        typer.echo(line)


def _flat(found: dict[str, Any], above: str = "") -> Iterator[str]:
    """One line per figure, with its path."""
    for name, value in found.items():
        path = f"{above} {name}".strip()
        if isinstance(value, dict) and "value" in value:
            count = f" (n {value['n']})" if "n" in value else ""
            yield f"{path}: {_figure(value)}{count}"
        elif isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield f"{path}: {value}"


def _figure(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _print(found: dict[str, Any]) -> None:
    """One line per task and subgroup: plain text, so that a pipe keeps it whole."""
    for name, e in found["answers"].items():
        if "positive" not in e:
            typer.echo(f"{name} ({e['n']}): mean AUC {_figure(e['auc'])}")
            continue
        ece = f"; ECE {e['ece']:.3f}" if "ece" in e else ""
        typer.echo(
            f"{name} ({e['positive']}/{e['n']}): AUC {_figure(e['auc'])}; trivial statistics "
            f"{_figure(e['trivial'])}; gain {_figure(e['gain'])}; on equalised input "
            f"{_figure(e['trivial_equalised'])}; gain {_figure(e['gain_equalised'])}{ece}"
        )
        for group, figure in e["subgroups"].items():
            count = f"{figure['positive']}/{figure['n']}"
            typer.echo(f"  {name}, {group} ({count}): AUC {_figure(figure)}")
    for label, e in found["other_labels_called_present"].items():
        typer.echo(f"called present among {e['n']} labelled {label}: {_figure(e)}")
    typer.echo(f"refused by the gate: {found['refused_by_gate']} (they are in every figure above)")
    for name, e in found["explanations"].items():
        typer.echo(
            f"{name}: {e['shown']:.0%} of {e['n']} strips pass every check; cells exchanged, "
            f"median {e['cells']:.0%}; {e['ms']:.0f} ms"
        )
