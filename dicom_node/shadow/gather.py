"""Reads from storage what `evidence` compares. The only part of this folder that touches it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from dicom_node.shadow import cases, evidence
from dicom_node.shadow.evidence import Evidence
from dicom_node.shadow.reference import Reading
from storage import Storage


def gather(
    storage: Storage,
    processor: str,
    readings: Sequence[Reading] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Evidence:
    """The evidence of a processor's runs in shadow, planned from `since` until before `until`."""
    mine = cases.newest(storage.runs.ended(processor, "shadow", since=since, until=until))
    others = sorted(
        name for name, mode in storage.runs.tally() if mode == "live" and name != processor
    )
    first = min((one.day for one in mine), default=None)
    live = {}
    if first is not None:
        before = datetime.combine(first, time(), UTC) - timedelta(days=1)  # it may settle sooner
        live = {
            name: cases.newest(storage.runs.ended(name, "live", since=before)) for name in others
        }
    return evidence.assemble(processor, mine, live, readings)
