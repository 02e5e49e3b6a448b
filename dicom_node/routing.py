"""Decides which processor judges which study, when, and says why.

DICOM has no "end of study" (PS3.4 annex B stores single instances), so silence must stand in for
it: a processor's quiet time restarts with every instance, up to a longest wait. Pure: the study's
instances and the time come in as arguments; nothing here sleeps, stores or sends.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config import Settings
from config.settings import Processor, Settle
from dicom_node import product, rules
from storage import PlannedRun, StoredInstance

# PS3.4 table B.5-1: reports, segmentations, presentation states, documents are results, not input
_NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.88.": "structured report",
    "1.2.840.10008.5.1.4.1.1.66.": "segmentation, registration or raw data",
    "1.2.840.10008.5.1.4.1.1.11.": "presentation state",
    "1.2.840.10008.5.1.4.1.1.104.": "encapsulated document",
    "1.2.840.10008.5.1.4.1.1.9.": "waveform",
    "1.2.840.10008.5.1.4.1.1.481.": "radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.30": "parametric map",
}
_URGENT = frozenset({"STAT", "HIGH"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What one processor gets of a study at this moment.

    wait: seconds until it may settle; 0 when it has. skipped: reason -> number of instances.
    """

    processor: Processor
    picked: tuple[StoredInstance, ...]
    skipped: Mapping[str, int]
    wait: float

    def trace(self) -> dict[str, Any]:
        """The decision as plain data, for the database and for `dictamen explain`."""
        return {
            "processor": self.processor.name,
            "picked": [instance.sop_uid for instance in self.picked],
            "skipped": dict(self.skipped),
            "settled": self.wait <= 0,
            "wait": round(self.wait, 3),
        }


def choose(
    settings: Settings, instances: Sequence[StoredInstance], planned: int, now: datetime
) -> tuple[Choice, ...]:
    """For each processor, in the order of node.yaml: what it picks and how long it still waits.

    planned: how many instances the last plan had seen; the longest wait counts from the first
    one that came after it.
    """
    arrivals = sorted(instance.received_at for instance in instances)
    found = []
    for processor in settings.processors:
        picked, skipped = _pick(processor, instances)
        wait = waiting(processor.settle, arrivals, planned, len(picked), now)
        found.append(Choice(processor, picked, skipped, wait))
    return tuple(found)


def waiting(
    settle: Settle, arrivals: Sequence[datetime], planned: int, picked: int, now: datetime
) -> float:
    """Seconds until a study with these arrivals (ascending) is taken as complete; 0 if it is.

    A clock that went back would make an arrival lie in the future and the wait endless: such a
    study counts as quiet, and later instances supersede the run.
    """
    if settle.expect and picked >= settle.expect.instances:
        return 0.0
    if arrivals[-1] > now:
        return 0.0
    first = arrivals[min(planned, len(arrivals) - 1)]
    quiet = arrivals[-1] + timedelta(seconds=settle.quiet) - now
    longest = first + timedelta(seconds=settle.longest) - now
    return max(0.0, min(quiet, longest).total_seconds())


def plan(choices: Sequence[Choice]) -> tuple[PlannedRun, ...]:
    """The runs of those processors that have settled and have picked something."""
    return tuple(
        PlannedRun(
            processor=choice.processor.name,
            digest=digest(choice.picked),
            instances=tuple(sorted(instance.sop_uid for instance in choice.picked)),
            mode=choice.processor.mode,
            urgent=any(_is_urgent(instance.headers) for instance in choice.picked),
        )
        for choice in choices
        if choice.picked and choice.wait <= 0
    )


def digest(instances: Sequence[StoredInstance]) -> str:
    """What was judged, whatever the order of arrival: SHA-256 over sorted UIDs and contents."""
    lines = sorted(f"{instance.sop_uid} {instance.sha256}" for instance in instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def not_input(headers: Mapping[str, Any], sop_class: str) -> str:
    """Why an instance is never analysed whatever the rules say, or "".

    Never by the root of its UID. A radiograph in the Secondary Capture class with Modality CR or
    DX is input, and so is DERIVED\\PRIMARY.
    """
    if product.MANUFACTURER in _as_list(headers.get("ContributingEquipment")):
        return "a result of this product"
    for prefix, what in _NOT_IMAGES.items():
        if sop_class.startswith(prefix):
            return f"{'an' if what[0] in 'aeiou' else 'a'} {what}, no image"
    kinds = [str(kind) for kind in _as_list(headers.get("ImageType"))]
    if "SECONDARY" in kinds[1:2] and headers.get("Modality") in ("OT", "SC"):
        return "a secondary capture of another program"
    return ""


def _pick(
    processor: Processor, instances: Sequence[StoredInstance]
) -> tuple[tuple[StoredInstance, ...], Mapping[str, int]]:
    rule, picked, skipped = rules.parse(processor.when), [], Counter[str]()
    for instance in instances:
        headers = {**instance.headers, rules.CALLING: instance.calling_ae}
        if why := not_input(headers, instance.sop_class):
            skipped[f"it is {why}"] += 1
            continue
        answer = rule.ask(headers)
        if answer.holds:
            picked.append(instance)
        else:
            skipped[answer.why] += 1
    return tuple(picked), dict(skipped)


def _is_urgent(headers: Mapping[str, Any]) -> bool:
    return str(headers.get("RequestedProcedurePriority", "")).strip().upper() in _URGENT


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
