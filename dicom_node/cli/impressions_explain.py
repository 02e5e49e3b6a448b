"""impressions explain: which words of a findings section moved a score."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from dicom_node.cli.common import JsonOption, fail, out, refusals
from processors.impressions.corpus import Pair
from processors.impressions.lexicon import FINDINGS, LANGUAGES

if TYPE_CHECKING:
    from processors.impressions.word_shares import Explained, Score

_WIDTH = 12  # characters of a bar


def explain(
    text: Annotated[str, typer.Option(help="The findings section.")],
    finding: Annotated[
        str | None, typer.Option(help="Explain how the labeller reads this finding.")
    ] = None,
    impression: Annotated[
        str | None, typer.Option(help="Explain what this impression is worth (default: the draft).")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="... to the choice of this corpus folder."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="... or how likely this model finds it."),
    ] = None,
    language: Annotated[str, typer.Option(help="en or es.")] = "en",
    samples: Annotated[int, typer.Option(min=50, help="Texts that a method may ask about.")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Show which words moved the labeller, the choice among drafts or a model (LIME, SHAP)."""
    if language not in LANGUAGES:
        raise fail(f"--language {language} is none of {', '.join(LANGUAGES)}.")
    if finding is not None and finding not in FINDINGS:
        raise fail(f"{finding!r} is none of: {', '.join(FINDINGS)}.")
    pair = Pair("text", text, language=language)
    with refusals():
        try:
            from processors.impressions import word_shares

            score, of = _score(pair, finding, impression, corpus, model)
            found = word_shares.explain(text, score, samples)
        except ImportError as error:
            raise fail(f"This needs the extra `explain` ({error}).") from error
        except ValueError as error:
            raise fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps({"of": of} | asdict(found), ensure_ascii=False, indent=1))
    else:
        _print(found, of)


def _score(
    pair: Pair, finding: str | None, impression: str | None, corpus: Path | None, model: Path | None
) -> tuple[Score, str]:
    """The score that is asked for, and what it is called."""
    from processors.impressions import drafter, scoring, site, word_shares
    from processors.impressions.drafting import Request
    from processors.impressions.language_model import open_language_model

    if finding:
        return word_shares.reading(finding, pair.language), f"labeller: {finding}"
    if not impression:
        drafted = drafter.open_drafter(corpus).draft(Request(pair.findings, pair.language))
        impression = drafted.impression.text
        if not impression:
            raise fail("Nothing was drafted for this text: name an --impression.")
    if model:
        opened = open_language_model(model)
        return word_shares.likelihood(opened, impression, pair), f"{opened.name}: {impression}"
    judge = site.open_site(corpus) if corpus else scoring.open_shipped()
    return word_shares.choice(judge, impression, pair), f"worth of: {impression}"


def _print(found: Explained, of: str) -> None:
    most = max((abs(v) for s in found.shares for v in (s.shap, s.lime)), default=0) or 1
    table = Table("word", "SHAP", "", "LIME", "", title=Text(of), title_justify="left")
    for share in found.shares:
        cells = (f"{share.shap:+.3f}", _bar(share.shap / most))
        table.add_row(Text(share.word), *cells, f"{share.lime:+.3f}", _bar(share.lime / most))
    out.print(table)
    out.print(
        f"score {found.score:.3f}, of no text {found.empty:.3f} (SHAP adds up to the difference); "
        f"LIME's surrogate: R² {found.fit:.2f}"
    )


def _bar(value: float) -> Text:
    """Blue to the score, orange against it; Okabe & Ito's colours."""
    return Text("█" * round(abs(value) * _WIDTH), style="#0072B2" if value > 0 else "#D55E00")
