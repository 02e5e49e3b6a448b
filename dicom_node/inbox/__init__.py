"""The door for reports: an MLLP listener for HL7 ORU^R01, in a process of its own.

In: preliminary reports with a findings section, and final reports, of known senders. Out: files
below `spool/messages`, rows in `messages`, the runs that read them, acknowledgements, audit events.
`serve(settings, storage, stopping)`. How: `frames` cuts the stream; `server` holds connections and
their limits; `message` says what a message is, with `charset`, `fields` and `sections`; `desk`
makes it durable; `answer` writes the acknowledgement; `structured` reads a report that came as
DICOM SR. Never: AA before bytes, row and run are durable; a draft or a model in this process; a
guessed character set; patient data in a log line or an answer.
"""

from dicom_node.inbox.events import EventName
from dicom_node.inbox.server import InboxError, PortTaken, serve

__all__ = ["EventName", "InboxError", "PortTaken", "serve"]
