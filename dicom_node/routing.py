"""Decides which processor judges which study, when, and says why.

DICOM has no "end of study" (PS3.4 annex B stores single instances), so silence must stand in for
it: a processor's quiet time restarts with every instance, up to a longest wait. Pure: the study's
instances and the time come in as arguments; nothing here sleeps, stores or sends.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config import Settings
from config.settings import Processor, Settle
from dicom_node import product, rules
from storage import MessageKind, PlannedRun, StoredInstance, StudyRecord
from storage.records import AGREEMENT, IMPRESSIONS

# PS3.4 table B.5-1: reports, segmentations, presentation states, documents are results, not input
_NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.88.": {"en": "a structured report", "es": "un informe estructurado"},
    "1.2.840.10008.5.1.4.1.1.66.": {
        "en": "a segmentation, registration or raw data",
        "es": "una segmentación, un registro o datos crudos",
    },
    "1.2.840.10008.5.1.4.1.1.11.": {
        "en": "a presentation state",
        "es": "un estado de presentación",
    },
    "1.2.840.10008.5.1.4.1.1.104.": {
        "en": "an encapsulated document",
        "es": "un documento encapsulado",
    },
    "1.2.840.10008.5.1.4.1.1.9.": {"en": "a waveform", "es": "una señal"},
    "1.2.840.10008.5.1.4.1.1.481.": {
        "en": "a radiotherapy object",
        "es": "un objeto de radioterapia",
    },
    "1.2.840.10008.5.1.4.1.1.30": {"en": "a parametric map", "es": "un mapa paramétrico"},
}
_TEXT = {
    "en": {
        "it is": "it is {}",
        "no image": "{}, no image",
        "ours": "a result of this product",
        "capture": "a secondary capture of another program",
    },
    "es": {
        "it is": "es {}",
        "no image": "{}, no una imagen",
        "ours": "un resultado de este programa",
        "capture": "una captura secundaria de otro programa",
    },
}
# Basic Text SR, Enhanced SR, Comprehensive SR: what a person dictates comes in these
TEXT_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{last}" for last in (11, 22, 33))
_OVER_TEXTS = {MessageKind.FINDINGS: IMPRESSIONS, MessageKind.FINAL: AGREEMENT}
_URGENT = frozenset({"STAT", "HIGH"})


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of the silence beside the arrivals; forgetting it costs time, nothing else.

    since: nobody listened before, so no silence before it counts: after a restart each wait begins
    anew. released: when the sender of the study released its association.
    """

    since: datetime | None = None
    released: datetime | None = None

    def arrivals(self, received: Iterable[datetime]) -> list[datetime]:
        """Ascending, none before anybody listened."""
        return sorted(max(one, self.since) if self.since else one for one in received)

    def shortened(self, settle: Settle, last: datetime) -> Settle:
        """The rule that holds now: less silence is enough after a release that ended the sending.

        The intake files in the order of the answers, so a release is never heard before the last
        arrival; one that came with an earlier association is older than what came since.
        """
        if settle.release is None or self.released is None or self.released < last:
            return settle
        return settle.model_copy(update={"quiet": min(settle.quiet, settle.release)})


ALWAYS = Heard()


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
    settings: Settings,
    instances: Sequence[StoredInstance],
    planned: int,
    now: datetime,
    heard: Heard = ALWAYS,
) -> tuple[Choice, ...]:
    """For each processor, in the order of node.yaml: what it picks and how long it still waits.

    planned: how many instances the last plan had seen; the longest wait counts from the first
    one that came after it.
    """
    arrivals = heard.arrivals(instance.received_at for instance in instances)
    found = []
    for processor in settings.processors:
        picked, skipped = _pick(processor, instances, settings.node.language)
        settle = heard.shortened(processor.settle, arrivals[-1])
        wait = waiting(settle, arrivals, planned, len(picked), now)
        found.append(Choice(processor, picked, skipped, wait))
    return tuple(found)


