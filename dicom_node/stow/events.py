"""The names of what happens at the door for images by web, for logs and counters.

The administrator's guide lists them. What becomes of an instance bears the intake's own names.
"""

from enum import StrEnum


class EventName(StrEnum):
    STARTED = "stow.started"
    STOPPED = "stow.stopped"
    CONNECTION_REFUSED = "stow.connection_refused"
    REQUEST_DONE = "stow.request_done"
    REQUEST_REFUSED = "stow.request_refused"
    REQUEST_BROKEN = "stow.request_broken"
    FAILED = "stow.failed"
