"""The door for images: a C-STORE and C-ECHO provider in processes of its own.

In: associations of known peers, data sets in any transfer syntax and storage class, private ones
too. Out: records in the log of arrivals, and behind the answer files in the spool, rows in
`studies`, audit events; `data_dir/intake.status`.
`recover(storage)` once at a start, then `serve(settings, storage, stopping)`; what it says of
itself, for any process: `status(data_dir)` and `not_ready(data_dir)`.
How: `server` and `crew` start those who receive (`receiving`). There `door` holds connections until
they have said who they are; `association`, `provider` and `line` are pynetdicom bent to our
messages (`contract`: its private names); `messages` is DIMSE without a wire; `reception` streams to
disk; `receive` decides, makes durable and answers; what may come in says `dicom_node.admission`.
`post` tells the `clerk`, who alone files (`filing`, `recovery`) what an `arrival` says.
Never: 0000 before bytes and what the row is made of are durable, a decoded pixel, a transcoded
byte, a path made of a UID, torch or a model in these processes, a patient's name in a log line.
"""

from dicom_node.intake.events import EventName
from dicom_node.intake.readiness import IntakeStatus, not_ready, status
from dicom_node.intake.recovery import Recovered, recover
from dicom_node.intake.server import IntakeError, PortTaken, serve

__all__ = [
    "EventName",
    "IntakeError",
    "IntakeStatus",
    "PortTaken",
    "Recovered",
    "not_ready",
    "recover",
    "serve",
    "status",
]
