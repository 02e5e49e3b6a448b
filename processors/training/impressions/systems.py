"""What drafts, as the evaluation sees it: a name and a text for each report.

In: prediction files, drafters, language models. Out: Systems. Never: a report left out; what a
system has no draft for is an empty draft, scores 0 and is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.impressions.corpus import Pair
from processors.impressions.drafting import Drafter, Request
from processors.impressions.guarding import passed
from processors.impressions.statements import case
from processors.impressions.written import LanguageModel
from processors.training.impressions.cases import UnusableCases


@dataclass(frozen=True, slots=True)
class Cut:
    """What a language model's length limits took: reports whose findings were cut and the tokens
    lost by it; drafts that ended at the limit."""

    inputs: int
    tokens: int
    outputs: int


@dataclass(frozen=True, slots=True)
class System:
    """Drafts by uid. unguarded: the same system's drafts with the guard off, where that was asked.
    before: the name of the system that this one was trained from. lacking: reports without a
    draft. cut: of a language model alone."""

    name: str
    drafts: Mapping[str, str]
    unguarded: Mapping[str, str] | None = None
    before: str = ""
    lacking: int = 0
    cut: Cut | None = None


def from_file(path: Path, cases: Sequence[Pair], name: str = "") -> System:
    """Drafts of JSON lines with uid and impression. Raises UnusableCases, naming the line."""
    drafts = {}
    # only line feeds end a line: texts may hold other separators, such as U+2028
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            drafts[str(row["uid"])] = str(row.get("impression") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableCases(
                f"{path}, line {number}, is no draft ({type(error).__name__}).",
                then='Each line is a JSON object with "uid" and "impression".',
            ) from error
    return completed(System(name or path.stem, drafts), cases)


def completed(system: System, cases: Sequence[Pair]) -> System:
    """The system with an empty draft where it has none."""
    drafts = {case.uid: system.drafts.get(case.uid, "") for case in cases}
    lacking = sum(case.uid not in system.drafts for case in cases)
    return System(system.name, drafts, system.unguarded, system.before, lacking, system.cut)


def from_drafter(
    name: str,
    drafter: Drafter,
    cases: Sequence[Pair],
    tell: Callable[[int], None],
    before: str = "",
) -> System:
    """What a drafter drafts, guard on and off. tell: called with how many reports are done."""
    drafts: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for done, pair in enumerate(cases, 1):
        request = Request(pair.findings, pair.language, pair.indication)
        for guard, told in drafts.items():
            told[pair.uid] = drafter.draft(request, guard=guard).impression.text
        tell(done)
    return System(name, drafts[True], drafts[False], before)


def from_model(
    name: str,
    model: LanguageModel,
    cases: Sequence[Pair],
    tell: Callable[[int], None],
    before: str = "",
) -> System:
    """What a language model says alone, its likeliest answer, with and without the guard."""
    requests = [Request(each.findings, each.language, each.indication) for each in cases]
    answered = model.answered(requests, tell)
    said, kept = {}, {}
    for pair, request, each in zip(cases, requests, answered, strict=True):
        first = each.candidates[:1]
        said[pair.uid] = first[0].text if first else ""
        left = passed(first, case(request))
        kept[pair.uid] = left[0].candidate.text if left else ""
    cut = Cut(
        sum(each.lost > 0 for each in answered),
        sum(each.lost for each in answered),
        sum(each.full for each in answered),
    )
    return System(name, kept, said, before, cut=cut)
