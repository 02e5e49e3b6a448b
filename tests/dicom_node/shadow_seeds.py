"""Ended runs put into a node's memory through its gateways: what shadow reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from storage_fixtures import NOON, STUDY, add, instance

from storage import Identity, PlannedRun, Run, RunState, Storage

WEIGHTS = "ab" * 32
CODES = {"pneumonia": ("SCT", "233604007", "Pneumonia")}


def study_uid(number: int) -> str:
    return f"{STUDY}.{number + 1}"


def analysis(
    states: Mapping[str, str],
    *,
    status: str = "completed",
    kind: str = "",
    weights: str = WEIGHTS,
    version: str = "1.4.0",
    strata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """As the pipeline stores it, as far as a comparison looks."""
    findings = []
    for label, state in states.items():
        scheme, value, meaning = CODES.get(label, ("", "", ""))
        code = {"scheme": scheme, "value": value, "meaning": meaning} if scheme else None
        findings.append({"label": label, "code": code, "state": state})
    return {
        "algorithm": {"name": "chest-vae", "version": version, "sha256": weights},
        "status": status,
        "findings": findings,
        "timings_ms": {"analyse": 40.0, "write": 10.0},
        "kind": kind,
        "strata": dict(strata or {}),
    }


def judged(
    storage: Storage,
    number: int,
    said: dict[str, Any],
    *,
    processor: str = "next",
    mode: str = "shadow",
    at: datetime = NOON,
    digest: str = "d",
) -> Run:
    """A study (received at its first mention) and one ended run of it."""
    study = study_uid(number)
    if storage.studies.get(study) is None:
        whose = Identity(study, f"P{number}", "", "Muñoz^Ana", "", f"ACC-{number}")
        add(storage, instance(study=study, identity=whose, at=at))
    wanted = [PlannedRun(processor, digest, (f"{study}.7.1",), mode=mode)]
    storage.studies.plan(study, wanted, trace=[], instances_seen=1, done=True, at=at)
    claimed = storage.runs.claim("host:1")
    assert claimed is not None
    state = RunState(said["status"])
    reason = "" if state is RunState.COMPLETED else "Not assessed because of the view."
    storage.runs.finish(claimed, state=state, reason=reason, analysis=said, reports=())
    return claimed
