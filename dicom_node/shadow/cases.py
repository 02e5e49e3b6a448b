"""One study as one processor judged it, read out of what storage remembers.

In: an ended run with its analysis. Out: a Case: states by label, group, time. Never: pixels, a
patient's name or number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dicom_node import story
from processors import State
from storage import EndedRun

_GRAVITY = (State.ABSENT, State.UNDETERMINED, State.PRESENT)


@dataclass(frozen=True, slots=True)
class Stated:
    """What was said of one label in a study: the gravest of its images. code: "SCT:233604007".

    names: what reports call it, in each language.
    """

    label: str
    code: str
    state: State
    names: tuple[str, ...] = ()

    def means(self, other: Stated) -> bool:
        """Whether both speak of the same finding: the same code, else the same label."""
        if self.code and other.code:
            return self.code == other.code
        return self.is_called(other.label)

    def is_called(self, name: str) -> bool:
        """Whether `name` is this label, its code's value or its name in a report, in any case."""
        known = (self.label, self.code.rpartition(":")[2], *self.names)
        return name.strip().casefold() in {one.casefold() for one in known}


@dataclass(frozen=True, slots=True)
class Case:
    """A study and what one processor made of it; status as in the tables (run states).

    anatomy: labels of parts of the body, at which nobody is alarmed.
    """

    study_uid: str
    accession: str
    run: int
    mode: str
    day: date
    status: str
    reason: str = ""
    kind: str = ""
    seconds: float | None = None
    weights: str = ""
    version: str = ""
    stated: tuple[Stated, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    anatomy: frozenset[str] = frozenset()

    @property
    def judged(self) -> bool:
        return self.status == "completed"

    @property
    def alerts(self) -> bool:
        """Whether any finding was called present."""
        found = (one for one in self.stated if one.label not in self.anatomy)
        return any(one.state is State.PRESENT for one in found)

    def on(self, finding: Stated) -> Stated | None:
        """What this case says of the finding that `finding` speaks of."""
        return next((one for one in self.stated if one.means(finding)), None)


def newest(ended: Iterable[EndedRun]) -> tuple[Case, ...]:
    """One case a study: later images make a new run, and that one counts."""
    found: dict[str, Case] = {}
    for one in ended:
        found[one.run.study_uid] = case(one)
    return tuple(found.values())


def case(ended: EndedRun) -> Case:
    """The case of one ended run; an analysis that retention took leaves what the row says."""
    run, analysis = ended.run, ended.analysis or {}
    algorithm = analysis.get("algorithm") or {}
    took = run.ended_at - run.started_at if run.ended_at and run.started_at else None
    return Case(
        study_uid=run.study_uid,
        accession=ended.accession,
        run=run.id,
        mode=run.mode,
        day=run.created_at.date(),
        status=run.state.value,
        reason=run.reason,
        kind=analysis.get("kind", ""),
        seconds=took.total_seconds() if took else None,
        weights=algorithm.get("sha256", ""),
        version=algorithm.get("version", ""),
        stated=_stated(analysis.get("findings", ())),
        timings_ms={k: v for k, v in analysis.get("timings_ms", {}).items() if v is not None},
        strata=analysis.get("strata", {}),
        anatomy=frozenset(f["label"] for f in analysis.get("findings", ()) if f.get("anatomy")),
    )


def _stated(findings: Iterable[Mapping[str, Any]]) -> tuple[Stated, ...]:
    gravest: dict[str, Stated] = {}
    for finding in findings:
        code = finding.get("code") or {}
        name = f"{code['scheme']}:{code['value']}" if code else ""
        names = tuple(story.finding_name(finding, language) for language in ("en", "es"))
        one = Stated(finding["label"], name, State(finding["state"]), names)
        known = gravest.get(one.label)
        if known is None or _GRAVITY.index(one.state) > _GRAVITY.index(known.state):
            gravest[one.label] = one
    return tuple(gravest[label] for label in sorted(gravest))
