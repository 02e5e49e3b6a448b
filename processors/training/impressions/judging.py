"""What a draft says of the findings, by judges that do not know each other.

In: texts and a Judge. Out: for each report counts of findings right, missing, added, and the
shares made of them. A judge reads every text itself, or holds labels of the whole report that
people gave. Our own labeller is a judge too, marked as such: the guard uses it, so that agreement
with it flatters. Never: a score of words.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.corpus import Pair
from processors.impressions.labeller import Mention, read, summary
from processors.impressions.lexicon import FINDINGS, concepts
from processors.training.impressions.cases import UnusableCases
from processors.training.impressions.scores import Draws, Numbers

Findings = frozenset[str]
Reader = Callable[[Sequence[tuple[str, str]]], Sequence[Findings]]
"""From (text, language) to the findings that each text asserts, certain or hedged."""

# names that collections of labels give to the findings that the labeller reads
ALIASES = {"effusion": "pleural_effusion", "pleural_thickening": "pleural_other"}
_YES = ("1", "1.0", "true")


@dataclass(frozen=True, slots=True)
class Judge:
    """Who says which findings a text asserts.

    own: it is the product's labeller, or reads drafts with it. labels: of references by uid, of a
    judge that holds labels; such a judge knows nothing of the findings section. knows: findings
    that count; None for all.
    """

    name: str
    own: bool
    reads: Reader
    labels: dict[str, Findings] | None = None
    knows: Findings | None = None


@lru_cache(maxsize=1 << 16)
def _read(text: str, language: str) -> tuple[Mention, ...]:
    return read(text, language)


@lru_cache(maxsize=1 << 16)
def asserted(text: str, language: str) -> Findings:
    """The findings that our labeller reads as present or possible."""
    states = summary(_read(text, language))
    return frozenset(finding for finding, state in states.items() if state in ASSERTED)


OWN = Judge("labeller", True, lambda texts: [asserted(*text) for text in texts])


def labelled(path: Path) -> Judge:
    """A judge by a table of labels: uid, then a column of 0 and 1 for each finding; of those, the
    columns count that our labeller reads too. Drafts are read by our labeller.

    Raises UnusableCases when no column is known.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {
        name: ALIASES.get(name.strip().lower(), name.strip().lower())
        for name in (rows[0] if rows else {})
    }
    known = {name: finding for name, finding in columns.items() if finding in FINDINGS}
    if not known or "uid" not in columns:
        raise UnusableCases(
            f"{path} holds no labels that can be compared.",
            then=f"It needs uid and at least one column of: {', '.join(FINDINGS)}.",
        )
    labels = {
        row["uid"].strip(): frozenset(
            finding for name, finding in known.items() if (row[name] or "").strip().lower() in _YES
        )
        for row in rows
    }
    return Judge(path.stem, False, OWN.reads, labels, frozenset(known.values()))


# columns of the counts below
_RIGHT, _ADDED, _MISSED, _BEYOND, _UNFOUNDED, _ILL, _FALSE_NORMAL, _REFERENCE, _NOWHERE = range(9)


def counts(judge: Judge, cases: Sequence[Pair], drafts: Sequence[str]) -> Numbers:
    """(cases, 9) counts for `shares`; cases without a label of a judge with labels count zero."""

    def of(texts: Sequence[str]) -> list[Findings]:
        told = judge.reads([(t, c.language) for t, c in zip(texts, cases, strict=True)])
        return [found if judge.knows is None else found & judge.knows for found in told]

    said = of(drafts)
    sections = of([case.findings for case in cases])
    if judge.labels is None:
        references: list[Findings | None] = [*of([case.impression for case in cases])]
    else:
        references = [judge.labels.get(case.uid) for case in cases]
    rows = []
    for got, meant, section in zip(said, references, sections, strict=True):
        if meant is None:
            rows.append((0,) * 9)
            continue
        rows.append(
            (
                len(got & meant),
                len(got - meant),
                len(meant - got),
                len(got - section),
                len(got - section - meant),
                int(bool(meant)),
                int(bool(meant) and not got),
                len(meant),
                len(meant - section),
            )
        )
    return np.array(rows, dtype=np.float64).reshape(len(rows), 9)


