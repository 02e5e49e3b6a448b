"""Sends reports to one peer: `dicom`, `mllp`, `folder`, one file each.

In: a destination's settings and reports read back from the spool. Out: one Outcome per report.
Never: a retry, a database, a decision about when; those are the courier's.
"""

from dicom_node.destinations.outcome import Destination, Fate, Outcome, Parcel

__all__ = ["Destination", "Fate", "Outcome", "Parcel"]
