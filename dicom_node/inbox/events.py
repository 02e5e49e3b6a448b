"""The names of what happens at the door for reports, for logs and counters.

The administrator's guide lists them; a counter of the same name is raised by `on_event`.
"""

from enum import StrEnum


class EventName(StrEnum):
    STARTED = "inbox.started"
    STOPPED = "inbox.stopped"
    ACCEPTS_ANYONE = "inbox.accepts_anyone"
    TURNED_AWAY = "inbox.turned_away"
    NO_FRAME = "inbox.no_frame"
    LATE = "inbox.late"
    RECEIVED = "message.received"
    REPEATED = "message.repeated"
    CONFLICT = "message.conflict"
    UNMATCHED = "message.unmatched"
    OUTDATED = "message.outdated"
    HELD = "message.held"
    REFUSED = "message.refused"
    POSTPONED = "message.postponed"
    FAILED = "message.failed"
