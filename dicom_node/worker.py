"""One worker process: claims runs one at a time and carries each to its end.

Crash-only: it may be killed at any moment. A beat thread says that it lives; the supervisor ends
it from outside when a run takes too long, and frees its run when the beat stops. A device that is
lost is said in readiness; where no other may be used, the process ends, since only a new one can
have the device back.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from dicom_node import comparison, drafts, memory, metrics, notices, pipeline
from dicom_node.events import Event
from dicom_node.wiring import Judge, Judges
from processors import TryLater
from processors.bounded import DeviceLost
from storage import (
    LeaseLost,
    Run,
    Storage,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageIOError,
    StorageReadOnly,
)
from storage.records import AGREEMENT, IMPRESSIONS

log = structlog.get_logger()
_OVER_TEXTS = {IMPRESSIONS: drafts.run, AGREEMENT: comparison.run}
POLL = 0.25  # seconds until a look for a run that nobody rang for
REST = 20  # looks in vain, after which memory is given back
_NOT_THE_STUDY_S = (StorageBusy, StorageFull, StorageReadOnly, StorageIOError)


def owner() -> str:
    """Who holds a lease: host and process; a supervisor knows its children by it."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(slots=True)
class Devices:
    """What becomes of this process when a device fails. device: workers.device of node.yaml.

    words: what it goes on without, for readiness.
    """

    device: str
    stopping: threading.Event
    words: str = ""

    def trouble(self, error: TryLater) -> None:
        """Count and log it; of a lost device say it too, and end if nothing else may be used."""
        lost = isinstance(error, DeviceLost)
        event = Event.DEVICE_LOST if lost else Event.DEVICE_FULL
        metrics.count(event)
        log.warning(event, error=str(error), device=self.device)
        if not lost:
            return
        if self.device == "auto":
            self.words = f"{error} Models run on the CPU."
        else:
            self.words = str(error)
            self.stopping.set()
        notices.say(self.words)


def serve(
    storage: Storage,
    judges: Judges,
    stopping: threading.Event,
    *,
    lease: float,
    max_attempts: int = 3,
    wait: Callable[[float], object] | None = None,
    filed: Callable[[], None] = lambda: None,
) -> None:
    """Work until `stopping` is set; the run in hand is then ended, not given back.

    wait: returns when a run was planned, or after so many seconds. filed: told after each run.
    """
    wait = wait or stopping.wait
    me, mine = owner(), {*judges.processors, *(_OVER_TEXTS if judges.scribe else ())}
    log.info(Event.WORKER_READY, processors=sorted(judges.processors))
    in_vain = 0
    while not stopping.is_set():
        try:
            claimed = storage.runs.claim(me, mine)
        except StorageError as error:
            log.warning(Event.WORKER_STORAGE, error=type(error).__name__)
            claimed = None
        if claimed is None:
            in_vain += 1
            if in_vain == REST:
                memory.give_back()
            wait(POLL)
            continue
        in_vain = 0
        try:
            _carry(storage, judges, claimed, lease, max_attempts)
        except DeviceLost as error:
            if not stopping.is_set():  # else `Devices` has told it
                metrics.count(Event.DEVICE_LOST)
                log.warning(Event.DEVICE_LOST, error=str(error), run=claimed.id)
                stopping.set()
        filed()


def _carry(storage: Storage, judges: Judges, claimed: Run, lease: float, max_attempts: int) -> None:
    """Raises DeviceLost: this process can do no more."""
    log.info(Event.RUN_STARTED, study=claimed.study_uid, run=claimed.id, attempt=claimed.attempt)
    try:
        with _beating(storage, claimed, lease / 3):
            run = _OVER_TEXTS.get(claimed.processor)
            if run and judges.scribe:
                run(storage, claimed, judges.scribe)
            else:
                _judge(storage, judges.of(claimed.processor), claimed)
    except DeviceLost:
        raise
    except LeaseLost:
        metrics.count(Event.RUN_LEASE_LOST)
        log.warning(Event.RUN_LEASE_LOST, run=claimed.id, attempt=claimed.attempt)
    except StorageError as error:
        log.warning(Event.RUN_STORAGE, run=claimed.id, error=type(error).__name__)
        _put_off(storage, claimed, error)
    except Exception as error:
        metrics.count(Event.RUN_CRASHED)
        log.exception(Event.RUN_CRASHED, run=claimed.id)
        _free(storage, claimed, f"internal error: {type(error).__name__}", max_attempts)


def _put_off(storage: Storage, claimed: Run, error: StorageError) -> None:
    """Nothing was filed. A disk or a database that fails is no attempt of the study's.

    Where not even that can be written, the lease runs out and the run is taken up again.
    """
    if not isinstance(error, _NOT_THE_STUDY_S):
        return
    try:
        pipeline.postpone(storage, claimed, str(error))
    except StorageError as again:
        log.warning(Event.RUN_STORAGE, run=claimed.id, error=type(again).__name__)


def _free(storage: Storage, claimed: Run, why: str, max_attempts: int) -> None:
    """At once and for what it was: the lease would say, later, that the worker was silent."""
    try:
        storage.runs.release(claimed, why, max_attempts=max_attempts)
    except StorageError as error:
        log.warning(Event.RUN_STORAGE, run=claimed.id, error=type(error).__name__)


def _judge(storage: Storage, judge: Judge, claimed: Run) -> None:
    if judge.mode == "shadow":
        claimed = replace(claimed, mode="shadow")
    pipeline.run(storage, claimed, judge.processor, judge.options, judge.kinds, judge.destinations)


@contextmanager
def _beating(storage: Storage, claimed: Run, every: float) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(every):
            try:
                storage.runs.beat(claimed)
            except LeaseLost:
                return
            except StorageError:
                continue

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
