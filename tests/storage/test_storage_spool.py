"""The spool: what `keep` returned is on disk, and a disk that fails says which way."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import (
    Spool,
    StorageError,
    StorageFull,
    StorageIOError,
    StorageReadOnly,
)

DATA = b"a data set" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
UID = "1.2.826.0.1.3680043.8.498.1"
NAME = Spool.object_name(UID, SHA)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool")


def arrive(spool: Spool, data: bytes = DATA, header: bytes = b"DICM") -> str:
    """One instance: a header of ours, then what came."""
    incoming = spool.incoming()
    incoming.write(header)
    for start in range(0, len(data), 777):
        incoming.write(data[start : start + 777], hashed=True)
    assert incoming.size == len(header) + len(data)
    assert incoming.sha256() == hashlib.sha256(data).hexdigest()
    return spool.keep(incoming, "objects", NAME)


def test_what_is_kept_is_what_came(spool: Spool) -> None:
    path = arrive(spool)
    assert path == f"objects/{NAME}"
    assert spool.read(path) == b"DICM" + DATA
    assert spool.temporary() == []
    assert list(spool.listing("objects")) == [path]


def test_no_name_is_built_from_a_uid() -> None:
    name = Spool.object_name("../../../outside/x", SHA)
    folder, file = name.split("/")
    assert folder == file[:2]
    assert re.fullmatch(f"[0-9a-f]{{16}}-[0-9a-f]{{12}}-{SHA}.dcm", file)


def test_no_two_receptions_share_a_name() -> None:
    """What retention removes is never the file of the same bytes that came again."""
    assert Spool.object_name(UID, SHA) != Spool.object_name(UID, SHA)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "objects/../../x", "", "objects/a\0b"])
def test_no_path_leaves_the_spool(spool: Spool, path: str) -> None:
    for use in (spool.path, spool.read, spool.remove):
        with pytest.raises(StorageError):
            use(path)
    with pytest.raises(StorageError):
        spool.write("reports", f"../{path}", b"")


@pytest.mark.parametrize(
    ("left_behind", "kept"),
    [
        pytest.param(b"DICM" + DATA, b"DICM" + DATA, id="the same"),
        pytest.param(b"another header" + DATA, b"another header" + DATA, id="the same data set"),
        pytest.param(b"", b"DICM" + DATA, id="empty after a power cut"),
        pytest.param(b"DICM" + DATA[:-1], b"DICM" + DATA, id="cut short"),
        pytest.param(b"DICM" + DATA[:-1] + b"?", b"DICM" + DATA, id="damaged"),
    ],
)
def test_a_name_that_exists(spool: Spool, left_behind: bytes, kept: bytes) -> None:
    spool.write("objects", NAME, left_behind)
    assert spool.read(arrive(spool)) == kept
    assert spool.temporary() == []


def test_a_crash_leaves_only_a_temporary_file(spool: Spool) -> None:
    incoming = spool.incoming()
    incoming.write(DATA)
    incoming.close()
    assert spool.temporary() == [incoming.path]
    assert list(spool.listing("objects")) == []
    with spool.incoming() as other:
        other.write(DATA)
    assert spool.temporary() == [incoming.path]


def test_other_data_under_a_taken_name_gets_its_own(spool: Spool) -> None:
    first = spool.write("reports", "ab/overlay.dcm", b"of the worker that has the run")
    late = spool.write("reports", "ab/overlay.dcm", b"of one that lost it")
    assert late != first
    assert late == spool.write("reports", "ab/overlay.dcm", b"of one that lost it")
    assert spool.read(first) == b"of the worker that has the run"
    assert spool.read(late) == b"of one that lost it"


def test_moved_to_quarantine(spool: Spool) -> None:
    kept = arrive(spool)
    moved = spool.move(kept, "quarantine", "why/1.dcm")
    assert spool.read(moved) == b"DICM" + DATA
    assert list(spool.listing("objects")) == []
    spool.remove(moved)
    spool.remove(moved)
    assert list(spool.listing("quarantine")) == []


def test_every_step_of_durability(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name first, then the file's flush, then the folder's; nothing is removed before."""
    steps: list[str] = []
    link, fsync = os.link, os.fsync

    def spy_link(source: Path, target: Path) -> None:
        link(source, target)
        steps.append(f"link {target.name}")

    def spy_fsync(file: int) -> None:
        fsync(file)
        steps.append(f"fsync {Path(f'/proc/self/fd/{file}').readlink().name}")

    arrive(spool, header=b"another")  # makes the folder
    spool.remove(f"objects/{NAME}")
    incoming = spool.incoming()
    incoming.write(DATA, hashed=True)
    monkeypatch.setattr(os, "link", spy_link)
    monkeypatch.setattr(os, "fsync", spy_fsync)
    spool.keep(incoming, "objects", NAME)
    folder, file = NAME.split("/")
    assert steps == [f"link {file}", f"fsync {incoming.path.name}", f"fsync {folder}"]


def test_without_hard_links(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none."""

    def no_links(_source: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert spool.read(arrive(spool)) == b"DICM" + DATA
    assert spool.read(arrive(spool, header=b"again")) == b"DICM" + DATA


def test_disk_io_error_is_never_trusted(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may drop the pages and call the next fsync a success."""
    arrive(spool)
    spool.remove(f"objects/{NAME}")

    def broken(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(StorageIOError, match="restart"):
            arrive(spool)
    assert list(spool.listing("objects")) == []
    assert spool.temporary() == []
    assert "Input/output error" in spool.distrusted
    assert spool.read(arrive(spool)) == b"DICM" + DATA  # another file, written anew


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "dictamen-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_full_while_streaming(small: Path) -> None:
    spool = Spool(small / "spool")
    kept = spool.write("reports", "before.dcm", b"x" * 50_000)
    incoming = spool.incoming()
    with pytest.raises(StorageFull, match=r"[Ff]ree space"):
        incoming.write(b"x" * 500_000, hashed=True)
    incoming.discard()
    assert spool.temporary() == []
    assert spool.free_bytes() > 100_000
    assert len(spool.read(kept)) == 50_000
    with pytest.raises(StorageFull):
        spool.write("reports", "big.dcm", b"x" * 500_000)
    assert spool.temporary() == []
    assert spool.write("reports", "after.dcm", b"x" * 50_000)  # recovers alone


def test_disk_readonly_while_streaming(small: Path) -> None:
    spool = Spool(small / "spool")
    kept = spool.write("reports", "before.dcm", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(StorageReadOnly):
        spool.incoming()
    with pytest.raises(StorageReadOnly):
        spool.write("reports", "after.dcm", b"x")
    assert spool.read(kept) == b"x"


def test_a_missing_file_is_an_error_of_this_room(spool: Spool) -> None:
    with pytest.raises(StorageError, match=r"gone\.dcm"):
        spool.read("objects/aa/gone.dcm")
