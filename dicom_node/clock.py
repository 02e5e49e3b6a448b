"""What happens by the clock: settling, lease watch, time-outs, retention, runs of processors that
are gone. One function each.

APScheduler only calls them. Each may be killed and called again at any time: what they decide
stands in the database. Leases are watched on this process's monotonic clock (a beat that does not
change), so that a jump of the wall clock frees no run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from config import Settings
from dicom_node import metrics, routing
from dicom_node.events import Event
from storage import AuditEntry, LeaseLost, PlannedRun, Run, Storage, StorageError, StudyRecord
from storage.records import AGREEMENT

_AGAIN = 60.0  # seconds until a study that could not be planned is looked at again
_UNASKED = timedelta(seconds=5)  # without processors: its reports are read before it settles
_UNFILED = timedelta(days=1)  # a report file without a row belongs to nobody by then

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look for settled studies gave. new: runs planned. wait: seconds until the next look
    can be worth it, if nothing is heard before; None where no study waits."""

    new: int
    wait: float | None


# study -> how many instances it had, what was heard of it, until when it waits
Asleep = dict[str, tuple[int, routing.Heard, datetime]]


def settle(
    storage: Storage,
    settings: Settings,
    now: datetime,
    heard: Callable[[str], routing.Heard] = lambda _: routing.ALWAYS,
    asleep: Asleep | None = None,
) -> Looked:
    """Plan the runs of every study that has settled. heard: by Study Instance UID.

    asleep: filled here, so that the next look reads the instances of no study that still waits.
    A study that cannot be read or planned is logged, and keeps no other from it.
    """
    asleep = {} if asleep is None else asleep
    before, new, waits = dict(asleep), 0, list[float]()
    asleep.clear()
    for study in storage.studies.unplanned():
        known = study.instances, heard(study.uid)
        if (entry := before.get(study.uid)) and entry[:2] == known and entry[2] > now:
            asleep[study.uid] = entry
            waits.append((entry[2] - now).total_seconds())
            continue
        try:
            looked = _settle_one(storage, settings, study, now, known[1])
        except StorageError:
            raise
        except Exception:
            metrics.count(Event.STUDY_NOT_PLANNED)
            log.exception(Event.STUDY_NOT_PLANNED, study=study.uid)
            looked = Looked(0, _AGAIN)
        new += looked.new
        if looked.wait is not None:
            asleep[study.uid] = *known, now + timedelta(seconds=looked.wait)
            waits.append(looked.wait)
    return Looked(new, min(waits, default=None))


def _settle_one(
    storage: Storage, settings: Settings, study: StudyRecord, now: datetime, known: routing.Heard
) -> Looked:
    if (wait := routing.soonest(settings, study, now, known)) > 0:
        return Looked(0, wait)
    instances = storage.studies.instances(study.uid)
    if not instances:
        return Looked(0, None)
    choices = routing.choose(settings, instances, study.planned_instances, now, known)
    wait_more = min((choice.wait for choice in choices if choice.wait > 0), default=None)
    if not choices and (left := study.last_received + _UNASKED - now) > timedelta():
        return Looked(0, min(left, _UNASKED).total_seconds())
    if choices and all(choice.wait > 0 for choice in choices):
        return Looked(0, wait_more)
    done, wanted = wait_more is None, routing.plan(choices)
    if not done and not _new(storage, study.uid, wanted):
        return Looked(0, wait_more)  # another processor waits: nothing to write until it settled
    runs = storage.studies.plan(
        study.uid,
        wanted,
        trace=[choice.trace() for choice in choices],
        instances_seen=len(instances),
        done=done,
        at=now,
    )
    for run in runs:
        metrics.count(Event.RUN_PLANNED)
        log.info(Event.RUN_PLANNED, study=study.uid, run=run.id, processor=run.processor)
    if done and not any(choice.picked for choice in choices):
        metrics.count(Event.STUDY_NOT_SELECTED)
        log.info(Event.STUDY_NOT_SELECTED, study=study.uid)
    return Looked(len(runs), wait_more)


def read_texts(storage: Storage, settings: Settings, now: datetime) -> int:
    """Plan the runs over the structured reports that came in; they wait for no silence."""
    if not settings.impressions.structured_reports:
        return 0
    new = 0
    for study in storage.studies.unplanned():
        stored = storage.studies.instances(study.uid)
        known = storage.runs.list(study_uid=study.uid)
        wanted = routing.texts(stored, drafted=any(r.processor != AGREEMENT for r in known))
        if not _new(storage, study.uid, wanted):
            continue
        runs = storage.studies.plan(
            study.uid, wanted, trace=study.trace, instances_seen=len(stored), done=False, at=now
        )
        new += len(runs)
        for run in runs:
            metrics.count(Event.RUN_PLANNED)
            log.info(Event.RUN_PLANNED, study=study.uid, run=run.id, processor=run.processor)
    return new


def _new(storage: Storage, study_uid: str, wanted: Sequence[PlannedRun]) -> bool:
    known = {(run.processor, run.digest) for run in storage.runs.list(study_uid=study_uid)}
    return any((run.processor, run.digest) not in known for run in wanted)


