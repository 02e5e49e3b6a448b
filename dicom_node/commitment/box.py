"""The box between the door and the courier: what was said, as files in the spool.

Whoever receives writes a letter before it answers; the courier reads it, does what it asks for and
removes it. A kill between the two loses nothing, twice the same letter is one file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dicom_node.commitment.words import Report, Request
from storage import Spool

FOLDER = "commitment"


@dataclass(frozen=True, slots=True)
class Letter:
    """path: of its file; age: seconds. calling, address: who said it."""

    path: str
    age: float
    calling: str
    address: str
    said: Request | Report


def put(spool: Spool, calling: str, address: str, said: Request | Report) -> None:
    """Write it down durably. Raises StorageError."""
    words: dict[str, Any] = {"calling": calling, "address": address}
    words["transaction_uid"] = said.transaction_uid
    if isinstance(said, Request):
        words["asked"] = said.instances
    else:
        words["kept"] = said.kept
        words["failed"] = [[*one, reason] for one, reason in said.failed.items()]
    raw = json.dumps(words).encode()
    spool.write(FOLDER, f"{hashlib.sha256(raw).hexdigest()}.json", raw)


def letters(spool: Spool) -> Iterator[Letter]:
    """All that lies there; what nobody can read is removed."""
    for path in spool.listing(FOLDER):
        try:
            written = spool.path(path).stat().st_mtime
            words = json.loads(spool.read(path))
            said = _said(words)
            age = max(0.0, time.time() - written)
            yield Letter(path, age, str(words["calling"]), str(words["address"]), said)
        except (ValueError, KeyError, TypeError):
            spool.remove(path)


def _said(words: dict[str, Any]) -> Request | Report:
    uid = str(words["transaction_uid"])
    if "asked" in words:
        return Request(uid, tuple((str(of), str(one)) for of, one in words["asked"]))
    failed = {(str(of), str(one)): int(reason) for of, one, reason in words["failed"]}
    return Report(uid, tuple((str(of), str(one)) for of, one in words["kept"]), failed)
