"""Decides what stands against recording a promotion, and words its audit event.

In: evidence, what the bundle that node.yaml names holds now, who and why. Out: objections, an
audit entry (PS3.15 A.5.3.10, Security Alert: the software configuration is meant to change).
Never: node.yaml, which a person changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dicom_node.shadow.evidence import Evidence
from processors.analysis import Algorithm
from storage import AuditEntry, AuditRecord

PROMOTED = "processor.promoted"
REFUSED = "processor.promotion_refused"
DEMOTED = "processor.demoted"


def objections(evidence: Evidence, now: Algorithm) -> tuple[str, ...]:
    """Why a promotion is refused unless somebody overrules it; () if nothing is. In English.

    now: what the bundle in node.yaml holds. The version of a remote model nobody knows beforehand.
    """
    if not evidence.judged:
        return (f"{evidence.processor} has no run in shadow with a result",)
    if evidence.weights != now.sha256:
        return (
            f"the evidence is of weights {_short(evidence.weights)}, the bundle in node.yaml holds "
            f"{_short(now.sha256)}",
        )
    if now.sha256 and evidence.version != now.version:
        return (
            f"the evidence is of version {evidence.version}, the bundle in node.yaml is "
            f"{now.version}",
        )
    return ()


def _short(weights: str) -> str:
    return weights[:12] or "unknown"


def promotion(
    evidence: Evidence,
    *,
    who: str,
    reason: str,
    against: Sequence[str],
    overruled: bool,
    more: Mapping[str, Any],
) -> AuditEntry:
    """The event of a promotion, or of one that was refused (PS3.15: 4, minor failure)."""
    refused = bool(against) and not overruled
    details = {
        "processor": evidence.processor,
        "reason": reason,
        "version": evidence.version,
        "weights_sha256": evidence.weights,
        "studies": evidence.studies,
        "evidence_sha256": evidence.sha256,
        "concerns": sorted({one.kind for one in evidence.concerns}),
        "objections": list(against),
        "overruled": overruled,
        **more,
    }
    kind = REFUSED if refused else PROMOTED
    return AuditEntry("110113", "E", 4 if refused else 0, kind, who=who, details=details)


def demotion(processor: str, *, who: str, reason: str, more: Mapping[str, Any]) -> AuditEntry:
    """The event of a processor's way back into shadow."""
    details = {"processor": processor, "reason": reason, **more}
    return AuditEntry("110113", "E", 0, DEMOTED, who=who, details=details)


def standing(records: Sequence[AuditRecord], processor: str) -> AuditRecord | None:
    """The last word on a processor: its newest promotion or demotion."""
    its = [
        one
        for one in records
        if one.entry.kind in (PROMOTED, DEMOTED) and one.entry.details["processor"] == processor
    ]
    return its[-1] if its else None


def is_promoted(last: AuditRecord | None) -> bool:
    """Whether the last word on a processor is a promotion."""
    return last is not None and last.entry.kind == PROMOTED


def remark(mode: str, last: AuditRecord | None, shadow_runs: int, now: Algorithm | None) -> str:
    """What `dictamen processors list` says of the mode in node.yaml; noted, never blocked.

    now: what the bundle holds; asked for only where `is_promoted`, None otherwise.
    """
    if mode == "shadow":
        return "promoted, still in shadow" if is_promoted(last) else ""
    if last is None:
        return "live without a promotion" if shadow_runs else "live, never in shadow"
    if not is_promoted(last):
        return "live, although it was demoted"
    details = last.entry.details
    if now and details["weights_sha256"] != now.sha256:
        return "live with other weights than were promoted"
    if now and now.sha256 and details["version"] not in ("", now.version):
        return "live in another version than was promoted"
    return ""
