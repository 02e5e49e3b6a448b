"""Storage commitment (PS3.4 annex J), both ways: asking a PACS for it, and being asked.

In: deliveries that a destination with `commitment: true` stored; at our door N-ACTION and
N-EVENT-REPORT. Out: the state of each such delivery; reports of what we hold durably.
`running.run` is a part of the courier, which alone loads it. `Paper` and `hear` are the door's:
what comes is written down in the spool (`box`) before it is answered, because who receives has no
database; the courier reads it.
How: `words` is the data sets without a network; `asking` asks and waits on the same association;
`answering` reads the box; `line` is pynetdicom.
Never: a commitment for what is not on disk, a report about an instance that nobody named.
"""

from dicom_node.commitment.events import EventName
from dicom_node.commitment.hearing import Paper, hear

__all__ = ["EventName", "Paper", "hear"]
