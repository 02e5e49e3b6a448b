"""What can go wrong in this room, sorted by what the caller does next.

Nothing here decides anything but the class: which fate an error number of the operating system
or of a database stands for. The message says what happened, to what, and what to do.
"""

from __future__ import annotations

import errno
from pathlib import Path


class StorageError(Exception):
    """Base of this room. The message says what happened, to what, and what to do."""

    def __init__(self, what: str, *, then: str = "") -> None:
        super().__init__(f"{what} {then}".strip())


class StorageBusy(StorageError):
    """Locked or unreachable past the busy time-out, or no descriptor or memory is left.

    Intake answers A700; try again.
    """


class StorageFull(StorageError):
    """No space left for a file or a commit. Intake answers A700; recovers when space returns."""


class StorageReadOnly(StorageError):
    """The folder or the database may not be written."""


class StorageIOError(StorageError):
    """The disk failed. What was being written is not trusted; ask for a restart."""


class StorageCorrupt(StorageError):
    """The database is damaged. Do not start; names the file and the way to restore."""


class StorageOutdated(StorageError):
    """The schema is not the one this program knows. Run `dictamen db upgrade`."""


class StorageNewer(StorageOutdated):
    """A newer program has upgraded the schema; this one cannot bring it back."""


class LeaseLost(StorageError):
    """What was claimed is no longer ours; nothing was changed. Drop the work."""


_FATES: dict[int, type[StorageError]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EFBIG: StorageFull,
    errno.EROFS: StorageReadOnly,
    errno.EACCES: StorageReadOnly,
    errno.EPERM: StorageReadOnly,
    errno.EIO: StorageIOError,
    errno.EMFILE: StorageBusy,
    errno.ENFILE: StorageBusy,
    errno.ENOMEM: StorageBusy,
}
_THEN: dict[type[StorageError], str] = {
    StorageFull: "Free space on this disk.",
    StorageReadOnly: "Mount it writable for this user.",
    StorageIOError: "Check the disk and restart; this file was removed and is not trusted.",
}


def from_flush(error: OSError, path: Path) -> StorageError:
    """A flush that failed, whatever the number: the kernel tells it once and may drop the pages."""
    kind = StorageIOError
    return kind(f"{path}: not flushed: {error.strerror or error}.", then=_THEN[kind])


def from_os(error: OSError, path: Path) -> StorageError:
    """The error of this room for what the operating system said about `path`."""
    fate = _FATES.get(error.errno or 0, StorageError)
    return fate(f"{path}: {error.strerror or error}.", then=_THEN.get(fate, ""))
