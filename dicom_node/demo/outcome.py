"""What became of one patient of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.demo.patients import Patient


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one patient: a line of the table and a part of the page."""

    patient: Patient
    rule: str
    status: str
    reason: str
    findings: tuple[str, ...]
    in_pacs: tuple[tuple[str, str], ...]
    ack: str
    seconds: float
    impression: str
    said: str
