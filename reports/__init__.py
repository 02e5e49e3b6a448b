"""Turns an Analysis into documents: SC, SR, text report and HL7 ORU, one writer a file.

In: an Analysis, the Study it is about, Options and the frozen time of the result. Out: Reports
(kind, uid, bytes). Never: a clock, randomness, a file, a socket, a model; same input, same bytes.
"""

from reports.model import Options, Receiver, Report, ReportError

__all__ = ["Options", "Receiver", "Report", "ReportError"]
