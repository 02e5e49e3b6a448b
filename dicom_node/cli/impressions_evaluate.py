"""impressions evaluate: what drafts are worth, beside what costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node import product
from dicom_node.cli.common import JsonOption, err, fail, refusals
from dicom_node.cli.impressions_figures import record_of, show

if TYPE_CHECKING:
    from processors.training.impressions.cases import CaseSet
    from processors.training.impressions.evaluation import Measured
    from processors.training.impressions.floors import Held
    from processors.training.impressions.judging import Judge
    from processors.training.impressions.systems import System

PAGE, RECORD = "evaluation.html", "evaluation.json"
_MISSING = "This needs the extra `train`: pip install 'dictamen[train]' ({})."
Files = Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False)]


def evaluate(
    data: Annotated[
        list[Path],
        typer.Option(exists=True, help="CSV or JSON lines: uid, findings, impression. Repeatable."),
    ],
    predictions: Annotated[
        list[str] | None,
        typer.Option(help="Drafts, JSON lines: uid, impression; FILE or NAME=FILE. Repeatable."),
    ] = None,
    shipped: Annotated[bool, typer.Option(help="Also the shipped drafter.")] = False,
    corpus: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Also the drafter of this corpus folder."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Also a language model alone; FOLDER or NAME=FOLDER. Repeatable."),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(help="What the first --model was before training; FOLDER or NAME=FOLDER."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where models run.")] = "auto",
    judge: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="Labels of the reports: uid and columns of 0 and 1."
        ),
    ] = None,
    judge_program: Annotated[
        list[str] | None,
        typer.Option(help="A labeller: JSON lines with text in, with findings out. Repeatable."),
    ] = None,
    split: Annotated[str, typer.Option(help="The rows to draft for; '' takes all.")] = "val",
    train: Annotated[
        Path | None,
        typer.Option(exists=True, help="Reports that neighbours are taken from (default: DATA's)."),
    ] = None,
    language: Annotated[str, typer.Option(help="en or es: of rows that name none.")] = "en",
    page_language: Annotated[str, typer.Option(help="en or es: of the page.")] = "en",
    rounds: Annotated[int, typer.Option(min=100, help="Rounds of the bootstrap.")] = 2000,
    folder: Annotated[
        Path | None, typer.Option("--out", help=f"Folder for {PAGE} and {RECORD}.")
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(help="SYSTEM=FLOORS (shipped, corpus): exit 1 below a floor. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score drafts beside constant, LEAD and nearest neighbours: ROUGE, findings, intervals."""
    with refusals():
        try:
            from processors.training.impressions import cases, evaluation, floors
            from processors.training.impressions import evaluation_page as shown
            from processors.training.impressions.evaluation_words import WORDS

            if page_language not in WORDS:
                raise fail(f"The page is written in {' or '.join(WORDS)}: {page_language!r}.")
            wanted = [_floors_asked(text, floors.floors()) for text in check or ()]
            jury = _jury(judge or (), judge_program or ())
            measured = []
            for path in data:
                one = cases.load(path, split, train, language)
                systems = [
                    *_predicted(one, predictions or ()),
                    *_drafted(one, shipped, corpus),
                    *_modelled(one, model or (), before, device),
                ]
                measured.append(
                    evaluation.evaluate(one, systems, jury, rounds=rounds, tell=_teller(one.name))
                )
            held = [
                (one.record["data"], each)
                for one in measured
                for system, name in wanted
                for each in _held(one, system, name)
            ]
        except ImportError as error:
            raise fail(_MISSING.format(error)) from error
        except ValueError as error:
            raise fail(str(error)) from error
        record = record_of(measured, held)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            made_by = f"{product.NAME} {product.VERSION}"
            page = shown.page(measured, held, page_language, made_by)
            (folder / PAGE).write_text(page, encoding="utf-8")
            (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if as_json:
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        show(measured, held)
    if not all(each.passed for _, each in held):
        raise typer.Exit(1)


def _named(text: str) -> tuple[str, Path]:
    """NAME=FILE, or a file whose name is the name."""
    name, sign, rest = text.partition("=")
    path = Path(rest if sign else text)
    if not path.exists():
        raise fail(f"{path} does not exist.")
    return (name if sign else path.stem), path


def _floors_asked(text: str, known: Any) -> tuple[str, str]:
    system, _, name = text.partition("=")
    if (name or system) not in known:
        raise fail(f"There are no floors {name or system!r}; there are {', '.join(known)}.")
    return system, name or system


def _held(one: Measured, system: str, name: str) -> Sequence[Held]:
    from processors.training.impressions import floors

    if system not in one.rouge:
        raise fail(f"Floors are asked of {system!r}; measured were {', '.join(one.rouge)}.")
    return floors.hold(one.record, system, name)


def _jury(files: Sequence[Path], programs: Sequence[str]) -> list[Judge]:
    from processors.training.impressions.judge_program import by_program
    from processors.training.impressions.judging import labelled

    return [*map(labelled, files), *map(by_program, programs)]


def _predicted(cases: CaseSet, predictions: Sequence[str]) -> list[System]:
    from processors.training.impressions import systems

    files = [_named(text) for text in predictions]
    return [systems.from_file(path, cases.cases, name) for name, path in files]


def _drafted(cases: CaseSet, shipped: bool, corpus: Path | None) -> list[System]:
    from processors.impressions.drafter import open_drafter
    from processors.training.impressions.systems import from_drafter

    folders = ([("shipped", None)] if shipped else []) + ([("corpus", corpus)] if corpus else [])
    return [
        from_drafter(name, open_drafter(path), cases.cases, _counter(name, len(cases.cases)))
        for name, path in folders
    ]


def _modelled(
    cases: CaseSet, models: Sequence[str], before: str | None, device: str
) -> list[System]:
    from processors.impressions.language_model import open_language_model
    from processors.training.impressions.systems import from_model

    if device not in ("auto", "cpu", "cuda"):
        raise fail(f"--device is auto, cpu or cuda, not {device!r}.")
    named = [_named(text) for text in ([before] if before else []) + list(models)]
    if before and not models:
        raise fail("--before needs the --model that came of it.")
    return [
        from_model(
            name,
            open_language_model(path, device),  # type: ignore[arg-type]
            cases.cases,
            _counter(name, len(cases.cases)),
            before=named[0][0] if before and number == 1 else "",
        )
        for number, (name, path) in enumerate(named)
    ]


def _counter(name: str, total: int) -> Callable[[int], None]:
    """Tells of every hundredth report, and of the last."""

    def tell(done: int) -> None:
        if done % 100 == 0 or done == total:
            err.print(f"{name}: {done} of {total}", style="dim", highlight=False)

    return tell


def _teller(data: str) -> Any:
    return lambda what: err.print(f"{data}: {what}", style="dim", highlight=False)
