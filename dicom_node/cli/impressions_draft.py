"""impressions: draft, index, bundle; drafts of impressions, and what they are learnt from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from config.settings import Endpoint
from dicom_node.cli.common import err, fail, out, print_one, refusals
from dicom_node.endpoint import poster
from processors.impressions import corpus
from processors.impressions.drafter import RankedDrafter, open_drafter
from processors.impressions.drafting import Request, Source
from processors.impressions.http_writer import HttpWriter
from processors.impressions.language_model import open_language_model
from processors.impressions.lexicon import LANGUAGES

Tell = Callable[[str, int, int], None]
InOption = Annotated[
    Path, typer.Option("--in", exists=True, dir_okay=False, help="CSV table or JSON lines.")
]
PairsOption = Annotated[
    Path, typer.Option(exists=True, help="CSV table, JSON lines, or folder of HL7 ORU reports.")
]
LanguageOption = Annotated[str, typer.Option(help="en or es, of rows that name none.")]


def draft(
    source: InOption,
    target: Annotated[Path, typer.Option("--out", dir_okay=False, help="JSON lines.")],
    corpus_dir: Annotated[
        Path | None,
        typer.Option("--corpus", exists=True, file_okay=False, help="Made by impressions index."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="A language model that offers texts too."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="URL of a model that is sent de-identified text.")
    ] = None,
    language: LanguageOption = "en",
    guard: Annotated[
        bool, typer.Option("--guard/--no-guard", help="No guard: to measure what it costs.")
    ] = True,
) -> None:
    """Draft an impression for each row of uid, findings, indication; exit 1 when a row is bad."""
    with refusals():
        rows = _read(source, language, impressions=False)
        drafter = open_drafter(corpus_dir, _sources(model or (), endpoint))
        with target.open("w", encoding="utf-8") as file, _progress() as tell:
            for number, pair in enumerate(rows.pairs, 1):
                line = json.dumps(_drafted(drafter, pair, guard), ensure_ascii=False)
                file.write(line + "\n")
                tell("drafting", number, len(rows.pairs))
    if rows.bad:
        told = f"{len(rows.bad)} of {len(rows.bad) + len(rows.pairs)} rows cannot be used"
        raise fail(f"{told}; the others are drafted in {target}.")


def index(
    pairs: PairsOption,
    target: Annotated[Path, typer.Option("--out", file_okay=False, help="For draft --corpus.")],
    language: LanguageOption = "en",
    split: Annotated[str, typer.Option(help="Learn from rows of this split; empty: all.")] = "",
) -> None:
    """Learn from the site's own reports: index, style and choice. The folder stays on the site."""
    from processors.training.impressions import corpus_folder

    with refusals(), _progress() as tell:
        learned = _of_split(_read(pairs, language).pairs, split, pairs)
        card = corpus_folder.make(learned, target, tell)
    print_one(_told(card), as_json=False)


def bundle(
    pairs: PairsOption,
    target: Annotated[Path, typer.Option("--out", file_okay=False, help="The bundle's folder.")],
    language: LanguageOption = "en",
    split: Annotated[str, typer.Option(help="Learn from rows of this split; empty: all.")] = "",
    held: Annotated[str, typer.Option(help="Judge by rows of this split; empty: none.")] = "",
) -> None:
    """Train the bundle that needs no corpus (numbers and trees alone), and write its card."""
    from processors.training.impressions import shipped

    with refusals():
        if held and held == split:
            raise fail(f"Reports of split {held} cannot be learnt from and judged by at once.")
        every = _read(pairs, language).pairs
        learned = _of_split(every, split, pairs)
        judged = _of_split(every, held, pairs) if held else []
        with _progress() as tell:
            made = shipped.train(learned, judged, target, tell)
    out.print(Text(f"{made}: learnt from {len(learned)} reports, judged by {len(judged)}."))


def _sources(models: Sequence[Path], endpoint: str | None) -> list[Source]:
    """The language models that offer texts beside the drafter's own sources."""
    found: list[Source] = [open_language_model(path) for path in models]
    if endpoint:
        try:
            found.append(HttpWriter(poster(Endpoint(url=endpoint))))
        except ValueError as error:
            raise fail(f"--endpoint {endpoint} cannot be used: {error}") from error
    return found


def _of_split(rows: Sequence[corpus.Pair], split: str, path: Path) -> list[corpus.Pair]:
    found = [row for row in rows if not split or row.split == split]
    if not found:
        raise fail(f"{path} holds no row of split {split}.")
    return found


def _told(card: Mapping[str, Any]) -> dict[str, str]:
    """A corpus folder's figures as lines for eyes."""
    lines = {"reports": str(card["reports"])}
    for group, found in card["figures"].items():
        for name, figure in found["values"].items():
            told = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure)
            lines[f"{name}, {group} ({found['reports']})"] = told
    return lines


def _drafted(drafter: RankedDrafter, pair: corpus.Pair, guard: bool) -> dict[str, Any]:
    request = Request(pair.findings, pair.language, pair.indication)
    made = drafter.draft(request, guard=guard)
    return {
        "uid": pair.uid,
        "impression": made.impression.text,
        "sentences": [
            {"text": s.text, "findings": list(s.findings), "source": s.source}
            for s in made.impression.sentences
        ],
        "criticality": made.impression.criticality,
        "dropped": [{"text": r.text, "reason": r.reason} for r in made.refused],
        "source": made.origin,
    }


def _read(path: Path, language: str, *, impressions: bool = True) -> corpus.Reading:
    """The rows of a file; bad ones are told at once. Leaves when no row is good."""
    if language not in LANGUAGES:
        raise fail(f"--language {language} is none of {', '.join(LANGUAGES)}.")
    found = corpus.read(path, language, impressions=impressions)
    for bad in found.bad:
        err.print(Text(str(bad)), soft_wrap=True)
    if not found.pairs:
        raise fail(f"{path} holds no row that can be used.")
    return found


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar a step, on standard error."""
    columns: Sequence[Any] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")

        def tell(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield tell


def add_to(app: typer.Typer) -> None:
    """Adds these commands to the group `impressions`."""
    app.command()(draft)
    app.command()(index)
    app.command()(bundle)
