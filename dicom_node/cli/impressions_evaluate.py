"""impressions evaluate: what drafts are worth, beside what costs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from dicom_node import product
from dicom_node.cli.common import JsonOption, err, fail, out, refusals

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
                systems = _systems(one, predictions or ())
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
        record = _record(measured, held)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            made_by = f"{product.NAME} {product.VERSION}"
            page = shown.page(measured, held, page_language, made_by)
            (folder / PAGE).write_text(page, encoding="utf-8")
            (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if as_json:
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        _print(measured, held)
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


def _systems(cases: CaseSet, predictions: Sequence[str]) -> list[System]:
    from processors.training.impressions import systems

    files = [_named(text) for text in predictions]
    return [systems.from_file(path, cases.cases, name) for name, path in files]


def _teller(data: str) -> Any:
    return lambda what: err.print(f"{data}: {what}", style="dim", highlight=False)


def _record(measured: Sequence[Measured], held: Sequence[tuple[str, Held]]) -> dict[str, Any]:
    return {
        "data": [one.record for one in measured],
        "floors": [
            {
                "data": data,
                "system": each.system,
                "group": each.group,
                "figure": each.figure,
                "judge": each.judge,
                "value": each.value,
                "limit": f"{each.sign} {each.limit:g}",
                "passed": each.passed,
            }
            for data, each in held
        ],
    }


def _print(measured: Sequence[Measured], held: Sequence[tuple[str, Held]]) -> None:
    for one in measured:
        for name, group in one.record["groups"].items():
            title = f"{one.record['data']}, {name}: {group['n']} reports"
            out.print(_words(group, title), _findings(one, group))
            tops = ", ".join(f"{j}: {c['nowhere']:.1%}" for j, c in group["ceiling"].items())
            out.print(f"Of the references' findings stand nowhere in the findings: {tops}\n")
    for data, each in held:
        value = "not measured" if each.value is None else f"{each.value:.3f}"
        state = "ok" if each.passed else "RED"
        judge = f" by {each.judge}" if each.judge else ""
        out.print(
            f"{data}: {each.system}, {each.group}, {each.figure}{judge}: {value}, "
            f"floor {each.sign} {each.limit:g}: {state}"
        )


def _words(group: dict[str, Any], title: str) -> Table:
    table = Table("system", "ROUGE-1 [95 %]", "2", "L", "Lsum", title=title, title_justify="left")
    for system, told in group["systems"].items():
        first = told["rouge1"]
        table.add_row(
            system,
            f"{first['mean']:.3f} [{first['low']:.3f}, {first['high']:.3f}]",
            *(f"{told[kind]['mean']:.3f}" for kind in ("rouge2", "rougeL", "rougeLsum")),
        )
    return table


def _findings(one: Measured, group: dict[str, Any]) -> Table:
    judges = one.record["judges"]
    heads = [f"{name} (own)" if about["own"] else name for name, about in judges.items()]
    caption = "F1 / false normals / not in the findings, by judge; certain critical ones left out"
    table = Table("system", *heads, "critical", caption=caption, caption_justify="left")
    for system, told in group["systems"].items():
        found = [told["findings"][judge] for judge in judges]
        table.add_row(
            system,
            *(f"{f['f1']:.2f} / {f['false_normal']:.2f} / {f['unsupported']:.2f}" for f in found),
            f"{told['critical']['left_out']:.3f}",
        )
    return table
