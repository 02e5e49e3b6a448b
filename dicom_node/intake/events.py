"""The names of what happens at the door, for logs and counters.

The administrator's guide lists them; a counter of the same name is raised by `on_event`.
"""

from enum import StrEnum


class EventName(StrEnum):
    STARTED = "intake.started"
    STOPPED = "intake.stopped"
    STOPPING = "intake.stopping"
    ACCEPTS_ANYONE = "intake.accepts_anyone"
    STOCK_PATH = "intake.stock_path"
    NOT_READY = "intake.not_ready"
    READY = "intake.ready"
    RECEIVER_STARTED = "receiver.started"
    RECEIVER_ENDED = "receiver.ended"
    CONNECTION_REFUSED = "connection.refused"
    ASSOCIATION_OPENED = "association.opened"
    ASSOCIATION_REJECTED = "association.rejected"
    ASSOCIATION_ABORTED = "association.aborted"
    ASSOCIATION_CLOSED = "association.closed"
    INSTANCE_RECEIVED = "instance.received"
    INSTANCE_REPEATED = "instance.repeated"
    INSTANCE_CONFLICT = "instance.conflict"
    INSTANCE_REFUSED = "instance.refused"
    INSTANCE_POSTPONED = "instance.postponed"
    INSTANCE_OURS = "instance.ours"
    INSTANCE_FAILED = "instance.failed"
    QUARANTINE_FAILED = "quarantine.failed"
    AUDIT_LATE = "audit.late"
    AUDIT_LOST = "audit.lost"
    RECOVERED = "recovery.done"
    FILE_ADOPTED = "recovery.adopted"
    FILE_REMOVED = "recovery.removed"
    FILE_MISSING = "recovery.file_missing"
