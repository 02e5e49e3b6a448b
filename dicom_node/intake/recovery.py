"""Puts log, spool and tables in order at a start, before the first connection.

First what the log of arrivals holds and nobody filed: it was, or was about to be, answered 0000.
Its file is made anew, its row is entered unless it is there, or retention forgot the study since.
Then files: a temp file was never answered 0000 and is removed, unless the process that writes it
still runs. An object without a row or record may have been on its way to a 0000: it is adopted if
its bytes are exactly those its name promises (SHA-256 of the data set), else removed. A row without
its file is an alarm: it is reported, audited and left to a person. Running it twice changes nothing
more; while an intake works on the folder, it does nothing but miss files.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_node.admission import Asked
from dicom_node.intake import arrival, ledger
from dicom_node.intake.arrival import Arrival
from dicom_node.intake.events import EventName
from dicom_node.intake.filing import OBJECTS, Filer, readable
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.quarantine import sha256_of
from dicom_node.intake.reception import PREAMBLE, data_set_offset
from storage import Arrivals, Record, StorageBusy, StorageError
from storage.records import AuditEntry

if TYPE_CHECKING:  # SQL: a receiving process has none
    from storage import Storage

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


def recover(
    storage: Storage, *, on_conflict: str = "keep_first", quarantine: bool = True
) -> Recovered:
    """Finish or undo what an earlier process left half done, and miss what is gone."""
    found = Recovered((), (), ())
    try:
        arrivals = Arrivals(storage.spool.arrivals)
    except StorageBusy:  # an intake is at work: it has done so itself
        log.info(EventName.RECOVERED, adopted=0, removed=0)
    else:
        books = Bookkeeper(storage.audit)
        try:
            filer = Filer(storage, arrivals, books, on_conflict, quarantine, lambda _: None)
            found = take_up(storage, filer)
        finally:
            books.close(timeout=5.0)
            arrivals.close()
    missing = tuple(path for path in storage.studies.paths() if not _exists(storage, path))
    if missing:
        _alarm(storage, missing)
    return Recovered(found.adopted, found.removed, missing)


def take_up(storage: Storage, filer: Filer, objects: Iterable[str] | None = None) -> Recovered:
    """The log, then files: remove what no live process writes, adopt objects without a row.

    objects: what lay there before instances came in again, if they did: one that is on its way to
    its record now is nobody's to adopt. Absent: nothing comes in yet.
    """
    filed = refile(storage, filer, filer.arrivals.left())
    filer.close()
    left = [path for path in storage.spool.temporary() if not _being_written(path)]
    removed = [_remove_temporary(storage, path) for path in left]
    adopted = []
    for path in _orphans(storage, storage.spool.listing(OBJECTS) if objects is None else objects):
        if _adopt(storage, path):
            adopted.append(path)
        else:
            storage.spool.remove(path)
            removed.append(path)
            log.warning(EventName.FILE_REMOVED, path=path)
    log.info(EventName.RECOVERED, filed=filed, adopted=len(adopted), removed=len(removed))
    return Recovered(tuple(adopted), tuple(removed), ())


def refile(storage: Storage, filer: Filer, records: list[Record]) -> int:
    """File what nobody filed, as if it came now; what has its row gets its file again at most."""
    for start in range(0, len(records), PAGE):
        page = [(r, one) for r in records[start : start + PAGE] if (one := readable(r)) is not None]
        rows = storage.studies.known_paths([one.path for _, one in page])
        wanted = []
        for record, one in page:
            if one.path in rows:
                _mend(storage, filer.arrivals, record, one)
            elif not _superfluous(storage, record, one):
                wanted.append(record)
        for n in range(0, len(wanted), 64):
            _file(filer, wanted[n : n + 64])
        filer.arrivals.filed(record for record, _ in page)
    filer.arrivals.safe()
    return len(records)


def _file(filer: Filer, records: list[Record]) -> None:
    """Together; or each by itself, so that one that can never be filed is set aside alone."""
    try:
        filer.file(records)
    except Exception as error:
        if isinstance(error, StorageError) and type(error) is not StorageError:
            raise  # the disk's or the database's: tried again as a whole
        log.exception(EventName.INSTANCE_FAILED, records=len(records))
        for record in records:
            filer.file([record])


def _mend(storage: Storage, arrivals: Arrivals, record: Record, one: Arrival) -> None:
    """The row is there; the file may have been in memory only, whatever can be read of it now."""
    if record.extents:
        storage.spool.make(one.path, lambda file: arrivals.copy(record, file))


def _superfluous(storage: Storage, record: Record, one: Arrival) -> bool:
    """Retention forgot the study since; or its own file is not whole, so nobody was answered."""
    forgotten = storage.studies.forgotten(arrival.content(one).identity.study_uid)
    if forgotten and one.received_at <= forgotten:
        return True
    return not record.extents and not _as_named(storage, one.path)


def _as_named(storage: Storage, path: str) -> bool:
    """Whether a file of ours is there with exactly the bytes that its name promises."""
    if not _exists(storage, path):
        return False
    with storage.spool.path(path).open("rb") as file:
        return _whole(file, path)[0] > 0


def _whole(file: BinaryIO, path: str) -> tuple[int, int, str]:
    """Where the data set begins (0: these are not the bytes that the name promises), size, hash."""
    offset = data_set_offset(file.read(MOST_META))
    file.seek(offset)
    size, sha256 = _digest(file)
    return (offset if sha256 == sha256_of(path) else 0), size, sha256


def _being_written(path: Path) -> bool:
    """Whether the process whose number begins the name runs, and ran when the file was made."""
    try:
        told = Path("/proc", path.name.partition("-")[0], "stat").read_text()  # proc(5)
        started = int(told.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        runs = time.clock_gettime(time.CLOCK_BOOTTIME) - started
        return time.time() - path.stat().st_mtime <= runs
    except OSError:
        return False


def _remove_temporary(storage: Storage, path: Path) -> str:
    relative = path.relative_to(storage.spool.root).as_posix()
    path.unlink(missing_ok=True)
    return relative


def _exists(storage: Storage, path: str) -> bool:
    return storage.spool.path(path).is_file()


def _orphans(storage: Storage, objects: Iterable[str]) -> Iterator[str]:
    listing = iter(objects)
    while page := list(islice(listing, PAGE)):
        known = storage.studies.known_paths(page)
        yield from (path for path in page if path not in known and _exists(storage, path))


def _adopt(storage: Storage, path: str) -> bool:
    """Whether the object is whole and now has its row (or turned out to be superfluous)."""
    with storage.spool.path(path).open("rb") as file:
        offset, size, sha256 = _whole(file, path)
        if not offset:
            return False
        file.seek(0)
        meta = _meta(file.read(offset))
        asked = Asked(
            str(meta.get("MediaStorageSOPClassUID", "")),
            str(meta.get("MediaStorageSOPInstanceUID", "")),
            str(meta.get("MediaStorageSOPClassUID", "")),
        )
        syntax = str(meta.get("TransferSyntaxUID", ""))
        found = arrival.look(file, size, asked, syntax)
        written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    forgotten = storage.studies.forgotten(found.study_uid)
    if found.refused or (forgotten and written <= forgotten):
        return False
    sender = Sender(str(meta.get("SourceApplicationEntityTitle", "")), "", "", "")
    one = arrival.arrival(found, asked, syntax, sender, sha256, size, path)
    said = arrival.content(one)
    if said.ours or storage.studies.is_ours(asked.sop_uid):
        return False
    instance = arrival.new_instance(one, said)
    # Nobody was told 0000 for it: where it conflicts, what was answered before stays.
    added = storage.studies.add(instance, on_conflict="refuse", audit=(_adopted(instance.sop_uid),))
    log.info(EventName.FILE_ADOPTED, study=found.study_uid, size=size)
    return added.kept


def _digest(file: BinaryIO) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while chunk := file.read(READ):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


def _meta(head: bytes) -> Dataset:
    return read_dataset(BytesIO(head[PREAMBLE + 4 :]), False, True)


def _adopted(sop_uid: str) -> AuditEntry:
    details = {"sop_uid": sop_uid, "why": "received before a crash, not yet answered"}
    return AuditEntry(ledger.TRANSFERRED, "C", 0, kind="instance.adopted", details=details)


def _alarm(storage: Storage, missing: tuple[str, ...]) -> None:
    details = {"missing": len(missing), "first": list(missing[:20])}
    storage.audit.append(AuditEntry(ledger.ALERT, "E", 12, kind="file.missing", details=details))
    log.error(EventName.FILE_MISSING, missing=len(missing))
