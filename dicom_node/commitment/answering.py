"""Reads the box: enters reports that came, and reports to those who asked us.

What we commit to has its row and its file at that moment; what is answered and not filed yet is
waited for. A requester that cannot be reached is tried again for a day.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from config.settings import Peer
from dicom_node.commitment import box, line, words
from dicom_node.commitment.asking import take
from dicom_node.commitment.box import Letter
from dicom_node.commitment.events import EventName
from dicom_node.commitment.hearing import NO_PORT, address_of
from dicom_node.commitment.line import Party, Trouble
from dicom_node.commitment.words import Report, Request
from dicom_node.verdict import backoff
from storage import AuditEntry, Storage, pending

PATIENCE = 86400.0  # seconds for a requester to be reached
FILING = 60.0  # seconds in which what was answered is filed
TIMEOUT = 10.0

log = structlog.get_logger()


@dataclass(slots=True)
class Answerer:
    """us: our AE title."""

    us: str
    accept_from: Sequence[Peer] | str
    storage: Storage
    on_event: Callable[[str], None]
    _not_before: dict[str, float] = field(default_factory=dict)  # by AE title of the requester
    _failures: dict[str, int] = field(default_factory=dict)
    _rng: random.Random = field(default_factory=random.Random)

    def step(self) -> bool:
        """Look at every letter once; False: nothing to hurry for."""
        for letter in box.letters(self.storage.spool):
            if isinstance(letter.said, Report):
                take(self.storage, letter.said, self.on_event)
                self.storage.spool.remove(letter.path)
            elif time.monotonic() >= self._not_before.get(letter.calling, 0.0):
                self._answer(letter, letter.said)
        return False

    def _answer(self, letter: Letter, asked: Request) -> None:
        unfiled = pending(self.storage.spool.arrivals)
        if unfiled and letter.age < FILING:
            return
        held = self.storage.studies.held([uid for _, uid in asked.instances])
        report = words.judged(asked, held, lambda path: self.storage.spool.path(path).is_file())
        where = address_of(letter.calling, letter.address, self.accept_from)
        trouble: Trouble | None = Trouble(NO_PORT, reached=True)
        if where:
            trouble = line.tell(Party(self.us, letter.calling, *where, TIMEOUT), report)
        if trouble is None:
            self._failures.pop(letter.calling, None)
            self._end(letter, report, EventName.ANSWERED, "")
        elif letter.age > PATIENCE:
            self._end(letter, report, EventName.UNANSWERED, trouble.why)
        else:
            failures = self._failures[letter.calling] = self._failures.get(letter.calling, 0) + 1
            pause = backoff(failures, False, self._rng)
            self._not_before[letter.calling] = time.monotonic() + pause
            log.warning(
                EventName.UNANSWERED, calling=letter.calling, why=trouble.why,
                next_in=round(pause, 1),
            )  # fmt: skip

    def _end(self, letter: Letter, report: Report, event: EventName, why: str) -> None:
        details = {
            "transaction": report.transaction_uid, "kept": len(report.kept),
            "failed": len(report.failed), "address": letter.address, "why": why,
        }  # fmt: skip
        outcome = 8 if why else 0
        self.storage.audit.append(
            AuditEntry("110104", "R", outcome, event.value, "", letter.calling, details)
        )
        say = log.error if why else log.info
        say(event, calling=letter.calling, **details)
        self.on_event(event)
        self.storage.spool.remove(letter.path)
