"""models study: experiments that say what the method is worth, one command each.

Each prints figures with their 95 % intervals, `--json` for scripts. Needs the extra `train`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.cli.common import JsonOption, out
from dicom_node.cli.models_options import (
    BundleArgument,
    ImagesOption,
    TablesOption,
    ThreadsOption,
    file_option,
    flat,
    only_pair,
    pairs,
    refused,
)

app = typer.Typer(help="Experiments on the method, with intervals.", no_args_is_help=True)

PlanOption = Annotated[str, typer.Option(help="A shipped plan's name or a JSON file.")]
KeptOption = Annotated[Path, typer.Option("--work", help="Folder where networks are kept.")]
CausesOption = Annotated[
    list[Path], typer.Option("--table", exists=True, help="CSV of films, bacterial or viral; one.")
]
FilmsOption = Annotated[
    list[Path], typer.Option("--images", exists=True, help="Tar or folder of the films; one.")
]
StartOption = Annotated[
    Path | None, typer.Option(exists=True, help="Weights of `models pretrain`.")
]
SplitOption = Annotated[str, typer.Option(help="Which rows are judged.")]
SeedsOption = Annotated[list[int], typer.Option("--seed", help="Repeat for several runs.")]


def _shown(study: Callable[[], dict[str, Any]], as_json: bool) -> None:
    with refused("a study"):
        found = study()
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(flat(found)))


@app.command()
def joint(
    plan: PlanOption,
    table: TablesOption,
    images: ImagesOption,
    work: KeptOption,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 1200,
    seed: SeedsOption = [0, 1],  # noqa: B006 - typer reads the default, nothing writes it
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What the autoencoder costs the classifier: the same encoder with it and without."""

    def study() -> dict[str, Any]:
        from processors.training.studies.learning_command import Wanted, study_joint

        return study_joint(Wanted(plan, pairs(table, images), work, steps, seed, threads))

    _shown(study, as_json)


@app.command()
def sweep(
    plan: PlanOption,
    table: TablesOption,
    images: ImagesOption,
    work: KeptOption,
    picture: Annotated[Path | None, file_option("--picture", what="PNG of the plot.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 800,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What beta trades: reconstruction, information, AUC, independence of channels."""

    def study() -> dict[str, Any]:
        from processors.training.studies.learning_command import Wanted, study_sweep

        wanted = Wanted(plan, pairs(table, images), work, steps, threads=threads)
        return study_sweep(wanted, picture)

    _shown(study, as_json)
    if picture and not as_json:
        out.print(f"wrote {picture}")


@app.command()
def transfer(
    plan: PlanOption,
    table: TablesOption,
    images: ImagesOption,
    work: KeptOption,
    start: Annotated[Path, typer.Option(exists=True, help="Weights of `models pretrain`.")],
    steps: Annotated[
        int, typer.Option(min=4, help="Steps with all labels; fewer need less.")
    ] = 800,
    seed: SeedsOption = [0, 1, 2],  # noqa: B006 - typer reads the default, nothing writes it
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What pre-training buys at 1, 10 and 100 % of the labels."""

    def study() -> dict[str, Any]:
        from processors.training.studies.learning_command import Wanted, study_transfer

        wanted = Wanted(plan, pairs(table, images), work, steps, seed, threads)
        return study_transfer(wanted, start)

    _shown(study, as_json)


@app.command()
def folds(
    plan: PlanOption,
    table: TablesOption,
    images: ImagesOption,
    work: KeptOption,
    start: StartOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 1200,
    size: Annotated[int, typer.Option(min=32, help="Side of the network's input, pixels.")] = 96,
    split: Annotated[list[str], typer.Option(help="Rows that take part; repeat.")] = [  # noqa: B006
        "train",
        "val",
    ],
    seed: Annotated[int, typer.Option(help="Repeats a run.")] = 0,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What a recipe is worth on a small set: five folds by patient, each image judged once."""

    def study() -> dict[str, Any]:
        from processors.training.studies.learning_command import Wanted, study_folds

        wanted = Wanted(plan, pairs(table, images), work, steps, [seed], threads, size)
        return study_folds(wanted, start, split)

    _shown(study, as_json)


@app.command()
def erased(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: SplitOption = "val",
    most: Annotated[int, typer.Option(min=1, help="Images of each answer.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """What the decoder knows of a hidden quarter, beside Telea, and the AUC lost by it."""

    def study() -> dict[str, Any]:
        from processors.training.studies.command import study_erased

        return study_erased(bundle, pairs(table, images), split, most)

    _shown(study, as_json)


@app.command()
def methods(
    bundle: BundleArgument,
    table: TablesOption,
    images: ImagesOption,
    split: SplitOption = "val",
    most: Annotated[int, typer.Option(min=1, help="Positives of each answer.")] = 60,
    witness_steps: Annotated[
        int, typer.Option(min=0, help="Training steps of an independent network; 0: none.")
    ] = 0,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Ways of making less of a finding, scored alike on the same positives."""

    def study() -> dict[str, Any]:
        from processors.training.command import use_threads
        from processors.training.studies.command import study_methods

        use_threads(threads)
        return study_methods(bundle, pairs(table, images), split, most, witness_steps)

    _shown(study, as_json)


@app.command()
def markers(
    table: CausesOption,
    images: FilmsOption,
    work: KeptOption,
    start: StartOption = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="tag, spot or obstruction; repeat; default: all.")
    ] = None,
    share: Annotated[
        list[float], typer.Option(help="Of films on which the marker agrees; repeat.")
    ] = [1.0, 0.8],  # noqa: B006
    task: Annotated[str, typer.Option(help="cause, or lot: answers drawn by lot.")] = "cause",
    method: Annotated[
        list[str] | None, typer.Option(help="Another method of explanation beside ours; repeat.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of a model.")] = None,
    seed: SeedsOption = [0, 1, 2],  # noqa: B006 - typer reads the default, nothing writes it
    split: SplitOption = "val",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Does the explanation find a cause that was planted, and leave alone one that is none?"""
    source = only_pair(table, images)

    def study() -> dict[str, Any]:
        from processors.training.command import use_threads
        from processors.training.studies.command import study_markers

        use_threads(threads)
        wanted = {"seeds": seed, "kinds": kind, "shares": share, "task": task, "steps": steps}
        wanted |= {"split": split, "others": method}
        return study_markers(*source, work, start, wanted)

    _shown(study, as_json)


@app.command()
def audits(
    table: CausesOption,
    images: FilmsOption,
    work: KeptOption,
    start: StartOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of a model.")] = None,
    split: SplitOption = "val",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """How often `models audit-bias` finds a planted cause, and accuses a clean model (long)."""
    source = only_pair(table, images)

    def study() -> dict[str, Any]:
        from processors.training.command import use_threads
        from processors.training.pretrain import NOTHING, read_start
        from processors.training.studies import audits

        use_threads(threads)
        begun = read_start(start) if start else NOTHING
        return audits.study(audits.Setting(*source, work, begun, steps, split))

    _shown(study, as_json)