def texts(instances: Sequence[StoredInstance], *, drafted: bool) -> tuple[PlannedRun, ...]:
    """The runs over the structured reports of a study: the newest findings, the newest final.

    Findings that came before a final one are drafted no more: the draft would stand behind what was
    signed. drafted: the study has a draft, or will have one; without it a final report has no use.
    """
    newest: dict[MessageKind, StoredInstance] = {}
    for stored in sorted(instances, key=lambda one: (one.received_at, one.sop_uid)):
        if stored.sop_class in TEXT_REPORTS and not _is_ours(stored.headers):
            verified = stored.headers.get("VerificationFlag") == "VERIFIED"
            if verified:
                newest.pop(MessageKind.FINDINGS, None)
            newest[MessageKind.FINAL if verified else MessageKind.FINDINGS] = stored
    found: list[PlannedRun] = []
    for kind, processor in _OVER_TEXTS.items():
        if kind in newest and (drafted or found or kind is MessageKind.FINDINGS):
            stored = newest[kind]
            found.append(PlannedRun(processor, stored.sha256, (stored.sop_uid,)))
    return tuple(found)


def waiting(
    settle: Settle, arrivals: Sequence[datetime], planned: int, picked: int, now: datetime
) -> float:
    """Seconds until a study with these arrivals (ascending) is taken as complete; 0 if it is.

    Another machine's clock may be a little ahead: an arrival in the future counts as now. If it
    lies further ahead than the longest wait, our clock went back, and the wait would be endless:
    such a study counts as quiet, and later instances supersede the run.
    """
    if settle.expect and picked >= settle.expect.instances:
        return 0.0
    if arrivals[-1] > now + timedelta(seconds=settle.longest):
        return 0.0
    first = min(now, arrivals[min(planned, len(arrivals) - 1)])
    quiet = min(now, arrivals[-1]) + timedelta(seconds=settle.quiet) - now
    longest = first + timedelta(seconds=settle.longest) - now
    return max(0.0, min(quiet, longest).total_seconds())


def soonest(settings: Settings, study: StudyRecord, now: datetime, heard: Heard = ALWAYS) -> float:
    """Seconds until a look at the study's instances can be worth it; cheap, and never too long."""
    first, last = heard.arrivals((study.first_received, study.last_received))
    rules_of = [heard.shortened(processor.settle, last) for processor in settings.processors]
    if any(rule.expect for rule in rules_of) or study.planned_instances or last > now:
        return 0.0
    quiet = min((rule.quiet for rule in rules_of), default=0.0)
    longest = min((rule.longest for rule in rules_of), default=0.0)
    return max(
        0.0,
        min(
            quiet - (now - last).total_seconds(),
            longest - (now - first).total_seconds(),
        ),
    )


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


def not_input(headers: Mapping[str, Any], sop_class: str, language: str = "en") -> str:
    """Why an instance is never analysed whatever the rules say, or "".

    Never by the root of its UID. A radiograph in the Secondary Capture class with Modality CR or
    DX is input, and so is DERIVED\\PRIMARY.
    """
    if _is_ours(headers):
        return _TEXT[language]["ours"]
    for prefix, what in _NOT_IMAGES.items():
        if sop_class.startswith(prefix):
            return _TEXT[language]["no image"].format(what[language])
    kinds = [str(kind) for kind in _as_list(headers.get("ImageType"))]
    if "SECONDARY" in kinds[1:2] and headers.get("Modality") in ("OT", "SC"):
        return _TEXT[language]["capture"]
    return ""


def _pick(
    processor: Processor, instances: Sequence[StoredInstance], language: str
) -> tuple[tuple[StoredInstance, ...], Mapping[str, int]]:
    rule, picked, skipped = rules.parse(processor.when), [], Counter[str]()
    for instance in instances:
        headers = {**instance.headers, rules.CALLING: instance.calling_ae}
        if why := not_input(headers, instance.sop_class, language):
            skipped[_TEXT[language]["it is"].format(why)] += 1
            continue
        answer = rule.ask(headers, language)
        if answer.holds:
            picked.append(instance)
        else:
            skipped[answer.why] += 1
    return tuple(picked), dict(skipped)


def _is_ours(headers: Mapping[str, Any]) -> bool:
    return product.MANUFACTURER in _as_list(headers.get("ContributingEquipment"))


def _is_urgent(headers: Mapping[str, Any]) -> bool:
    return str(headers.get("RequestedProcedurePriority", "")).strip().upper() in _URGENT


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
