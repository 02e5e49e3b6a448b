"""Puts together what speaks for and against a processor in shadow.

In: its cases, those of the live processors, readings of the site. Out: one frozen Evidence, whose
plain form has one digest. Never: IO, a clock, a verdict; `concerns` names what speaks against it.

An undetermined answer is right for neither truth: it counts against sensitivity and against
specificity. A group is compared with everybody else, not with the best group.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from dicom_node.shadow.cases import Case, Stated
from dicom_node.shadow.figures import (
    TOO_FEW,
    Difference,
    Share,
    Spread,
    difference,
    share,
    spread,
)
from dicom_node.shadow.reference import Reading
from dicom_node.strata import UNKNOWN, VARIABLES
from processors import State

ENDINGS = ("completed", "unsuitable", "failed", "set_aside")
FORGOTTEN = ("completed", "unsuitable")  # without its analysis nothing is known of such a run


@dataclass(frozen=True, slots=True)
class Day:
    """A day (UTC) from the first study to the last; alerts: studies with a finding present."""

    day: str
    studies: int
    judged: int
    alerts: int


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """On one label: the share with the same state, and how often each pair of states came."""

    label: str
    same: Share
    pairs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Peer:
    """A live processor that judged the same studies. whole: all shared labels alike."""

    processor: str
    versions: tuple[str, ...]
    shared: int
    whole: Share
    labels: tuple[LabelAgreement, ...]


@dataclass(frozen=True, slots=True)
class LabelReading:
    """One label against the site's readings. not_judged: read, but refused or failed by us."""

    label: str
    sensitivity: Share
    specificity: Share
    undetermined: int
    not_judged: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The site's readings: how many there were, how many fitted no study, and how many fitted two
    or were contradicted by another."""

    readings: int
    unknown: int
    ambiguous: int
    labels: tuple[LabelReading, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """One group against everybody else. of: the label or the processor that is compared."""

    variable: str
    group: str
    measure: str  # refused | alert | agreement | sensitivity | specificity
    of: str
    inside: Share
    rest: Share
    difference: Difference | None

    @property
    def enough(self) -> bool:
        return self.inside.enough and self.rest.enough


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that speaks against a promotion; `telling` has the sentence of each kind."""

    kind: str
    of: str = ""
    n: int = 0
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of a processor's time in shadow, with its present weights."""

    processor: str
    version: str
    weights: str
    studies: int
    other_weights: int
    forgotten: int
    days: tuple[Day, ...]
    endings: Mapping[str, Share]
    reasons: Mapping[str, Mapping[str, int]]
    alerts: Spread | None
    present: Mapping[str, Share]
    peers: tuple[Peer, ...]
    reference: Reference | None
    gaps: tuple[Gap, ...]
    timings: Mapping[str, Spread]
    concerns: tuple[Concern, ...]

    @property
    def judged(self) -> int:
        """Studies with a result."""
        return self.endings["completed"].count

    def plain(self) -> dict[str, Any]:
        """JSON's own types."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def document(self) -> bytes:
        """What is kept of it: one spelling, so that one digest names it."""
        text = json.dumps(self.plain(), indent=1, sort_keys=True, ensure_ascii=False)
        return text.encode() + b"\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.document()).hexdigest()


def assemble(
    processor: str,
    cases: Sequence[Case],
    live: Mapping[str, Sequence[Case]],
    readings: Sequence[Reading] = (),
) -> Evidence:
    """The evidence of `cases`: one a study, in shadow. live: processor -> its live cases."""
    known = [one for one in cases if one.version or one.status not in FORGOTTEN]
    latest = max(
        (one for one in known if _says_by_whom(one)), key=lambda one: one.run, default=None
    )
    mine = [one for one in known if latest is None or _of_same_model(one, latest)]
    days = _days(mine)
    peers = {name: _pairs(mine, theirs) for name, theirs in sorted(live.items())}
    matched, unknown, ambiguous = _matched(mine, readings)
    evidence = Evidence(
        processor=processor,
        version=latest.version if latest else "",
        weights=latest.weights if latest else "",
        studies=len(mine),
        other_weights=len(known) - len(mine),
        forgotten=len(cases) - len(known),
        days=days,
        endings={name: share([one.status == name for one in mine]) for name in ENDINGS},
        reasons=_reasons(mine),
        alerts=spread([day.alerts for day in days]),
        present=_present(mine),
        peers=tuple(_peer(name, pairs) for name, pairs in peers.items() if pairs),
        reference=_reference(matched, len(readings), unknown, ambiguous) if readings else None,
        gaps=tuple(_gaps(mine, peers, matched)),
        timings=_timings(mine),
        concerns=(),
    )
    return replace(evidence, concerns=tuple(_concerns(evidence)))


def _says_by_whom(case: Case) -> bool:
    """Whether the run names its model: a remote one names its version with a result alone."""
    return bool(case.weights) or case.judged


def _of_same_model(one: Case, other: Case) -> bool:
    """A card with other thresholds is another version of the same weights."""
    if not _says_by_whom(one):
        return True
    return (one.weights, one.version) == (other.weights, other.version)


def _days(cases: Sequence[Case]) -> tuple[Day, ...]:
    if not cases:
        return ()
    by_day = defaultdict(list)
    for one in cases:
        by_day[one.day].append(one)
    first, last = min(by_day), max(by_day)
    found = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        its = by_day.get(day, [])
        judged = [one for one in its if one.judged]
        alerts = sum(one.alerts for one in judged)
        found.append(Day(day.isoformat(), len(its), len(judged), alerts))
    return tuple(found)


def _reasons(cases: Sequence[Case]) -> Mapping[str, Mapping[str, int]]:
    """Why studies have no result: by the stable word of a refusal, else by its sentence."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for one in cases:
        if not one.judged:
            found[one.status][one.kind or one.reason] += 1
    return {status: dict(counts.most_common()) for status, counts in found.items()}


