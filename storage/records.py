"""What the gateways take and return: frozen records, no ORM, no behaviour.

States as in the tables; times are aware UTC datetimes; JSON values are plain dicts and lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class StudyState(StrEnum):
    OPEN = "open"
    SETTLED = "settled"
    HELD = "held"


class RunState(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    UNSUITABLE = "unsuitable"
    FAILED = "failed"
    SET_ASIDE = "set_aside"
    SUPERSEDED = "superseded"


# before the key of a study of which only its order is known, no Study Instance UID
ORDER = "order:"
IMPRESSIONS, AGREEMENT = "impressions", "agreement"  # the processors of runs over texts
UNFINISHED = (RunState.RUNNING, RunState.READY, RunState.WAITING)  # the furthest on first


class DeliveryState(StrEnum):
    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    HELD = "held"
    GIVEN_UP = "given_up"


class CommitmentState(StrEnum):
    WANTED = "wanted"
    ASKED = "asked"
    COMMITTED = "committed"
    REFUSED = "refused"  # the peer failed to commit to it however often it was sent
    MISSING = "missing"  # the peer never said


class MessageKind(StrEnum):
    FINDINGS = "findings"
    FINAL = "final"


class MessageState(StrEnum):
    TAKEN = "taken"
    UNMATCHED = "unmatched"  # a final report of a study without any draft: nothing to compare
    OUTDATED = "outdated"  # findings that came after what was written later: no draft is made
    HELD = "held"
    CLOSED = "closed"  # held, and a person decided that nothing becomes of it


class TakenAs(StrEnum):
    """What became of a message that the inbox handed over."""

    NEW = "new"
    REPEAT = "repeat"  # same sender, control id and bytes: one row, counted
    CONFLICT = "conflict"  # same control id, other bytes: both are kept


class AddedAs(StrEnum):
    """What became of an instance that intake handed over."""

    NEW = "new"
    REPEAT = "repeat"  # same UID, same bytes: one row, counted
    CONFLICT = "conflict"  # same UID, other bytes; on_conflict decided, see Added


@dataclass(frozen=True, slots=True)
class Identity:
    """Who and what a study is, as text decoded from its first instance (empty where missing)."""

    study_uid: str
    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: str = ""
    accession: str = ""


@dataclass(frozen=True, slots=True)
class NewInstance:
    """One received instance whose bytes already lie durably in the spool.

    sha256: of the data set's bytes as received (without preamble and file meta). path: relative
    to the spool. headers: top-level DICOM keywords -> text, number or list of them, as far as
    short and not binary; what routing rules look at. identity: for the study's row.
    """

    sop_uid: str
    sop_class: str
    transfer_syntax: str
    series_uid: str
    identity: Identity
    sha256: str
    size: int
    path: str
    calling_ae: str
    called_ae: str
    address: str
    headers: Mapping[str, Any]
    received_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """kept: the bytes at `path` now count (False: the caller quarantines or removes them).

    refused: on_conflict=refuse, the sender hears A900. held: why the study is now held, or "".
    path: of a repeat whose bytes are not kept, where those lie that count.
    """

    kind: AddedAs
    kept: bool
    refused: bool = False
    held: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class StoredInstance:
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    series_uid: str
    study_uid: str
    sha256: str
    size: int
    path: str
    calling_ae: str
    address: str
    headers: Mapping[str, Any]
    received_at: datetime
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """`trace`: the last routing decision, as `plan` stored it. `reason`: why it is held."""

    uid: str
    state: StudyState
    identity: Identity
    reason: str
    first_received: datetime
    last_received: datetime
    instances: int
    planned_instances: int
    trace: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that routing wants: `instances` are the SOP Instance UIDs, `digest` of their content.

    urgent: STAT studies go first.
    """

    processor: str
    digest: str
    instances: tuple[str, ...]
    mode: str = "live"
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a processor on a settled study.

    attempt: the fencing token of a claim, never used twice. tries: the attempts that count
    towards the most allowed (a graceful stop or a person's retry takes them back).
    """

    id: int
    study_uid: str
    processor: str
    digest: str
    mode: str
    state: RunState
    instances: tuple[str, ...]
    attempt: int
    owner: str
    beat: int
    reason: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    predecessor: int | None
    urgent: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended, with what it said (None: nothing, or purged) and its study's accession."""

    run: Run
    accession: str
    analysis: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report file that already lies durably in the spool. destinations: names from node.yaml."""

    kind: str
    index: int
    uid: str
    sha256: str
    size: int
    path: str
    sop_class: str
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportRecord:
    id: int
    run_id: int
    kind: str
    index: int
    uid: str
    sha256: str
    size: int
    path: str
    sop_class: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A received report whose bytes already lie durably in the spool.

    sender: MSH-3 and MSH-4. identity: as the message says it, study_uid empty where it names none.
    patients: every (number, issuer) that it gives the patient. digest: of what a run would read.
    written: when its sender says that it was; None where it does not tell the minute.
    """

    sender: str
    control_id: str
    sha256: str
    size: int
    path: str
    kind: MessageKind
    identity: Identity
    patients: tuple[tuple[str, str], ...]
    digest: str
    placer: str
    filler: str
    address: str
    received_at: datetime
    urgent: bool = False
    written: datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """run_id: of the draft or the comparison; None while held or unmatched. path: "" once gone."""

    id: int
    sender: str
    control_id: str
    sha256: str
    size: int
    path: str
    kind: MessageKind
    state: MessageState
    reason: str
    study_uid: str
    run_id: int | None
    address: str
    received_at: datetime
    repeats: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message, and its row."""

    kind: TakenAs
    message: MessageRecord


@dataclass(frozen=True, slots=True)
class DraftFound:
    """The newest draft of a study. waits: one is still being made."""

    run: Run | None = None
    analysis: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = False


@dataclass(frozen=True, slots=True)
class AgreementRecord:
    """How a final report agrees with its draft. Texts are empty once retention took them.

    figures: plain JSON, as the comparison made it. reader: a hash, a name or "".
    """

    run_id: int
    draft_run_id: int
    study_uid: str
    reader: str
    language: str
    figures: Mapping[str, Any]
    findings: str
    draft: str
    impression: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One report on its way to one destination."""

    id: int
    run_id: int
    study_uid: str
    report: ReportRecord
    destination: str
    state: DeliveryState
    attempts: int
    next_try: datetime
    first_try: datetime | None
    created_at: datetime
    ended_at: datetime | None
    answer: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How one try of a delivery ended; see `Outbox.record`."""

    delivery: Delivery
    state: DeliveryState
    answer: str
    next_try: datetime | None = None
    audit: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """A delivery whose commitment is to be asked for. asked: how often it was."""

    delivery_id: int
    sop_class: str
    sop_uid: str
    asked: int


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a destination said of a delivery. asked: since it was sent last; refused: in all."""

    state: CommitmentState
    asked: int
    refused: int
    answer: str


@dataclass(frozen=True, slots=True)
class CommitmentTold:
    """What a report did: how many are safe, are sent again, or need a person."""

    destination: str
    committed: int
    again: int
    refused: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event to append, in the terms of PS3.15 A.5.

    event: EventID in DCM (110104 ...). kind: EventTypeCode in DCM or one of ours. action: C R U D
    E. outcome: 0 4 8 12. details: plain JSON; no pixel data, no report text, no patient name.
    """

    event: str
    action: str
    outcome: int = 0
    kind: str = ""
    study_uid: str = ""
    who: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    sequence: int
    at: datetime
    entry: AuditEntry
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Books:
    """The tally of a period: each study received stands in exactly one column.

    columns: completed, unsuitable, failed, set_aside, not_selected (no rule picked it; settled),
    held, waiting (settling, ready or running) -> number of studies. reasons: column -> reason ->
    number. difference = received - sum(columns); anything but 0 is an alarm.
    """

    received: int
    columns: Mapping[str, int]
    reasons: Mapping[str, Mapping[str, int]]

    @property
    def difference(self) -> int:
        return self.received - sum(self.columns.values())
