"""The names of what happens around storage commitment, for logs and counters."""

from enum import StrEnum


class EventName(StrEnum):
    ASKED = "commitment.asked"
    NOT_ASKED = "commitment.not_asked"
    COMMITTED = "commitment.committed"
    SENT_AGAIN = "commitment.sent_again"
    REFUSED = "commitment.refused"
    MISSING = "commitment.missing"
    UNKNOWN = "commitment.unknown"
    REQUESTED = "commitment.requested"
    ANSWERED = "commitment.answered"
    UNANSWERED = "commitment.unanswered"
    FAILED = "commitment.step_failed"
