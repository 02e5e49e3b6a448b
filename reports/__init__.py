"""Turns an Analysis into documents: SC, SR, text report and HL7 ORU, one writer a file.

In: an Analysis, the Study it is about, Options and the frozen time of the result. Out: Reports
(kind, uid, bytes) and `result.json`. Never: a clock, randomness, a file, a socket, a model; same
input, same bytes. `write_all` and `write_each` decide which documents an analysis gives;
`identity.matches` says, just before each send, in what a finished report differs from its source.
"""

from reports.identity import SourceIdentity, matches
from reports.model import IdentityUnclear, Options, Receiver, Report, ReportError
from reports.outgoing import write_all, write_each

__all__ = [
    "IdentityUnclear",
    "Options",
    "Receiver",
    "Report",
    "ReportError",
    "SourceIdentity",
    "matches",
    "write_all",
    "write_each",
]
