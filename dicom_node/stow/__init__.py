"""The second door for images: STOW-RS (PS3.18 10.5), in a process of its own.

In: POST /studies and /studies/{uid} with instances as DICOM files (multipart/related), from senders
with a token or a certificate. Out: the same records of the log of arrivals as the first door makes,
by the same rules; what became of each instance as application/dicom+json.
`receive_as` is what `dicom_node.receiver` runs; `open_keys(stow)` says what a start would.
How: `server` accepts connections and gives them to uvicorn; `app` is what it calls; `request`,
`parts`, `part10` and `answer` are pure; `errand` carries the instances of a request to the intake.
Never: an answer before what it says is durable, an instance held in memory, a database, a pixel.
"""

from dicom_node.stow.events import EventName
from dicom_node.stow.keys import KeysError, open_keys
from dicom_node.stow.server import receive_as

__all__ = ["EventName", "KeysError", "open_keys", "receive_as"]
