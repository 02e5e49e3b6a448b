"""impressions train, convert: language models of the site's own."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.common import err, fail, out, refusals


class Way(StrEnum):
    SCRATCH = "scratch"
    FULL = "full"
    LORA = "lora"


def train(
    pairs: Annotated[
        Path,
        typer.Option(exists=True, help="CSV, JSON lines, or a folder of HL7 ORU^R01 messages."),
    ],
    folder: Annotated[Path, typer.Option("--out", help="The model's folder; must not exist.")],
    start: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A local FLAN-T5 or chat model."),
    ] = None,
    way: Annotated[
        Way | None, typer.Option(help="Default: full with --start, scratch without.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Times that every report is seen.")] = 3,
    validation: Annotated[float, typer.Option(help="Share of the reports that choose.")] = 0.05,
    template: Annotated[
        str, typer.Option(help="The question, with {findings}, {indication}, {language}.")
    ] = "",
    beams: Annotated[int, typer.Option(help="Beams of the search when it drafts.")] = 4,
    outputs: Annotated[int, typer.Option(help="Impressions that it offers a report.")] = 1,
    longest_input: Annotated[int, typer.Option(help="Tokens of a question.")] = 512,
    longest_output: Annotated[int, typer.Option(help="Tokens of an impression.")] = 128,
    batch: Annotated[int, typer.Option(help="Reports a step and process.")] = 8,
    pieces: Annotated[int, typer.Option(help="Parts in which a batch is computed.")] = 1,
    rate: Annotated[float, typer.Option(help="Learning rate; 0: the way's usual one.")] = 0,
    every: Annotated[
        int, typer.Option(help="Steps between validations and checkpoints; 0: once an epoch.")
    ] = 0,
    patience: Annotated[
        int, typer.Option(help="Validations without better ROUGE before it stops.")
    ] = 3,
    judged: Annotated[int, typer.Option(help="Validation reports that it drafts for.")] = 500,
    shape: Annotated[str, typer.Option(help="Of a new network: tiny, mini, small ... xl.")] = (
        "small"
    ),
    vocabulary: Annotated[int, typer.Option(help="Tokens of a new network.")] = 8000,
    rank: Annotated[int, typer.Option(help="Of the adapters (lora).")] = 16,
    language: Annotated[str, typer.Option(help="en or es: of rows that name none.")] = "en",
    work: Annotated[
        Path | None, typer.Option(help="Checkpoints and log (default: OUT.work).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the order, a new network.")] = 0,
    cpu: Annotated[bool, typer.Option(help="Leave a GPU alone.")] = False,
) -> None:
    """Teach a model to write impressions: anew, wholly or by LoRA; goes on where it stopped."""
    with refusals():
        try:
            from processors.impressions import corpus
            from processors.impressions.prompts import Asking
            from processors.training.impressions.language_options import Teaching
            from processors.training.impressions.language_training import Places, teach
        except ImportError as error:
            raise fail(f"This needs the extra `train` ({error}).") from error
        chosen = way or (Way.FULL if start else Way.SCRATCH)
        asking = Asking(template, beams, outputs, longest_input, longest_output)
        teaching = Teaching(
            chosen.value, epochs, validation, batch, pieces, rate, every, patience, judged, seed,
            shape, vocabulary, rank, asking,
        )  # fmt: skip
        reading = corpus.read(pairs, language)
        for bad in reading.bad:
            err.print(str(bad), style="yellow", highlight=False)
        places = Places(folder, work or folder.with_name(folder.name + ".work"), start)
        made = teach(
            reading.pairs,
            teaching,
            places,
            cpu=cpu,
            progress=sys.stderr.isatty(),
            tell=lambda what: err.print(what, highlight=False),
        )
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        out.print(f"{made}: measure it with dictamen impressions evaluate --model {made}")


def convert(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Its folder.")],
    folder: Annotated[Path, typer.Option("--out", help="The new folder; must not exist.")],
) -> None:
    """Convert a sequence-to-sequence model to 8-bit integers for a CPU (CTranslate2)."""
    from processors.impressions import ctranslate

    with refusals():
        made = ctranslate.convert(model, folder)
    out.print(f"{made}: smaller, and without torch; measure it before you use it")
