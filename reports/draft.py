"""What the writers say of the draft impression: its parts, what each rests on, how soon.

In: an analysis. Out: passages, lines of text, whether the result is critical. Never: a sentence
changed or left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from processors.analysis import CRITICALITY, Analysis, Finding
from reports import content
from reports.model import Options
from reports.wording import words

AT_ONCE = 1  # the category of what somebody must know within minutes


@dataclass(frozen=True, slots=True)
class Passage:
    """Sentences of the draft that follow each other and rest on the same findings.

    category: the most urgent of them, 0 for none.
    """

    text: str
    findings: tuple[Finding, ...]
    category: int


def passages(analysis: Analysis) -> tuple[Passage, ...]:
    """The draft impression with what each part of it rests on."""
    if analysis.impression is None:
        return ()
    known = {finding.label: finding for finding in content.leading(analysis)}
    found = []
    for labels, part in groupby(analysis.impression.sentences, key=lambda one: one.findings):
        sentences = [sentence for sentence in part if sentence.text.strip()]
        if sentences:
            rests_on = tuple(known[label] for label in labels if label in known)
            category = min((one.category for one in sentences if one.category), default=0)
            found.append(
                Passage(" ".join(one.text.strip() for one in sentences), rests_on, category)
            )
    return tuple(found)


def passage_line(passage: Passage, options: Options) -> str:
    """What a part of the draft rests on and how soon somebody must know; "" if neither is said."""
    language = words(options.language)
    names = ", ".join(content.name_of(finding, options) for finding in passage.findings)
    said = [language.rests_on.format(names)] if names else []
    if passage.category:
        urgency = language.urgencies[passage.category]
        said.append(f"{urgency[:1].upper()}{urgency[1:]}.")
    return " ".join(said)


def urgency_lines(analysis: Analysis, options: Options) -> list[str]:
    """How soon somebody must know of the most urgent sentence; nothing where none is urgent."""
    language, category = words(options.language), _category(analysis)
    return [language.urgency.format(language.urgencies[category])] if category else []


def is_critical(analysis: Analysis) -> bool:
    """Whether somebody must know of the draft within minutes (category 1)."""
    return _category(analysis) == AT_ONCE


def _category(analysis: Analysis) -> int:
    draft = analysis.impression
    return CRITICALITY.index(draft.criticality) if draft else 0
