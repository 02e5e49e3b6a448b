"""The names of what happens in the node, for logs and counters.

Intake, web door, inbox, courier and commitment have lists of their own (`intake.events`,
`stow.events`, `inbox.events`, `courier.Event`, `commitment.events`); the administrator's guide
lists all of them, and a test compares.
"""

from enum import StrEnum


class Event(StrEnum):
    NODE_RECOVERED = "node.recovered"
    NODE_STOPPING = "node.stopping"
    NODE_STOPPED = "node.stopped"
    PROCESS_STARTED = "process.started"
    PROCESS_ENDED = "process.ended"
    PROCESS_CRASHED = "process.crashed"
    SETTINGS_REFUSED = "settings.refused"
    SETTINGS_RELOADED = "settings.reloaded"
    CLOCK_STORAGE = "clock.storage"
    CLOCK_CRASHED = "clock.crashed"
    STATUS_FAILED = "status.failed"
    STUDY_NOT_SELECTED = "study.not_selected"
    STUDY_NOT_PLANNED = "study.not_planned"
    RUN_PLANNED = "run.planned"
    RUN_STARTED = "run.started"
    RUN_ENDED = "run.ended"
    RUN_RELEASED = "run.released"
    RUN_SET_ASIDE = "run.set_aside"
    RUN_POSTPONED = "run.postponed"
    RUN_LEASE_LOST = "run.lease_lost"
    RUN_STORAGE = "run.storage"
    RUN_CRASHED = "run.crashed"
    AGREEMENT_STORED = "agreement.stored"
    DRAFT_WITHHELD = "draft.withheld"
    RESULT_CRITICAL = "result.critical"
    BELL_MISSING = "bell.missing"
    DEVICE_FULL = "device.full"
    DEVICE_LOST = "device.lost"
    WORKER_READY = "worker.ready"
    WORKER_STORAGE = "worker.storage"
    COURIER_WAITS = "courier.waits_for_another"
    RETENTION_PURGED = "retention.purged"
