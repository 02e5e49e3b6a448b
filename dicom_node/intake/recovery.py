"""Puts spool and tables in order at a start, before the first connection.

A temp file was never answered 0000 and is removed, unless the process that writes it still runs.
An object without a row may have been on its way
to a 0000 when the process died: it is adopted if its bytes are exactly those its name promises
(SHA-256 of the data set), else removed; so is one that retention had forgotten, but not yet
removed. A row without its file is an alarm: it is reported, audited
and left to a person. Running it twice changes nothing more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_node.admission import Asked
from dicom_node.intake import ledger, receive
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Sender
from dicom_node.intake.quarantine import sha256_of
from dicom_node.intake.receive import OBJECTS
from dicom_node.intake.reception import PREAMBLE, data_set_offset
from storage import Storage
from storage.records import AuditEntry

PAGE = 500
MOST_META = 1 << 12  # bytes; ours take less than 500
READ = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovered:
    """Paths relative to the spool. missing: rows whose file is gone."""

    adopted: tuple[str, ...]
    removed: tuple[str, ...]
    missing: tuple[str, ...]

    def as_lists(self) -> dict[str, list[str]]:
        return {
            "adopted": list(self.adopted),
            "removed": list(self.removed),
            "missing": list(self.missing),
        }


def recover(storage: Storage) -> Recovered:
    """Finish or undo what an earlier process left half done, and miss what is gone."""
    found = take_up(storage)
    missing = tuple(path for path in storage.studies.paths() if not _exists(storage, path))
    if missing:
        _alarm(storage, missing)
    return Recovered(found.adopted, found.removed, missing)


def take_up(storage: Storage) -> Recovered:
    """Files only: remove what no live process writes, adopt objects without a row."""
    left = [path for path in storage.spool.temporary() if not _being_written(path)]
    removed = [_remove_temporary(storage, path) for path in left]
    adopted = []
    for path in _orphans(storage):
        if _adopt(storage, path):
            adopted.append(path)
        else:
            storage.spool.remove(path)
            removed.append(path)
            log.warning(EventName.FILE_REMOVED, path=path)
    log.info(EventName.RECOVERED, adopted=len(adopted), removed=len(removed))
    return Recovered(tuple(adopted), tuple(removed), ())


def _being_written(path: Path) -> bool:
    """Whether the process whose number begins the name runs, and ran when the file was made."""
    try:
        started = Path("/proc", path.name.partition("-")[0]).stat().st_mtime
        return started <= path.stat().st_mtime
    except OSError:
        return False


def _remove_temporary(storage: Storage, path: Path) -> str:
    relative = path.relative_to(storage.spool.root).as_posix()
    path.unlink(missing_ok=True)
    return relative


def _exists(storage: Storage, path: str) -> bool:
    return storage.spool.path(path).is_file()


def _orphans(storage: Storage) -> Iterator[str]:
    listing = storage.spool.listing(OBJECTS)
    while page := list(islice(listing, PAGE)):
        known = storage.studies.known_paths(page)
        yield from (path for path in page if path not in known)


def _adopt(storage: Storage, path: str) -> bool:
    """Whether the object is whole and now has its row (or turned out to be superfluous)."""
    with storage.spool.path(path).open("rb") as file:
        head = file.read(MOST_META)
        offset = data_set_offset(head)
        file.seek(offset)
        size, sha256 = _digest(file)
        if not offset or sha256 != sha256_of(path):
            return False
        meta = _meta(head, offset)
        asked = Asked(
            str(meta.get("MediaStorageSOPClassUID", "")),
            str(meta.get("MediaStorageSOPInstanceUID", "")),
            str(meta.get("MediaStorageSOPClassUID", "")),
        )
        syntax = str(meta.get("TransferSyntaxUID", ""))
        file.seek(offset)
        content = receive.examine(file, size, asked, syntax)
        written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    forgotten = storage.studies.forgotten(content.identity.study_uid)
    if forgotten and written <= forgotten:
        return False
    if content.refused or content.ours or storage.studies.is_ours(asked.sop_uid):
        return False
    sender = Sender(str(meta.get("SourceApplicationEntityTitle", "")), "", "", "")
    instance = receive.new_instance(content, asked, syntax, sender, sha256, path)
    # Nobody was told 0000 for it: where it conflicts, what was answered before stays.
    added = storage.studies.add(instance, on_conflict="refuse", audit=(_adopted(instance.sop_uid),))
    log.info(EventName.FILE_ADOPTED, study=content.identity.study_uid, size=size)
    return added.kept


def _digest(file: BinaryIO) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while chunk := file.read(READ):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


def _meta(head: bytes, offset: int) -> Dataset:
    return read_dataset(BytesIO(head[PREAMBLE + 4 : offset]), False, True)


def _adopted(sop_uid: str) -> AuditEntry:
    details = {"sop_uid": sop_uid, "why": "received before a crash, not yet answered"}
    return AuditEntry(ledger.TRANSFERRED, "C", 0, kind="instance.adopted", details=details)


def _alarm(storage: Storage, missing: tuple[str, ...]) -> None:
    details = {"missing": len(missing), "first": list(missing[:20])}
    storage.audit.append(AuditEntry(ledger.ALERT, "E", 12, kind="file.missing", details=details))
    log.error(EventName.FILE_MISSING, missing=len(missing))
