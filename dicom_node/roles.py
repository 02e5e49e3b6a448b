"""The four kinds of process below a supervisor: intake, inbox, worker, courier.

Each runs until its `stopping` event and meets the others only in the database and the spool.
`dicom_node.child` is the process around it. Imports only what its role needs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import structlog

from config import Settings
from dicom_node import bell, metrics, notices, rooms
from dicom_node.bell import Bell, Topic
from dicom_node.events import Event

Role = Literal["intake", "worker", "courier", "inbox"]
ROLES: tuple[Role, ...] = get_args(Role)
log = structlog.get_logger()


class RoleError(Exception):
    """A process cannot start or go on, in words for a person."""


def run(role: Role, settings: Settings, stopping: threading.Event) -> None:
    """Be one process of the node until `stopping` is set. Raises RoleError."""
    if role == "intake":
        _intake(settings, stopping)
    elif role == "worker":
        _worker(settings, stopping)
    elif role == "inbox":
        _inbox(settings, stopping)
    else:
        _courier(settings, stopping)


def stop_on_signals(stopping: threading.Event) -> None:
    """TERM or INT drains; a second one ends at once. HUP is for supervisors."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hear(number: int, _: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)


def _intake(settings: Settings, stopping: threading.Event) -> None:
    from dicom_node import intake

    storage = rooms.storage(settings, "intake")
    try:
        data_dir = settings.node.data_dir

        def tell(event: str) -> None:
            metrics.count(event)
            if event == intake.EventName.INSTANCE_RECEIVED:
                bell.ring(data_dir, Topic.ARRIVED)

        intake.serve(
            settings, storage, stopping, on_event=tell,
            on_release=lambda study: bell.ring(data_dir, Topic.ARRIVED, study),
        )  # fmt: skip
    except intake.IntakeError as error:
        raise RoleError(str(error)) from error
    finally:
        storage.close()


def _inbox(settings: Settings, stopping: threading.Event) -> None:
    from dicom_node import inbox

    storage = rooms.storage(settings, "inbox")
    try:
        inbox.serve(settings, storage, stopping, on_event=metrics.count)
    except inbox.InboxError as error:
        raise RoleError(str(error)) from error
    finally:
        storage.close()


def _worker(settings: Settings, stopping: threading.Event) -> None:
    from dicom_node import drafts, wiring, worker  # ONNX Runtime and the models: in this role alone
    from processors import ProcessorError

    storage = rooms.storage(settings, "worker")
    try:
        devices = worker.Devices(settings.workers.device, stopping)
        judges = wiring.judges(settings, devices.trouble)
        if settings.takes_texts:
            scribe = wiring.scribe(settings)
            judges = replace(judges, scribe=scribe)
            drafts.warm(scribe)
        notices.say(devices.words)
        with closing(Bell(settings.node.data_dir, Topic.PLANNED)) as planned:
            worker.serve(
                storage, judges, stopping, lease=settings.workers.lease,
                max_attempts=settings.workers.max_attempts, wait=planned.wait,
                filed=lambda: bell.ring(settings.node.data_dir, Topic.FILED),
            )  # fmt: skip
    except ProcessorError as error:
        raise RoleError(str(error)) from error
    finally:
        storage.close()


def _courier(settings: Settings, stopping: threading.Event) -> None:
    from dicom_node import courier
    from dicom_node.commitment import running as commitment

    storage = rooms.storage(settings, "courier")
    try:
        with _alone(settings.node.data_dir / "courier.lock", stopping):
            commitment.run(settings, storage, stopping, metrics.count)
            reports = courier.News()
            with closing(Bell(settings.node.data_dir, Topic.FILED, lambda _: reports.tell())):
                courier.run(
                    storage, rooms.destinations(settings), stopping, on_event=metrics.count,
                    news=reports, committing=rooms.committing(settings),
                )  # fmt: skip
    finally:
        storage.close()


@contextmanager
def _alone(lock: Path, stopping: threading.Event) -> Iterator[None]:
    """Wait until no other courier works on this data_dir: two would send everything twice."""
    with lock.open("w") as file:
        said = False
        while not stopping.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    log.warning(Event.COURIER_WAITS)
                said = True
                stopping.wait(1.0)
        yield
