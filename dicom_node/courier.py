"""Carries reports from the outbox to their destinations, and keeps trying.

One thread per destination, so that a dead one delays no other. Just before a send the bytes are
compared with their recorded digest and with the study's identity (a difference is held and
audited, never sent). A peer that does not answer pauses its own lane; what waits keeps its place,
so after an outage everything goes in order, under the same UIDs. Killing this process is safe:
what was being sent waits again at the next start, and the peer sees a duplicate at worst.
Never: a model, a changed byte, two couriers on one outbox, a peer's free text in a log.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog

from dicom_node.destinations import Destination, Fate, Outcome, Parcel
from dicom_node.verdict import MISMATCH, Verdict, audit_entry, backoff, judge, refusals_so_far
from reports import identity
from storage import Delivery, DeliveryState, Ending, Storage, StorageError, StudyRecord, StudyState

BATCH = 20  # deliveries in one association; while a peer is down one is enough to ask
HELD_BYTES = 32 * 2**20  # of reports in memory, before they are sent and the next are read
FAREWELL = 15.0  # seconds that sends under way get at a stop, within the service's 20
_IDLE = 1.0  # seconds until a lane looks again, where all that waits is not yet due
DAMAGED, UNKNOWN_STUDY = "report damaged", "study unknown"
NOT_CARRIED, OUTDATED = "not carried", "outdated"
_CORRECTED = frozenset({"patient_name", "birth_date", "accession"})  # at the source, since it ran

log = structlog.get_logger()
OnEvent = Callable[[str], None]


class Event(StrEnum):
    """What the courier logs and counts."""

    DELIVERED = "delivery.delivered"
    WAITS = "delivery.waits"
    REJECTED = "delivery.rejected"
    HELD = "delivery.held"
    GIVEN_UP = "delivery.given_up"
    MISMATCH = "delivery.identity_mismatch"
    LOST = "delivery.no_longer_ours"
    RECOVERED = "courier.recovered"
    DOWN = "destination.down"
    REFUSES = "destination.refuses_us"
    ANSWERS = "destination.answers_again"
    NOT_CONFIGURED = "destination.not_configured"
    NO_STORAGE = "courier.storage_unavailable"
    FAILED = "courier.step_failed"
    STILL_SENDING = "courier.still_sending"


_OUR_OWN = frozenset({MISMATCH, DAMAGED, UNKNOWN_STUDY, NOT_CARRIED, OUTDATED})
_EVENTS = {
    DeliveryState.DELIVERED: Event.DELIVERED,
    DeliveryState.WAITING: Event.WAITS,
    DeliveryState.REJECTED: Event.REJECTED,
    DeliveryState.HELD: Event.HELD,
    DeliveryState.GIVEN_UP: Event.GIVEN_UP,
}


def run(
    storage: Storage,
    destinations: Mapping[str, tuple[Destination, float]],
    stopping: threading.Event,
    *,
    on_event: OnEvent | None = None,
    poll: float = 0.25,
    news: News | None = None,
    committing: Collection[str] = (),
) -> None:
    """Deliver until `stopping`; destinations: name -> (sender, seconds until given up).

    news: told when reports were filed; else each lane looks every `poll` seconds.
    committing: those that shall commit to what they stored.
    """
    notice = on_event or (lambda _event: None)
    news = news or News()
    if not _recover(storage, stopping):
        return
    _name_the_unknown(storage, destinations, notice)
    lanes = [
        Lane(
            storage,
            destination,
            give_up_after,
            stopping,
            notice,
            news.ear(),
            commits=name in committing,
        )
        for name, (destination, give_up_after) in destinations.items()
    ]
    threads = [
        threading.Thread(target=lane.run, args=(poll,), name=f"to {lane.name}", daemon=True)
        for lane in lanes
    ]
    for thread in threads:
        thread.start()
    stopping.wait()
    news.tell()
    deadline = time.monotonic() + FAREWELL
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():  # its deliveries wait again after the next start
            log.warning(Event.STILL_SENDING, lane=thread.name)


class News:
    """Says to all lanes that there may be something to send."""

    def __init__(self) -> None:
        self._ears: list[threading.Event] = []

    def ear(self) -> threading.Event:
        """Set by `tell`; who waits on it clears it."""
        self._ears.append(threading.Event())
        return self._ears[-1]

    def tell(self) -> None:
        for ear in self._ears:
            ear.set()


class Lane:
    """The way to one destination; one thread lives in it."""

    def __init__(
        self,
        storage: Storage,
        destination: Destination,
        give_up_after: float,
        stopping: threading.Event,
        notice: OnEvent,
        news: threading.Event | None = None,
        *,
        commits: bool = False,
    ) -> None:
        self.name = destination.name
        self._commits = commits
        self._storage = storage
        self._destination = destination
        self._patience = timedelta(seconds=give_up_after)
        self._stopping = stopping
        self._notice = notice
        self._news = news or threading.Event()
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._failures = 0  # of the peer as a whole, in a row
        self._resume = 0.0  # on the monotonic clock: a clock set back must not stop a lane
        self._rest = 0.0  # as `_resume`; new reports end it
        self._gave_up = False

    def run(self, poll: float) -> None:
        try:
            self._run(poll)
        finally:
            self._destination.close()

    def _run(self, poll: float) -> None:
        while not self._stopping.is_set():
            busy = False
            try:
                busy = self.step()
            except StorageError as error:
                log.error(Event.NO_STORAGE, destination=self.name, error=type(error).__name__)
                self._pause()
            except Exception:  # the edge of this thread: a bug here must not end deliveries
                log.exception(Event.FAILED, destination=self.name)
                self._notice(Event.FAILED)
                self._pause()
            if not busy and not self._stopping.is_set() and self._news.wait(poll):
                self._news.clear()
                self._rest = 0.0

    def step(self) -> bool:
        """One batch, if any is due; whether there may be more at once."""
        if time.monotonic() < max(self._resume, self._rest):
            return False
        if self.name not in self._storage.outbox.oldest_waiting():
            return False  # asked by reading: claiming locks a SQLite file against the intake
        limit = 1 if self._failures and not self._gave_up else BATCH
        claimed = self._storage.outbox.claim(self.name, datetime.now(UTC), limit)
        if not claimed:
            self._rest = time.monotonic() + _IDLE
            return False
        outcomes = {each.id: _untried(each) for each in claimed}
        try:
            self._send(claimed, outcomes)
        except StorageError:
            self._record(claimed, outcomes)
            raise
        except Exception as error:  # a bug in a sender: its parcels wait apart from the others
            log.exception(Event.FAILED, destination=self.name)
            self._notice(Event.FAILED)
            left = [each for each in claimed if not outcomes[each.id].answer]
            outcomes.update((each.id, _failed(each, error)) for each in left)
        states = self._record(claimed, outcomes)
        self._gave_up = DeliveryState.GIVEN_UP in states
        self._judge_peer([outcomes[each.id] for each in claimed])
        return True

    def _send(self, claimed: Sequence[Delivery], outcomes: dict[int, Outcome]) -> None:
        """Enter what becomes of each; no more of their bytes are held at a time than HELD_BYTES."""
        parcels: list[Parcel] = []
        studies: dict[str, StudyRecord | None] = {}
        for delivery in claimed:
            uid = delivery.study_uid
            if uid not in studies:
                studies[uid] = self._storage.studies.get(uid)
            found = self._ready(delivery, studies[uid])
            if isinstance(found, Outcome):
                outcomes[delivery.id] = found
                continue
            parcels.append(found)
            if sum(len(one.payload) for one in parcels) >= HELD_BYTES:
                if not self._try(parcels, outcomes):
                    return  # the rest keeps its place
                parcels, studies = [], {}
        if parcels:
            self._try(parcels, outcomes)

    def _try(self, parcels: Sequence[Parcel], outcomes: dict[int, Outcome]) -> bool:
        """Send these; whether the peer as a whole took part."""
        found = self._destination.send(parcels, self._stopping.is_set)
        outcomes.update((outcome.delivery_id, outcome) for outcome in found)
        return not any(outcome.peer_wide for outcome in found) and not self._stopping.is_set()

    def _ready(self, delivery: Delivery, study: StudyRecord | None) -> Parcel | Outcome:
        """The parcel, or why it must not leave; study: as it is just before the send."""
        report = delivery.report
        if not self._destination.carries(report.kind):
            words = f"destination {self.name} carries no {report.kind}"
            return Outcome(delivery.id, Fate.REJECTED, words, status=NOT_CARRIED, alarm=True)
        try:
            payload = self._storage.spool.read(report.path)
        except (OSError, StorageError) as error:
            words = f"report file cannot be read: {type(error).__name__}"
            return Outcome(delivery.id, Fate.HELD, words, status=DAMAGED, alarm=True)
        if hashlib.sha256(payload).hexdigest() != report.sha256:
            words = "report file damaged: its bytes are not those that were written"
            return Outcome(delivery.id, Fate.HELD, words, status=DAMAGED, alarm=True)
        if study is None:
            words = "the study of this report is no longer known"
            return Outcome(delivery.id, Fate.HELD, words, status=UNKNOWN_STUDY, alarm=True)
        if study.state is StudyState.HELD:  # since the claim; it waits until a person releases it
            return _untried(delivery)
        if words := self._storage.outbox.stopped(delivery):  # a person's retry, or it was under way
            return Outcome(delivery.id, Fate.REJECTED, words, status=OUTDATED)
        if report.kind == "hl7_oru" and (newer := self._storage.outbox.overtaken(delivery)):
            # a person's retry: a RIS shows what came last as the result that holds
            words = f"not sent: run {newer}, newer, has been delivered there already"
            return Outcome(delivery.id, Fate.REJECTED, words, status=OUTDATED)
        if report.kind == "hl7_oru" and self._storage.inbox.answered(delivery.run_id):
            # a draft that waited for its RIS must not come after what was signed
            words = "not sent: the final report came meanwhile"
            return Outcome(delivery.id, Fate.REJECTED, words, status=OUTDATED)
        names = [field.name for field in fields(identity.SourceIdentity)]
        source = identity.SourceIdentity(**{name: getattr(study.identity, name) for name in names})
        differences = identity.matches(payload, report.kind, source)
        if differences:
            told = ", ".join(differences)
            again = _CORRECTED.issuperset(differences) and self._storage.runs.renew(delivery.run_id)
            if again:
                words = f"not sent: {told} of the study changed since; run {again} writes it again"
                return Outcome(delivery.id, Fate.REJECTED, words, status=OUTDATED)
            words = f"not sent: differs from the study in {told}"
            return Outcome(delivery.id, Fate.HELD, words, status=MISMATCH, alarm=True)
        return Parcel(
            delivery.id,
            report.kind,
            report.uid,
            report.sop_class,
            payload,
            delivery.study_uid,
            delivery.attempts,
            refusals_so_far(delivery),
        )

    def _record(
        self, claimed: Sequence[Delivery], outcomes: Mapping[int, Outcome]
    ) -> list[DeliveryState]:
        """Enter how each try ended, in one transaction; their new states."""
        found = [self._verdict(each, outcomes[each.id]) for each in claimed]
        exported = self._destination.carries("hl7_oru")  # no PACS does
        endings = [
            Ending(
                each,
                verdict.state,
                verdict.answer,
                verdict.next_try,
                (audit_entry(each, outcomes[each.id], verdict, exported=exported),),
            )
            for each, verdict in zip(claimed, found, strict=True)
        ]
        while True:
            try:
                lost = self._storage.outbox.record_all(endings, commitment=self._commits)
                break
            except StorageError as error:
                # The peer has it: what we know must reach the rows, else it goes a second time.
                log.error(Event.NO_STORAGE, destination=self.name, error=type(error).__name__)
                if self._stopping.wait(_IDLE):
                    lost = ()
                    break
        for each in lost:
            log.error(Event.LOST, delivery=each.id, destination=self.name)
        for each, verdict in zip(claimed, found, strict=True):
            self._tell(each, outcomes[each.id], verdict)
        return [verdict.state for verdict in found]

    def _verdict(self, delivery: Delivery, outcome: Outcome) -> Verdict:
        # its own wait outlasts the lane's pause: the next ones get their turn before it
        wait = 0.0 if outcome.peer_wide else 2 * backoff(delivery.attempts, False, self._rng)
        return judge(delivery, outcome, datetime.now(UTC), self._patience, wait)

    def _tell(self, delivery: Delivery, outcome: Outcome, found: Verdict) -> None:
        event = _EVENTS[found.state]
        if outcome.status == MISMATCH:
            event = Event.MISMATCH
        if event is Event.WAITS and (outcome.peer_wide or not outcome.answer):
            return  # the lane has one line for all of them
        self._notice(event)
        alarm = outcome.alarm or found.state is DeliveryState.GIVEN_UP
        say = log.error if alarm else log.info
        say(
            event,
            delivery=delivery.id,
            destination=self.name,
            kind=delivery.report.kind,
            status=outcome.status,
            attempts=delivery.attempts,
            alarm=alarm,
        )

    def _judge_peer(self, outcomes: Sequence[Outcome]) -> None:
        """Whether to go on with this peer at once, or after a pause."""
        asked = [each for each in outcomes if each.answer and each.status not in _OUR_OWN]
        answered = any(each.fate is not Fate.TRY_LATER for each in asked)
        if answered and self._failures:
            self._failures = 0
            self._say_of_peer(Event.ANSWERS, 0.0, "")
        stuck = [each for each in asked if each.peer_wide] or ([] if answered else asked)
        if stuck:
            slow = stuck[0].peer_wide and stuck[0].alarm
            pause = self._pause(slow)
            if self._gave_up:  # the next one may be as old: ask for it at once
                pause = self._resume = 0.0
            self._say_of_peer(Event.REFUSES if slow else Event.DOWN, pause, stuck[0].status)

    def _pause(self, slow: bool = False) -> float:
        self._failures += 1
        pause = backoff(self._failures, slow, self._rng)
        self._resume = time.monotonic() + pause
        return pause

    def _say_of_peer(self, event: Event, pause: float, status: str) -> None:
        self._notice(event)
        say = log.info if event is Event.ANSWERS else log.warning
        alarm = event is Event.REFUSES
        say(event, destination=self.name, status=status, next_in=round(pause, 1), alarm=alarm)


def _recover(storage: Storage, stopping: threading.Event) -> bool:
    """What was being sent when the last courier died waits again; False if stopped before."""
    while True:
        try:
            adopted = storage.outbox.recover()
        except StorageError as error:
            log.error(Event.NO_STORAGE, destination="", error=type(error).__name__)
            if stopping.wait(_IDLE):
                return False
            continue
        if adopted:
            log.warning(Event.RECOVERED, deliveries=adopted)
        return True


def _name_the_unknown(storage: Storage, known: Collection[str], notice: OnEvent) -> None:
    """Deliveries to a destination that node.yaml no longer names stay waiting, and are said."""
    for (destination, state), count in storage.outbox.counts().items():
        if state is DeliveryState.WAITING and destination not in known:
            notice(Event.NOT_CONFIGURED)
            log.error(Event.NOT_CONFIGURED, destination=destination, waiting=count, alarm=True)


def _untried(delivery: Delivery) -> Outcome:
    return Outcome(delivery.id, Fate.TRY_LATER, "", peer_wide=True)


def _failed(delivery: Delivery, error: Exception) -> Outcome:
    words = f"internal error: {type(error).__name__}"
    return Outcome(delivery.id, Fate.TRY_LATER, words, status="internal error", alarm=True)