def _share(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _f1(sums: Numbers) -> Numbers:
    right, added, missed = (sums[..., k] for k in (_RIGHT, _ADDED, _MISSED))
    return _share(2 * right, 2 * right + added + missed)


def shares(found: Numbers, drawn: Draws) -> dict[str, float]:
    """From counts (cases, 9) to figures, 0..1: micro F1 of asserted findings with its interval;
    omitted (of the reference's), invented (of the draft's, not in the reference), unsupported (of
    the draft's, not in the findings section), unfounded (in neither), false_normal (of the reports
    whose reference asserts a finding: the draft asserts none), with its interval."""
    sums = found.sum(axis=0)
    drafted = sums[_RIGHT] + sums[_ADDED]
    drawn_sums = drawn.sums(found)
    low, high = np.percentile(_f1(drawn_sums), [2.5, 97.5])
    normal = _share(drawn_sums[:, _FALSE_NORMAL], drawn_sums[:, _ILL])
    normal_low, normal_high = np.percentile(normal, [2.5, 97.5])
    return {
        "f1": float(_f1(sums)),
        "low": float(low),
        "high": float(high),
        "omitted": float(_share(sums[_MISSED], sums[_REFERENCE])),
        "invented": float(_share(sums[_ADDED], drafted)),
        "unsupported": float(_share(sums[_BEYOND], drafted)),
        "unfounded": float(_share(sums[_UNFOUNDED], drafted)),
        "false_normal": float(_share(sums[_FALSE_NORMAL], sums[_ILL])),
        "false_normal_low": float(normal_low),
        "false_normal_high": float(normal_high),
        "drafted": float(drafted),
        "reference": float(sums[_REFERENCE]),
        "ill": float(sums[_ILL]),
    }


def f1_difference(ours: Numbers, theirs: Numbers, drawn: Draws) -> dict[str, float]:
    """Paired difference of micro F1, with its interval."""
    low, high = np.percentile(_f1(drawn.sums(ours)) - _f1(drawn.sums(theirs)), [2.5, 97.5])
    mean = _f1(ours.sum(axis=0)) - _f1(theirs.sum(axis=0))
    return {"mean": float(mean), "low": float(low), "high": float(high)}


def ceiling(found: Numbers) -> dict[str, float]:
    """nowhere: the share of the reference's findings that stand nowhere in the findings section;
    f1: that of a draft that says all the others and nothing else. Who scores more is guessing."""
    sums = found.sum(axis=0)
    nowhere = _share(sums[_NOWHERE], sums[_REFERENCE])
    return {"nowhere": float(nowhere), "f1": float(2 * (1 - nowhere) / (2 - nowhere))}


def critical(cases: Sequence[Pair], drafts: Sequence[str]) -> Numbers:
    """(cases, 2): certain critical findings of the findings section, and how many of them the
    draft does not assert; by our labeller. Old ones may be left out, as the guard allows."""
    rows = []
    for case, draft in zip(cases, drafts, strict=True):
        due = {
            mention.finding or mention.concept
            for mention in _read(case.findings, case.language)
            if concepts()[mention.concept].critical
            and mention.state is Assertion.PRESENT
            and not mention.old
        }
        said = [m for m in _read(draft, case.language) if m.state in ASSERTED]
        told = {m.finding for m in said} | {m.concept for m in said}
        rows.append((len(due), len(due - told)))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


def left_out(found: Numbers, drawn: Draws) -> dict[str, float]:
    """Share of the certain critical findings that drafts leave out, with its interval."""
    sums, drawn_sums = found.sum(axis=0), drawn.sums(found)
    low, high = np.percentile(_share(drawn_sums[:, 1], drawn_sums[:, 0]), [2.5, 97.5])
    return {
        "n": float(sums[0]),
        "left_out": float(_share(sums[1], sums[0])),
        "low": float(low),
        "high": float(high),
    }
