"""Sums the agreement of drafts with final reports, overall and by week, reader and finding.

Pure. Of several final reports of one study the newest counts. A finding's counts are of reports;
F1 is micro: over all findings of a group, so that a report with many weighs more. Means are over
reports. Never: a mean over nothing; what cannot be said is None.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from storage import AgreementRecord

FEW = 10  # reports below which a figure says little
FATES = ("both", "added", "removed", "contradicted")
ROUGE = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True, slots=True)
class Group:
    """Reports of one kind. unchanged: signed word for word. kept: 1 - edits / words, mean.

    f1: of the findings that draft and final assert; None where neither asserts any. The four
    counts are findings.
    """

    name: str
    reports: int
    unchanged: int
    kept: float
    rouge1: float
    rouge2: float
    rougeL: float
    f1: float | None
    both: int
    added: int
    removed: int
    contradicted: int

    @property
    def enough(self) -> bool:
        return self.reports >= FEW


@dataclass(frozen=True, slots=True)
class FindingCount:
    """One finding: in how many reports it is in both texts, added, removed, contradicted."""

    name: str
    both: int
    added: int
    removed: int
    contradicted: int

    @property
    def changed(self) -> int:
        return self.added + self.removed + self.contradicted


@dataclass(frozen=True, slots=True)
class Summary:
    """overall is None where nothing was compared."""

    overall: Group | None
    weeks: tuple[Group, ...]
    readers: tuple[Group, ...]
    findings: tuple[FindingCount, ...]


def newest(records: Iterable[AgreementRecord]) -> tuple[AgreementRecord, ...]:
    """The last final report of each study, in the order in which they came."""
    last = {record.study_uid: record for record in sorted(records, key=lambda r: r.run_id)}
    return tuple(sorted(last.values(), key=lambda r: (r.received_at, r.run_id)))


def summary(records: Iterable[AgreementRecord]) -> Summary:
    """The figures of all these reports."""
    counted = newest(records)
    return Summary(
        _group("all", counted) if counted else None,
        _groups(counted, lambda r: "{}-W{:02d}".format(*r.received_at.isocalendar()[:2])),
        _groups(counted, lambda r: r.reader or "-"),
        _findings(counted),
    )


def _groups(
    records: Sequence[AgreementRecord], key: Callable[[AgreementRecord], str]
) -> tuple[Group, ...]:
    found: dict[str, list[AgreementRecord]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    return tuple(_group(name, found[name]) for name in sorted(found))


def _group(name: str, records: Sequence[AgreementRecord]) -> Group:
    figures: list[Mapping[str, Any]] = [record.figures for record in records]
    both, added, removed, contradicted = (sum(len(one[fate]) for one in figures) for fate in FATES)
    rouge1, rouge2, rouge_l = (fmean(one[measure] for one in figures) for measure in ROUGE)
    # a contradicted finding is asserted by one of the two: half a miss on each side
    asserted = 2 * both + added + removed + contradicted
    return Group(
        name,
        len(figures),
        sum(one["edits"] == 0 for one in figures),
        fmean(1 - one["edits"] / max(one["words"], 1) for one in figures),
        rouge1,
        rouge2,
        rouge_l,
        2 * both / asserted if asserted else None,
        both,
        added,
        removed,
        contradicted,
    )


def _findings(records: Sequence[AgreementRecord]) -> tuple[FindingCount, ...]:
    counts: dict[str, Counter[str]] = {fate: Counter() for fate in FATES}
    for record in records:
        for fate in FATES:
            counts[fate].update(record.figures[fate])
    names = {name for each in counts.values() for name in each}
    found = [FindingCount(name, *(counts[fate][name] for fate in FATES)) for name in names]
    return tuple(sorted(found, key=lambda one: (-one.changed - one.both, one.name)))