def _labels(cases: Sequence[Case]) -> list[str]:
    return sorted({stated.label for one in cases for stated in one.stated})


def _present(cases: Sequence[Case]) -> Mapping[str, Share]:
    stated = [one for case in cases for one in case.stated]
    return {
        label: share([one.state is State.PRESENT for one in stated if one.label == label])
        for label in _labels(cases)
    }


def _timings(cases: Sequence[Case]) -> Mapping[str, Spread]:
    """Milliseconds by stage; `run` is the whole run, with reading and writing."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in cases:
        if one.judged:
            for stage, value in one.timings_ms.items():
                found[stage].append(value)
            if one.seconds is not None:
                found["run"].append(one.seconds * 1e3)
    spreads = {stage: spread(values) for stage, values in sorted(found.items())}
    return {stage: one for stage, one in spreads.items() if one}


# ---- another processor ------------------------------------------------------------------------
Pair = tuple[Case, Case]  # ours and theirs, of the same study


def _pairs(cases: Sequence[Case], theirs: Sequence[Case]) -> list[Pair]:
    """Studies that both judged, and in which they speak of at least one finding in common."""
    by_study = {one.study_uid: one for one in theirs if one.judged}
    both = [
        (one, by_study[one.study_uid]) for one in cases if one.judged and one.study_uid in by_study
    ]
    return [pair for pair in both if _shared(*pair)]


def _shared(ours: Case, theirs: Case) -> list[tuple[Stated, Stated]]:
    return [(one, other) for one in ours.stated if (other := theirs.on(one)) is not None]


def _alike(pair: Pair) -> bool:
    return all(one.state is other.state for one, other in _shared(*pair))


def _peer(name: str, pairs: Sequence[Pair]) -> Peer:
    by_label: dict[str, list[tuple[State, State]]] = defaultdict(list)
    for pair in pairs:
        for one, other in _shared(*pair):
            by_label[one.label].append((one.state, other.state))
    labels = tuple(
        LabelAgreement(
            label,
            share([one is other for one, other in states]),
            dict(sorted(Counter(f"{one}/{other}" for one, other in states).items())),
        )
        for label, states in sorted(by_label.items())
    )
    versions = tuple(sorted({theirs.version for _, theirs in pairs}))
    return Peer(name, versions, len(pairs), share([_alike(pair) for pair in pairs]), labels)


# ---- the site's readings ----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Read:
    """One reading with the case it is about; stated: None if we gave no answer on it."""

    case: Case
    label: str
    present: bool
    stated: Stated | None

    @property
    def right(self) -> bool:
        wanted = State.PRESENT if self.present else State.ABSENT
        return self.stated is not None and self.stated.state is wanted


def _matched(cases: Sequence[Case], readings: Sequence[Reading]) -> tuple[list[_Read], int, int]:
    """Readings with their cases; how many fit no study (or label) of ours; how many fit two, or
    contradict another one.

    A study by its UID and by its number, a finding by its label and by its code: it is one reading.
    """
    known: dict[str, list[Case]] = defaultdict(list)
    for one in cases:
        for name in {one.study_uid, one.accession} - {""}:
            known[name].append(one)
    names = {stated.label: stated for one in cases for stated in one.stated}
    found, unknown, ambiguous = defaultdict[tuple[str, str], list[_Read]](list), 0, 0
    for reading in readings:
        label = next((n for n, one in names.items() if one.is_called(reading.label)), None)
        its = known.get(reading.study, [])
        if label is None or not its:
            unknown += 1
        elif len(its) > 1:
            ambiguous += 1
        else:
            stated = next((one for one in its[0].stated if one.label == label), None)
            read = _Read(its[0], label, reading.present, stated)
            found[its[0].study_uid, label].append(read)
    agreed = [reads[0] for reads in found.values() if len({one.present for one in reads}) == 1]
    torn = sum(len(reads) for reads in found.values() if len({one.present for one in reads}) > 1)
    return agreed, unknown, ambiguous + torn


def _reference(read: Sequence[_Read], readings: int, unknown: int, ambiguous: int) -> Reference:
    labels = []
    for label in sorted({one.label for one in read}):
        its = [one for one in read if one.label == label]
        answered = [one for one in its if one.stated is not None]
        labels.append(
            LabelReading(
                label,
                sensitivity=share([one.right for one in answered if one.present]),
                specificity=share([one.right for one in answered if not one.present]),
                undetermined=sum(_is_undetermined(one) for one in answered),
                not_judged=len(its) - len(answered),
            )
        )
    return Reference(readings, unknown, ambiguous, tuple(labels))


def _is_undetermined(one: _Read) -> bool:
    return one.stated is not None and one.stated.state is State.UNDETERMINED


# ---- subgroups --------------------------------------------------------------------------------
Flag = tuple[Case, bool]


def _gaps(
    cases: Sequence[Case], peers: Mapping[str, Sequence[Pair]], read: Sequence[_Read]
) -> Iterator[Gap]:
    judged = [one for one in cases if one.judged]
    yield from _gap("refused", "", [(one, not one.judged) for one in cases])
    yield from _gap("alert", "", [(one, one.alerts) for one in judged])
    for name, pairs in peers.items():
        yield from _gap("agreement", name, [(pair[0], _alike(pair)) for pair in pairs])
    for label in sorted({one.label for one in read}):
        its = [one for one in read if one.label == label and one.stated is not None]
        yield from _gap("sensitivity", label, [(r.case, r.right) for r in its if r.present])
        yield from _gap("specificity", label, [(r.case, r.right) for r in its if not r.present])


def _gap(measure: str, of: str, flags: Sequence[Flag]) -> Iterator[Gap]:
    for variable in VARIABLES:
        of_group: dict[str, list[bool]] = defaultdict(list)
        for one, flag in flags:
            of_group[one.strata.get(variable, UNKNOWN)].append(flag)
        groups = sorted(of_group)
        if len(groups) == 2:
            groups = groups[:1]  # the other one would say the same once more
        for group in groups if len(of_group) > 1 else ():
            others = [flag for name, its in of_group.items() if name != group for flag in its]
            inside, rest = share(of_group[group]), share(others)
            yield Gap(variable, group, measure, of, inside, rest, difference(inside, rest))


# ---- what speaks against it -------------------------------------------------------------------
def _concerns(evidence: Evidence) -> Iterator[Concern]:
    if evidence.studies < TOO_FEW:
        yield Concern("few_studies", n=evidence.studies)
    if evidence.other_weights:
        yield Concern("other_weights", n=evidence.other_weights)
    if evidence.forgotten:
        yield Concern("forgotten", n=evidence.forgotten)
    broken = sum(evidence.endings[name].count for name in ("failed", "set_aside"))
    if broken:
        yield Concern("broken", n=broken)
    if not evidence.peers and not evidence.reference:
        yield Concern("no_truth")
    for peer in evidence.peers:
        if not peer.whole.enough:
            yield Concern("few_shared", peer.processor, peer.shared)
    if evidence.peers and not evidence.reference:
        yield Concern("no_reference")
    if evidence.reference:
        yield from _of_reference(evidence.reference, list(evidence.present))
    for gap in evidence.gaps:
        if gap.enough and gap.difference and gap.difference.clear:
            yield Concern("gap", gap=gap)


def _of_reference(reference: Reference, labels: Sequence[str]) -> Iterator[Concern]:
    if left := reference.unknown + reference.ambiguous:
        yield Concern("unmatched", n=left)
    for one in reference.labels:
        if not one.sensitivity.enough:
            yield Concern("few_positive", one.label, one.sensitivity.n)
        if not one.specificity.enough:
            yield Concern("few_negative", one.label, one.specificity.n)
        if one.not_judged:
            yield Concern("not_judged", one.label, one.not_judged)
    for label in sorted(set(labels) - {one.label for one in reference.labels}):
        yield Concern("unread", label)
