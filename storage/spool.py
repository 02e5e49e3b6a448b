"""Keeps files so that a power cut after `keep` or `write` returned loses none of them.

The final name first (link, which never replaces a file that may count already), then the
file's fsync, then the folder's: one journal commit on ext4. A file whose fsync failed is removed
and never trusted again: the kernel may have dropped its pages and call the next fsync a success.
Knows no DICOM. Names are the caller's, but `object_name` makes them without a UID as path.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from storage.errors import StorageError, from_os

FOLDERS = ("objects", "messages", "reports", "quarantine", "evidence")
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_BLOCK = 1 << 20


class Incoming:
    """A temporary file that grows while bytes arrive; `Spool.keep` or `discard` ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.hashed_size = 0
        self._hash = hashlib.sha256()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise from_os(error, path) from error

    def take_over(self, pieces: Iterable[bytes], hashed: Any, hashed_size: int) -> None:
        """Begin with bytes that arrived elsewhere; hashed: the hash of their last hashed_size."""
        for piece in pieces:
            self.write(piece)
        self._hash, self.hashed_size = hashed, hashed_size

    def write(self, data: bytes | bytearray | memoryview, *, hashed: bool = False) -> None:
        """Append `data`; hashed: it counts into `sha256`, so write what is not hashed first."""
        rest = memoryview(data).cast("B")
        if hashed:
            self._hash.update(rest)
            self.hashed_size += len(rest)
        try:
            while rest:
                done = os.write(self._file, rest)
                self.size += done
                rest = rest[done:]
        except OSError as error:
            raise from_os(error, self.path) from error

    def sha256(self) -> str:
        """Of the bytes written with hashed=True, as hex."""
        return self._hash.hexdigest()

    def fileno(self) -> int:
        """The open file, for reading back what arrived."""
        return self._file

    def open(self) -> BinaryIO:
        """What arrived, as a file to read from. Close it."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise from_os(error, self.path) from error

    def discard(self) -> None:
        """Close and remove; harmless when done twice, or after `keep`."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close without removing: what a crash leaves behind."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()


