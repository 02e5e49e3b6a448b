"""What one try means for a delivery: its next state, the wait, the words, the audit event.

Pure: clock, patience and chance come in as arguments. The rules: what a peer refused counts as a
refusal, what never reached it does not; a delivery is given up by its age, not by its tries; only
a wrong configuration is retried slowly. Never: a send, a row.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenacity import RetryCallState, Retrying, wait_exponential

from dicom_node.destinations import Fate, Outcome
from storage import AuditEntry, Delivery, DeliveryState

LONGEST_WAIT = 300.0  # seconds between two tries of a peer that is down
SLOW = (300.0, 900.0)  # seconds, where only a person can mend it (a wrong AE title)
MISMATCH = "identity mismatch"  # status of an outcome that is a security alert
_REFUSED = re.compile(r" \(refused (\d+)x\)$")
_ENDS = {
    Fate.DELIVERED: DeliveryState.DELIVERED,
    Fate.DELIVERED_WITH_WARNING: DeliveryState.DELIVERED,
    Fate.REJECTED: DeliveryState.REJECTED,
    Fate.HELD: DeliveryState.HELD,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one try means for a delivery's row."""

    state: DeliveryState
    answer: str
    next_try: datetime | None = None


def backoff(attempts: int, slow: bool, rng: random.Random) -> float:
    """Seconds until try `attempts` + 1: 1 s doubling to 5 min, of which 50 to 100 %.

    slow: only a person can mend it, so 5 to 15 min from the start.
    """
    if slow:
        return rng.uniform(*SLOW)
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = max(1, attempts)
    return wait_exponential(multiplier=1, max=LONGEST_WAIT)(state) * rng.uniform(0.5, 1.0)


def judge(
    delivery: Delivery, outcome: Outcome, now: datetime, patience: timedelta, wait: float
) -> Verdict:
    """The new state of a delivery after one try. wait: seconds until the next one, if any."""
    if outcome.fate in _ENDS:
        return Verdict(_ENDS[outcome.fate], outcome.answer)
    if not outcome.answer:  # not tried: as if it had not been claimed
        return Verdict(DeliveryState.WAITING, delivery.answer, now)
    if now >= deadline(delivery, patience):
        return Verdict(DeliveryState.GIVEN_UP, f"given up: {outcome.answer}")
    refusals = refusals_so_far(delivery) + outcome.refused
    answer = f"{outcome.answer[:900]} (refused {refusals}x)" if refusals else outcome.answer
    return Verdict(DeliveryState.WAITING, answer, now + timedelta(seconds=wait))


def deadline(delivery: Delivery, patience: timedelta) -> datetime:
    """When it is given up. One that a person sent again after that counts from its first try."""
    normal = delivery.created_at + patience
    again = delivery.answer and delivery.first_try and delivery.first_try >= normal
    return delivery.first_try + patience if again and delivery.first_try else normal


def refusals_so_far(delivery: Delivery) -> int:
    """How often the peer refused this content, as the kept answer says; 0 after a person's retry.

    It stands in the answer, because tries while a peer is down must not count as refusals.
    """
    found = _REFUSED.search(delivery.answer) if delivery.attempts > 1 else None
    return int(found[1]) if found else 0


def audit_entry(
    delivery: Delivery, outcome: Outcome, found: Verdict, *, exported: bool
) -> AuditEntry:
    """The event for one try, in the terms of PS3.15 A.5.3 (begin stands there since the claim).

    exported: what leaves as HL7 or into a folder is an Export, no transfer of DICOM instances.
    """
    report = delivery.report
    details: dict[str, object] = {
        "destination": delivery.destination,
        "run": delivery.run_id,
        "report": report.uid,
        "kind": report.kind,
        "instances": 1,
        "attempt": delivery.attempts,
        "status": outcome.status,
        "answer": found.answer,
    }
    if outcome.status == MISMATCH:
        kind = "identity.mismatch"
        return AuditEntry("110113", "E", 8, kind, delivery.study_uid, details=details)
    event = "110106" if exported else "110104"
    kind = f"delivery.{found.state.value}"
    outcomes = {DeliveryState.DELIVERED: 0, DeliveryState.WAITING: 4}
    level = outcomes.get(found.state, 8)
    return AuditEntry(event, "R", level, kind, delivery.study_uid, details=details)