@dataclass(slots=True)
class LeaseWatch:
    """Frees the runs of workers that no longer beat, and ends those that never come back."""

    lease: float
    timeout: float
    max_attempts: int
    monotonic: Callable[[], float] = time.monotonic
    _beats: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)
    _begun: dict[tuple[int, int], float] = field(default_factory=dict)
    _silent: dict[str, float] = field(default_factory=dict)  # owner -> when its time is up

    def look(self, storage: Storage, kill: Callable[[str], bool]) -> None:
        """One look at all running runs; `kill(owner)` ends a worker of ours, False if not ours."""
        now, seen = self.monotonic(), set()
        for run in storage.runs.running():
            key = (run.id, run.attempt)
            seen.add(key)
            beat, since = self._beats.get(key, (run.beat, now))
            self._beats[key] = (run.beat, now if beat != run.beat else since)
            begun = self._begun.setdefault(key, now)
            # A worker of another machine cannot be killed from here; its run is taken away, and the
            # fence refuses what it may still file.
            late = now - begun
            if late > self.timeout and (kill(run.owner) or late > self.timeout + self.lease):
                self._free(storage, run, f"took longer than {self.timeout:g} s")
            elif now - self._beats[key][1] > self.lease:
                self._free(storage, run, f"its worker was silent for {self.lease:g} s")
                self._silent[run.owner] = begun + self.timeout
            else:
                self._silent.pop(run.owner, None)  # it came back
        self._end_the_silent(now, kill)
        for stale in set(self._beats) - seen:
            self._beats.pop(stale)
            self._begun.pop(stale, None)

    def _end_the_silent(self, now: float, kill: Callable[[str], bool]) -> None:
        """A native call that keeps the interpreter's lock stops the beat and never returns."""
        for owner in [owner for owner, until in self._silent.items() if now > until]:
            del self._silent[owner]
            kill(owner)

    def died(self, storage: Storage, owner: str, how: str) -> None:
        """A worker of ours ended: free what it held without waiting for the lease."""
        self._silent.pop(owner, None)
        for run in storage.runs.running():
            if run.owner == owner:
                self._free(storage, run, how)

    def _free(self, storage: Storage, run: Run, why: str) -> None:
        try:
            state = storage.runs.release(run, why, max_attempts=self.max_attempts)
        except LeaseLost:  # freed or filed meanwhile
            return
        metrics.count(Event.RUN_RELEASED)
        log.warning(
            Event.RUN_RELEASED,
            study=run.study_uid,
            run=run.id,
            attempt=run.attempt,
            why=why,
            now=state.value,
        )


def set_aside_unknown(storage: Storage, settings: Settings) -> int:
    """Runs of processors that node.yaml no longer has: a person is told, and decides."""
    reason = "node.yaml does not have this processor any more; with it back, retry"
    found = storage.runs.set_aside_unknown(settings.runs_of, reason)
    for run in found:
        metrics.count(Event.RUN_SET_ASIDE)
        log.error(
            Event.RUN_SET_ASIDE,
            study=run.study_uid,
            run=run.id,
            processor=run.processor,
            why=reason,
        )
    return len(found)


def purge(storage: Storage, settings: Settings, now: datetime) -> Mapping[str, int]:
    """Retention: remove what is past its time and not needed any more; each purge is audited."""
    keep = settings.retention
    studies = 0
    for uid in storage.studies.expired(now - timedelta(seconds=keep.studies), 500):
        for path in storage.studies.forget(uid):
            storage.spool.remove(path)
        studies += 1
    made_before = now - timedelta(seconds=keep.reports)
    reports = storage.runs.forget_reports(made_before)
    for path in reports:
        storage.spool.remove(path)
    received_before = now - timedelta(seconds=keep.messages)
    messages = storage.inbox.forget(received_before)
    for path in messages:
        storage.spool.remove(path)
    unfiled = _unfiled(storage, "reports", min(made_before, now - _UNFILED))
    unfiled += _unfiled(storage, "messages", min(received_before, now - _UNFILED))
    counts = {
        "studies": studies,
        "reports": len(reports),
        "unfiled": _remove(storage, "retention.unfiled", unfiled),
        "quarantine": _remove(
            storage,
            "retention.quarantine",
            _older(storage, "quarantine", now - timedelta(seconds=keep.quarantine)),
        ),
        "messages": len(messages),
        "patients": storage.studies.blank(made_before),
    }
    if any(counts.values()):
        log.info(Event.RETENTION_PURGED, **counts)
    return counts


def _unfiled(storage: Storage, folder: str, before: datetime) -> list[str]:
    """Files that no row names; a message among them was never acknowledged."""
    old = _older(storage, folder, before)
    rows = storage.inbox if folder == "messages" else storage.runs
    known = rows.known_paths(old)
    return [one for one in old if one not in known]


def _older(storage: Storage, folder: str, before: datetime) -> list[str]:
    found = []
    for path in storage.spool.listing(folder):
        with suppress(FileNotFoundError):
            changed = storage.spool.path(path).stat().st_mtime
            if datetime.fromtimestamp(changed, UTC) < before:
                found.append(path)
    return found


def _remove(storage: Storage, kind: str, paths: Sequence[str]) -> int:
    """Files that no row names: the audit log says how many before they go."""
    if paths:
        storage.audit.append(AuditEntry("110105", "D", kind=kind, details={"files": len(paths)}))
    for path in paths:
        storage.spool.remove(path)
    return len(paths)