class Spool:
    """The files of a node under one folder; every path given out is relative to `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.arrivals = root / "arrivals"  # the log: `storage.lane`, `storage.arrivals`
        self.distrusted = ""  # why this disk is not trusted any more; '' while it is
        self._numbers = itertools.count()
        self._made: set[Path] = set()
        self._lock = threading.Lock()
        for folder in ("incoming", *FOLDERS):
            self._folder(root / folder)

    @staticmethod
    def object_name(sop_uid: str, sha256: str) -> str:
        """Where an instance's bytes go: no part of the name is text that a sender chose.

        Another one each time: what comes again must not get a file that retention removes.
        """
        hashed = hashlib.sha256(sop_uid.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{hashed[:2]}/{hashed[:16]}-{os.urandom(6).hex()}-{sha256}.dcm"

    def incoming(self) -> Incoming:
        """A new temporary file."""
        name = f"{os.getpid()}-{next(self._numbers)}-{os.urandom(6).hex()}.part"
        return Incoming(self.root / "incoming" / name)

    def keep(self, incoming: Incoming, folder: str, name: str) -> str:
        """Make the bytes durable as `folder`/`name`; returns that path. Ends `incoming`.

        A file of that name with the same content is used as it is; one that a crash left
        incomplete is replaced.
        """
        relative = f"{folder}/{name}"
        target = self.path(relative)
        try:
            self._folder(target.parent)
            self._publish(incoming, target)
        except OSError as error:
            raise self._failed(error, target) from error
        finally:
            incoming.discard()
        return relative

    def make(self, relative: str, write: Callable[[int], None]) -> None:
        """Let `write` fill a new file at `relative`; durable once the whole disk is synced.

        For what is on disk elsewhere until then (the log of arrivals). A file that is there is
        written over.
        """
        path = self.path(relative)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            try:
                file = os.open(path, flags, 0o640)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(path, flags, 0o640)
            try:
                write(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._failed(error, path) from error

    def write(self, folder: str, name: str, data: bytes) -> str:
        """Make `data` durable under `folder`; returns the path, which is not always `name`.

        The same data twice is one file. Other data under the same name gets a name of its own:
        a worker that lost its run never changes a file that was filed by the one who has it.
        """
        path = PurePosixPath(name)
        target = self.path(f"{folder}/{path}")
        if target.exists() and self.read(f"{folder}/{path}") != data:
            digest = hashlib.sha256(data).hexdigest()
            path = path.with_name(f"{path.stem}-{digest[:32]}{path.suffix}")
        incoming = self.incoming()
        try:
            incoming.write(data)
        except StorageError:
            incoming.discard()
            raise
        return self.keep(incoming, folder, str(path))

    def move(self, relative: str, folder: str, name: str) -> str:
        """Durably move a kept file, e.g. to the quarantine; returns the new path."""
        source, target = self.path(relative), self.path(f"{folder}/{name}")
        try:
            self._folder(target.parent)
            source.replace(target)
            _sync_folder(target.parent)
            _sync_folder(source.parent)
        except OSError as error:
            raise self._failed(error, source) from error
        return f"{folder}/{name}"

    def path(self, relative: str) -> Path:
        """Where `relative` lies. Raises StorageError if it would leave the spool."""
        parts = PurePosixPath(relative)
        if not relative or parts.is_absolute() or ".." in parts.parts or "\0" in relative:
            raise StorageError(f"{relative!r} is no path inside the spool.")
        return self.root / parts

    def read(self, relative: str) -> bytes:
        """The bytes of one file."""
        path = self.path(relative)
        try:
            return path.read_bytes()
        except OSError as error:
            raise from_os(error, path) from error

    def remove(self, relative: str) -> None:
        """Remove one file; gone already is fine."""
        path = self.path(relative)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise from_os(error, path) from error

    def temporary(self) -> list[Path]:
        """Files that are still arriving, or that a crash left behind."""
        return sorted((self.root / "incoming").iterdir())

    def listing(self, folder: str) -> Iterator[str]:
        """The paths of all files under `folder`, sorted within each subfolder."""
        for where, folders, files in os.walk(self.path(folder)):
            folders.sort()
            for name in sorted(files):
                yield Path(where, name).relative_to(self.root).as_posix()

    def free_bytes(self) -> int:
        """What this user may still write on this disk."""
        try:
            found = os.statvfs(self.root)
        except OSError as error:
            raise from_os(error, self.root) from error
        return found.f_bavail * found.f_frsize

    def _folder(self, folder: Path) -> None:
        if folder in self._made:
            return
        with self._lock:
            try:
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    _sync_folder(folder.parent)
            except OSError as error:
                raise from_os(error, folder) from error
            self._made.add(folder)

    def _publish(self, incoming: Incoming, target: Path) -> None:
        file = incoming.fileno()
        try:
            _link(incoming.path, target)
        except FileExistsError:
            file = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _same(file, incoming):
                    os.fsync(file)
                    _sync_folder(target.parent)
                    return
            finally:
                os.close(file)
            file = incoming.fileno()
            incoming.path.replace(target)
        try:
            os.fsync(file)
            _sync_folder(target.parent)
        except OSError:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            raise

    def _failed(self, error: OSError, path: Path) -> StorageError:
        if error.errno == errno.EIO:
            self.distrusted = f"{path}: {error.strerror}"
        return from_os(error, path)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(target)) from error
        source.rename(target)


def _same(file: int, incoming: Incoming) -> bool:
    """Whether an existing file holds what came: its last hashed bytes, or all where none were."""
    size = os.fstat(file).st_size
    if incoming.hashed_size:
        start = size - incoming.hashed_size
        return start >= 0 and _digest(file, start) == incoming.sha256()
    return size == incoming.size and _digest(file, 0) == _digest(incoming.fileno(), 0)


def _digest(file: int, start: int) -> str:
    found = hashlib.sha256()
    while block := os.pread(file, _BLOCK, start):
        found.update(block)
        start += len(block)
    return found.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
