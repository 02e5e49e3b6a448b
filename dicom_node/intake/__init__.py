"""The door for images: a C-STORE and C-ECHO provider in a process of its own.

In: associations of known peers, data sets in any transfer syntax and storage class, private ones
too. Out: files in the spool, rows in `studies`, audit events, `data_dir/intake.status`.
`recover(storage)` once at a start, then `serve(settings, storage, stopping)`; what it says of
itself, for any process: `status(data_dir)` and `not_ready(data_dir)`.
How: `door` holds connections until they have said who they are; `association` is the only module
that knows pynetdicom; `messages` is DIMSE without a wire; `reception` streams to disk; `receive`
decides and stores; what may come in says `dicom_node.admission`.
Never: 0000 before bytes and row are durable, a decoded pixel, a transcoded byte, a path made of a
UID, torch or a model in this process, a patient's name in a log line.
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
