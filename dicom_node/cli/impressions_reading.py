"""impressions: urgency, follow-up, plain; what the phrase lists make of one text of findings.

For the radiologists of a site, who try the rules on sentences of their own before they trust them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dicom_node.cli.common import JsonOption, fail, print_one, print_rows
from processors.analysis import Refusal
from processors.impressions import criticality, plain_language
from processors.impressions.follow_up import Patient, proposal
from processors.impressions.labeller import read
from processors.impressions.lexicon import LANGUAGES

TextArgument = Annotated[
    typer.FileText, typer.Argument(help="A text file with findings; - reads standard input.")
]
LanguageOption = Annotated[str, typer.Option(help="en or es.")]


def add_to(app: typer.Typer) -> None:
    """Make these commands part of `dictamen impressions`."""
    app.command()(urgency)
    app.command("follow-up")(follow_up)
    app.command()(plain)


def urgency(
    findings: TextArgument,
    language: LanguageOption = "en",
    trauma: Annotated[bool, typer.Option(help="The patient was injured.")] = False,
    as_json: JsonOption = False,
) -> None:
    """How soon somebody must know of each finding: category, rule and source, most urgent first."""
    text, context = _read(findings, language), ("trauma",) if trauma else ()
    rows = [
        {
            "category": int(found.category),
            "finding": found.mention.concept,
            "state": str(found.mention.state),
            "rule": found.rule.name,
            "source": found.rule.source,
            "sentence": found.mention.sentence,
        }
        for found in criticality.ranked(read(text, language), language, context)
    ]
    print_rows(rows, as_json, title="urgency")


def follow_up(
    findings: TextArgument,
    language: LanguageOption = "en",
    modality: Annotated[str | None, typer.Option(help="As in DICOM: CT, CR ...")] = None,
    age: Annotated[float | None, typer.Option(min=0, help="Years.")] = None,
    high_risk: Annotated[bool | None, typer.Option("--high-risk/--low-risk")] = None,
    cancer: Annotated[bool | None, typer.Option("--cancer/--no-cancer")] = None,
    immunosuppression: Annotated[
        bool | None, typer.Option("--immunosuppression/--no-immunosuppression")
    ] = None,
    screening: Annotated[bool | None, typer.Option("--screening/--no-screening")] = None,
    as_json: JsonOption = False,
) -> None:
    """The Fleischner Society's follow-up of a nodule, with table and row, or why there is none."""
    patient = Patient(modality, age, high_risk, cancer, immunosuppression, screening)
    found = proposal(_read(findings, language), patient, language)
    if found is None:
        raise fail("The text names no nodule, or denies it.")
    print_one(asdict(found), as_json)
    if isinstance(found, Refusal):
        raise typer.Exit(1)


def plain(findings: TextArgument, language: LanguageOption = "en") -> None:
    """The findings in plain words for the patient, as they would stand under their label."""
    said = plain_language.of_text(_read(findings, language), language)
    if not said:
        raise fail("No plain words could be made that say exactly what the findings say.")
    typer.echo(said)


def _read(findings: typer.FileText, language: str) -> str:
    if language not in LANGUAGES:
        raise fail(f"No phrase list for {language!r}; there are {', '.join(LANGUAGES)}.")
    try:
        return findings.read()
    except UnicodeDecodeError as error:
        raise fail(f"{findings.name} is not UTF-8 text: {error.reason}.") from error
