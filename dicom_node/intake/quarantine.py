"""Keeps refused bytes for a person: the instance as a file, and beside it a JSON that says why.

A courtesy, never a promise: when the disk has no room or fails, the refusal stands without it. The
same bytes refused for the same reason are kept once, so that a sender that tries for ever fills no
disk. Never: a patient's name in the JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from dicom_node.admission import Asked, Refused
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Sender
from storage import Incoming, Spool, StorageError

FOLDER = "quarantine"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Case:
    """What is turned away, from whom, and why."""

    asked: Asked
    transfer_syntax: str
    sender: Sender
    refused: Refused

    def name(self, sha256: str) -> str:
        return f"{sha256}-{self.refused.status:04X}"

    def told(self, name: str) -> bytes:
        told = {
            "why": self.refused.why,
            "status": f"0x{self.refused.status:04X}",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": name.partition("-")[0],
            "sop_class_uid": self.asked.sop_class[:64],
            "sop_instance_uid": self.asked.sop_uid[:64],
            "transfer_syntax_uid": self.transfer_syntax,
            "calling_ae_title": self.sender.calling,
            "address": self.sender.address,
        }
        return json.dumps(told, indent=1).encode() + b"\n"


def keep(spool: Spool, incoming: Incoming, case: Case) -> None:
    """Put a received file aside; storage's trouble is only logged."""
    name = case.name(incoming.sha256())
    try:
        spool.keep(incoming, FOLDER, name + ".dcm")
        _explain(spool, case, name)
    except StorageError as error:
        log.error(EventName.QUARANTINE_FAILED, error=type(error).__name__)


def move(spool: Spool, path: str, case: Case) -> None:
    """The same for a file that has a place among the objects already, and loses it."""
    name = case.name(sha256_of(path))
    try:
        spool.move(path, FOLDER, name + ".dcm")
        _explain(spool, case, name)
    except StorageError as error:
        log.error(EventName.QUARANTINE_FAILED, error=type(error).__name__)


def sha256_of(path: str) -> str:
    """The digest in the name of an object (`Spool.object_name`)."""
    return path.rpartition("-")[2].removesuffix(".dcm")


def _explain(spool: Spool, case: Case, name: str) -> None:
    if not spool.path(f"{FOLDER}/{name}.json").exists():
        spool.write(FOLDER, f"{name}.json", case.told(name))
