"""Joins what was drafted with how it was scored and judged into one record of figures.

In: a CaseSet, Systems, Judges. Out: a Measured: every report's ROUGE for the plots and a record
(plain numbers, JSON) by group and system. Baselines always stand in it; every system is paired
with kNN-7, with itself before training and with itself without its guard. Pure.
Never: a mean without its interval; one number for easy and hard reports alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.training.impressions import judging, scores
from processors.training.impressions.baselines import baselines
from processors.training.impressions.cases import CaseSet
from processors.training.impressions.judging import Judge
from processors.training.impressions.scores import KINDS, ROUNDS, Draws, Numbers
from processors.training.impressions.systems import System

YARDSTICK = "knn-7"
NO_GUARD = ", no guard"
SEED = 0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One data set. rouge: by system (cases, len(KINDS)). masks: by group (cases,)."""

    record: dict[str, Any]
    rouge: dict[str, Numbers]
    masks: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One system on every case. found: by judge (cases, 9). critical: (cases, 2)."""

    rouge: Numbers
    found: dict[str, Numbers]
    critical: Numbers

    def of(self, mask: NDArray[np.bool_]) -> _Scored:
        found = {name: rows[mask] for name, rows in self.found.items()}
        return _Scored(self.rouge[mask], found, self.critical[mask])


def evaluate(
    cases: CaseSet,
    systems: Sequence[System],
    judges: Sequence[Judge] = (),
    *,
    rounds: int = ROUNDS,
    tell: Tell = lambda _: None,
) -> Measured:
    """Score everything. Raises ValueError when two systems have one name."""
    tell("baselines")
    always = [System(k, v) for k, v in baselines(cases.cases, cases.reports).items()]
    entered = [*always, *systems, *_without_guard(systems)]
    names = [system.name for system in entered]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two systems are called {', '.join(twice)}: give one another name.")
    jury = (judging.OWN, *judges)
    scored = {}
    for system in entered:
        tell(system.name)
        scored[system.name] = _score(cases, system, jury)
    masks = cases.masks()
    generator, groups = np.random.default_rng(SEED), {}
    draw_groups = np.array(cases.draw_groups())
    for name, mask in masks.items():
        tell(name)
        drawn = scores.draws(list(draw_groups[mask]), generator, rounds)
        groups[name] = _group(scored, mask, drawn, systems)
    record = {
        "data": cases.name,
        "reports": len(cases.cases),
        "copied_from": len(cases.reports),
        "rounds": rounds,
        "judges": {
            judge.name: {"own": judge.own, "labels": judge.labels is not None} for judge in jury
        },
        "groups": groups,
        "lacking": {system.name: system.lacking for system in systems},
        "cut": {
            s.name: {"inputs": s.cut.inputs, "tokens": s.cut.tokens, "outputs": s.cut.outputs}
            for s in systems
            if s.cut
        },
        "bad_rows": list(cases.bad),
    }
    return Measured(record, {name: each.rouge for name, each in scored.items()}, masks)


def _without_guard(systems: Sequence[System]) -> list[System]:
    return [System(s.name + NO_GUARD, s.unguarded) for s in systems if s.unguarded is not None]


def _score(cases: CaseSet, system: System, jury: Sequence[Judge]) -> _Scored:
    drafts = [system.drafts.get(case.uid, "") for case in cases.cases]
    rouge = [
        scores.rouge(draft, case.impression, case.language)
        for draft, case in zip(drafts, cases.cases, strict=True)
    ]
    found = {judge.name: judging.counts(judge, cases.cases, drafts) for judge in jury}
    return _Scored(np.array(rouge), found, judging.critical(cases.cases, drafts))


def _group(
    scored: dict[str, _Scored],
    mask: NDArray[np.bool_],
    drawn: Draws,
    systems: Sequence[System],
) -> dict[str, Any]:
    inside = {name: each.of(mask) for name, each in scored.items()}
    anyone = next(iter(inside.values()))
    told: dict[str, Any] = {"n": int(mask.sum()), "systems": {}, "against": {}}
    told["ceiling"] = {name: judging.ceiling(rows) for name, rows in anyone.found.items()}
    for name, each in inside.items():
        told["systems"][name] = {
            **{kind: scores.distribution(each.rouge[:, k], drawn) for k, kind in enumerate(KINDS)},
            "findings": {judge: judging.shares(rows, drawn) for judge, rows in each.found.items()},
            "critical": judging.left_out(each.critical, drawn),
        }
    pairs = [(name, YARDSTICK) for name in inside if name != YARDSTICK and YARDSTICK in inside]
    pairs += [(s.name, s.before) for s in systems if s.before in inside]
    pairs += [(s.name, s.name + NO_GUARD) for s in systems if s.unguarded is not None]
    for ours, theirs in pairs:
        told["against"].setdefault(ours, {})[theirs] = _difference(
            inside[ours], inside[theirs], drawn
        )
    return told


def _difference(ours: _Scored, theirs: _Scored, drawn: Draws) -> dict[str, Any]:
    return {
        **{
            kind: scores.difference(ours.rouge[:, k], theirs.rouge[:, k], drawn)
            for k, kind in enumerate(KINDS)
        },
        "f1": {
            judge: judging.f1_difference(rows, theirs.found[judge], drawn)
            for judge, rows in ours.found.items()
        },
    }
