"""Disks and databases that fail under the intake, and processes that die in the middle."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import intake_lab as lab
import pytest
from pydicom.uid import generate_uid

from dicom_node import intake
from dicom_node.intake.receive import OBJECTS
from storage import Storage, open_storage, upgrade


def _ready(node: lab.Node, yes: bool) -> bool:
    return lab.eventually(lambda: intake.status(node.data).ready is yes)


def _echo(node: lab.Node) -> int:
    with lab.associated(node) as assoc:
        return int(assoc.send_c_echo().Status)


def _limit_files(node: lab.Node, size: int) -> None:
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _fill(node: lab.Node, leave: int) -> Path:
    """Use up the node's disk but for `leave` bytes."""
    log = node.data / "spool" / "arrivals"
    assert lab.eventually(lambda: len(list(log.glob("*.log"))) == 4)  # written in advance
    ballast = node.data / "ballast"
    disk = os.statvfs(node.data)
    with ballast.open("wb") as file:
        file.write(bytes(disk.f_bavail * disk.f_frsize - leave))
    return ballast


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder whose data lie on a disk of 24 MB."""
    with lab.small_disk(tmp_path, 24) as mounted:
        if not mounted:
            pytest.skip("this system lets us not mount a disk")
        yield tmp_path


# ---- no space -------------------------------------------------------------------------------
def test_disk_full(small: Path) -> None:
    """A real small disk: ENOSPC while the data set streams in."""
    big = lab.sized(4)
    with lab.running(small) as node:
        assert lab.send(node, lab.data_set()) == [0x0000]
        ballast = _fill(node, 1 << 20)
        assert lab.send(node, big) == [0xA700]
        assert node.storage.spool.temporary() == []
        ballast.unlink()
        assert _ready(node, True)
        assert lab.send(node, big) == [0x0000]
        assert lab.bytes_of(node.stored()[big.SOPInstanceUID]) == lab.encoded(big)


def test_disk_full_shows_in_readiness_and_heals(tmp_path: Path) -> None:
    """A limit on the size of files, where no disk can be mounted."""
    made = lab.sized(1)
    with lab.running(tmp_path) as node:
        _limit_files(node, 1 << 14)
        with lab.associated(node) as assoc:
            assert assoc.send_c_store(made).Status == 0xA700
            assert assoc.send_c_echo().Status == 0x0000  # the association goes on
            assert assoc.send_c_store(made).Status == 0xA700
        assert _ready(node, False)
        assert intake.not_ready(node.data) == ["intake: the disk is full"]
        assert node.storage.spool.temporary() == []
        _limit_files(node, resource.RLIM_INFINITY)
        assert _ready(node, True)
        assert lab.send(node, made) == [0x0000]


def test_disk_full_db(small: Path) -> None:
    """Room in the log, none for file or commit: no more is answered, nothing answered is lost."""
    with lab.running(small) as node:
        statuses, sent = [], []
        ballast = _fill(node, 40_000)
        for _ in range(60):
            made = lab.data_set()
            sent.append(made)
            statuses += lab.send(node, made)
            if statuses[-1]:
                break
            time.sleep(0.1)
        assert statuses[-1] == 0xA700
        ballast.unlink()
        assert _ready(node, True)
        answered = {
            one.SOPInstanceUID for one, status in zip(sent, statuses, strict=True) if not status
        }
        assert set(node.stored()) == answered
        assert lab.send(node, sent[-1]) == [0x0000]
        assert set(node.stored()) == answered | {sent[-1].SOPInstanceUID}
        assert len(node.objects()) == len(answered) + 1


_READ_ONLY = """
import errno
def _guarded(real):
    def call(*arguments, **options):
        writes = real is not os.open or arguments[1] & (os.O_WRONLY | os.O_RDWR)
        if writes and os.path.exists(os.environ["READ_ONLY"]):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(*arguments, **options)
    return call
for _name in ("open", "write", "pwrite", "pwritev", "sendfile"):
    setattr(os, _name, _guarded(getattr(os, _name)))
"""


def test_disk_readonly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says once it has remounted a failing disk; files of the log stay open."""
    flag, made = tmp_path / "read-only", lab.data_set()
    monkeypatch.setenv("READ_ONLY", str(flag))
    with lab.running(tmp_path, patch=_READ_ONLY) as node:
        flag.touch()
        assert lab.send(node, made) == [0xA700]
        assert _echo(node) == 0x0000
        assert _ready(node, False)
        assert intake.not_ready(node.data) == ["intake: the disk is read-only"]
        flag.unlink()
        assert _ready(node, True)
        assert lab.send(node, made) == [0x0000]
        assert made.SOPInstanceUID in node.stored()


def test_files_that_cannot_be_made_are_no_fault_of_the_database(tmp_path: Path) -> None:
    made = lab.sized(2)
    with lab.running(tmp_path) as node:
        incoming = node.data / "spool" / "incoming"
        incoming.rmdir()
        assert lab.send(node, made) == [0xA700]
        assert _ready(node, False)
        (reason,) = intake.not_ready(node.data)
        assert reason.startswith("intake: no file can be made")
        incoming.mkdir()
        assert _ready(node, True)
        assert lab.send(node, made) == [0x0000]


_SLOW = """
import time
def _slow(real):
    return lambda fd: (time.sleep(1.2), real(fd))[1]
os.fsync, os.fdatasync = _slow(os.fsync), _slow(os.fdatasync)
"""


def test_disk_slow(tmp_path: Path) -> None:
    """Each flush takes 1.2 s: senders wait, memory is flat, nothing times out in here."""
    with lab.running(tmp_path, patch=_SLOW, limits={"idle": "2s"}) as node:
        begun, before = time.monotonic(), _memory(node)
        statuses: list[int] = []
        senders = [
            lab.in_background(lambda: statuses.extend(lab.send(node, lab.sized(4))))
            for _ in range(4)
        ]
        for sender in senders:
            sender.join(60)
        assert statuses == [0x0000] * 4
        assert time.monotonic() - begun >= 2.4
        assert _memory(node) - before < 32 << 20


def _memory(node: lab.Node) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


_BROKEN = """
import errno
_sync, _failed = os.fdatasync, []
def _break(fd):
    if not _failed and "arrivals" in os.readlink(f"/proc/self/fd/{fd}"):
        _failed.append(fd)
        raise OSError(errno.EIO, "Input/output error")
    return _sync(fd)
os.fdatasync = _break
"""


def test_disk_io_error(tmp_path: Path) -> None:
    made = lab.data_set()
    with lab.running(tmp_path, patch=_BROKEN) as node:
        assert lab.send(node, made) == [0xA700]
        assert (node.objects(), node.storage.spool.temporary()) == ([], [])
        assert lab.eventually(lambda: intake.status(node.data).restart)
        assert lab.send(node, made) == [0x0000]  # another segment, synced itself
        status = intake.status(node.data)
        assert (status.ready, status.restart) == (False, True)  # the next success proves nothing
        assert "restart" in intake.not_ready(node.data)[0]
        assert list(node.stored()) == [made.SOPInstanceUID]


# ---- nothing answered is lost ---------------------------------------------------------------
def _traced(folder: Path, size: int) -> list[str]:
    """The system calls of one C-STORE of so many bytes on an association that stands."""
    trace = folder / "trace"
    calls = "trace=link,linkat,fsync,fdatasync,syncfs,pwrite64,pwritev,pwritev2,sendto,sendmsg"
    before = ("strace", "-f", "-y", "-qq", "-s", "32", "-e", calls, "-o", str(trace))
    made = lab.sized(size / (1 << 20))
    with lab.running(folder, before=before) as node:
        if "ptrace" in node.log:
            pytest.skip("this system lets nobody trace")
        assert lab.send(node, lab.data_set()) == [0x0000]
        # files and rows of the first one are on disk
        assert lab.eventually(lambda: "syncfs(" in trace.read_text(), 20)
        time.sleep(0.5)
        with lab.associated(node) as assoc:
            assert assoc.send_c_echo().Status == 0x0000
            marked = len(trace.read_text())
            assert assoc.send_c_store(made).Status == 0x0000
            time.sleep(0.1)
            told = trace.read_text()[marked:].splitlines()
        os.kill(_python(node), 15)
        node.process.wait(20)
    answer = next(n for n, line in enumerate(told) if re.search(r"sendto\(\d+<(TCP|socket)", line))
    return told[: answer + 1]


FLUSH = r"(fsync|fdatasync|syncfs)\("
traced = pytest.mark.skipif(
    shutil.which("strace") is None and not os.environ.get("DICTAMEN_SYSTEM"),
    reason="strace is not installed",
)


@traced
def test_power_loss_costs_one_flush_an_instance(tmp_path: Path) -> None:
    """The record is written, the log is synced once, then the answer leaves: nothing between."""
    told = _traced(tmp_path, 1 << 17)
    flushes = [n for n, line in enumerate(told) if re.search(FLUSH, line)]
    written = [
        n for n, line in enumerate(told) if re.search(r"pwrite(v2?|64)\(\d+<[^>]*arrivals", line)
    ]
    assert len(flushes) == 1, told
    assert re.search(r"fdatasync\(\d+<[^>]*arrivals/00-\d\.log>", told[flushes[0]])
    assert written
    assert max(written) < flushes[0] < len(told) - 1


@traced
def test_power_loss_of_a_large_instance(tmp_path: Path) -> None:
    """A file of its own: name, file and folder synced, then its record, then the answer."""
    told = _traced(tmp_path, 3 << 20)

    def first(pattern: str, after: int = -1) -> int:
        found = [n for n, line in enumerate(told) if n > after and re.search(pattern, line)]
        assert found, (pattern, told)
        return found[0]

    name = first(r"link(at)?\(.*objects/")
    data = first(r"fsync\(\d+<[^>]*(incoming|objects)/[^>]*(part|dcm)>", name)
    folder = first(r"fsync\(\d+<[^>]*objects/[0-9a-f]{2}>", data)
    record = first(r"fdatasync\(\d+<[^>]*arrivals/", folder)
    assert name < data < folder < record < len(told) - 1


def _python(node: lab.Node) -> int:
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    return int(children[0]) if children else node.pid


def test_kill_intake(tmp_path: Path) -> None:
    """SIGKILL in the middle of 16 associations, several times: what was answered is there."""
    settings = lab.settings_for(tmp_path, lab.free_port())
    answered: dict[str, bytes] = {}
    lock = threading.Lock()
    for _ in range(2):
        node = lab.launch(settings, tmp_path)
        over = threading.Event()
        senders = [lab.in_background(_flood, node, answered, lock, over) for _ in range(16)]
        goal = len(answered) + 20
        assert lab.eventually(lambda goal=goal: len(answered) > goal, 60)
        node.kill()
        over.set()
        for sender in senders:
            sender.join(30)
    node = lab.launch(settings, tmp_path)
    try:
        kept = node.stored()
        assert set(answered) <= set(kept)
        assert all(lab.bytes_of(kept[uid]) == raw for uid, raw in answered.items())
        assert node.storage.spool.temporary() == []
        known = {path.relative_to(node.storage.spool.root).as_posix() for path in kept.values()}
        assert set(node.objects()) == known  # what was not answered is adopted
        assert node.storage.audit.verify() == ()
    finally:
        node.stop()


def _flood(
    node: lab.Node, answered: dict[str, bytes], lock: threading.Lock, over: threading.Event
) -> None:
    try:
        with lab.associated(node, patience=5) as assoc:  # a killed peer is not noticed sooner
            while not over.is_set() and assoc.is_established:
                made = lab.data_set(StudyInstanceUID=generate_uid())
                answer = assoc.send_c_store(made)
                if answer and answer.Status == 0x0000:
                    with lock:
                        answered[str(made.SOPInstanceUID)] = lab.encoded(made)
    except (RuntimeError, OSError, AttributeError):
        return  # the peer was killed


_DIE_BETWEEN = """
from storage._studies import Studies
def _die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
Studies.add_many = _die
"""


@pytest.mark.parametrize("file", ["left whole", "torn", "missing"])
def test_kill_between(tmp_path: Path, file: str) -> None:
    """Answered, the file has its name, the row was never committed: the log has it all."""
    made = lab.data_set()
    settings = lab.settings_for(tmp_path, lab.free_port())
    node = lab.launch(settings, tmp_path, patch=_DIE_BETWEEN)
    lab.send(node, made)
    node.process.wait(20)
    assert node.stored() == {}
    (object_,) = node.objects()
    path = node.storage.spool.path(object_)
    if file == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif file == "missing":
        path.unlink()
    node._storage.close()
    node = lab.launch(settings, tmp_path)
    try:
        assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == lab.encoded(made)
        (row,) = node.storage.studies.instances(made.StudyInstanceUID)
        assert (row.path, row.calling_ae, row.repeats) == (object_, "PACS", 0)
        assert lab.send(node, made) == [0x0000]
        assert node.objects() == [object_]
    finally:
        node.stop()


@pytest.mark.parametrize("policy", ["keep_first", "keep_both", "refuse"])
def test_what_is_answered_and_not_filed_counts_for_the_same_uid(
    tmp_path: Path, policy: str
) -> None:
    """First and second content wait in the log together, through a crash: the first one counts."""
    first = lab.data_set(Manufacturer="one")
    second = lab.data_set(SOPInstanceUID=first.SOPInstanceUID, Manufacturer="two")
    settings = lab.settings_for(tmp_path, lab.free_port(), on_conflict=policy)
    patch = "import time\nfrom storage._studies import Studies\n"
    patch += "Studies.add_many = lambda *_, **__: (time.sleep(0.4), os.kill(os.getpid(), 9))"
    node = lab.launch(settings, tmp_path, patch=patch)
    with lab.associated(node, patience=5) as assoc:
        answers = [assoc.send_c_store(one) for one in (first, second) if assoc.is_established]
    assert [int(one.Status) for one in answers if one] == ([] if policy == "refuse" else [0, 0])
    node.process.wait(20)
    node = lab.launch(settings, tmp_path)
    try:
        rows = node.storage.studies.instances(first.StudyInstanceUID)
        kept = [lab.bytes_of(node.storage.spool.path(row.path)) for row in rows]
        assert kept[0] == lab.encoded(first)
        assert len(kept) == (2 if policy == "keep_both" else 1)
    finally:
        node.stop()


def test_db_locked(tmp_path: Path) -> None:
    """Another process holds the database longer than the busy time-out: no more is answered."""
    first, second = lab.data_set(), lab.data_set()
    with lab.running(tmp_path, busy=1.0) as node:
        other = sqlite3.connect(node.data / "dictamen.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with lab.associated(node) as assoc:
            assert assoc.send_c_store(first).Status == 0x0000  # durable in the log
            assert _ready(node, False)
            begun = time.monotonic()
            assert assoc.send_c_store(second).Status == 0xA700
            assert time.monotonic() - begun < 0.5  # at once
            assert _echo(node) == 0x0000
            other.execute("ROLLBACK")
            other.close()
            assert _ready(node, True)
            assert assoc.send_c_store(second).Status == 0x0000
        assert set(node.stored()) == {first.SOPInstanceUID, second.SOPInstanceUID}


@pytest.mark.parametrize("changed", [{"log": "16MiB"}, {"processes": 2}], ids=["log", "processes"])
def test_a_log_of_another_size_is_filed(tmp_path: Path, changed: dict[str, Any]) -> None:
    """What changes the size of segments at a restart changes nothing for who sends."""
    first, second = lab.data_set(), lab.data_set()
    with lab.running(tmp_path, log="32MiB") as node:
        assert lab.send(node, first) == [0x0000]
    with lab.running(tmp_path, **{"log": "32MiB", **changed}) as node:
        assert lab.send(node, second) == [0x0000]
        assert lab.eventually(lambda: node.unfiled() == 0)
        assert set(node.stored()) == {first.SOPInstanceUID, second.SOPInstanceUID}


_AWAY = """
import time
from storage import StorageBusy
from storage._studies import Studies
_until, _known = time.monotonic() + 3, Studies.known_paths
def _away(*words):
    if time.monotonic() < _until:
        raise StorageBusy("the database is away")
    return _known(*words)
Studies.known_paths = _away
"""


@pytest.mark.parametrize("left", [True, False], ids=["something is left to file", "nothing is"])
def test_a_database_that_is_away_at_the_start(tmp_path: Path, left: bool) -> None:
    """No instance is taken until it is back; then they are, whatever there was to file."""
    settings = lab.settings_for(tmp_path, lab.free_port())
    node = lab.launch(settings, tmp_path, patch=_DIE_BETWEEN if left else "")
    first = lab.data_set()
    lab.send(node, first)
    if not left:
        assert lab.eventually(lambda: node.unfiled() == 0)
        node.stop()
    node.process.wait(20)
    node = lab.launch(settings, tmp_path, patch=_AWAY)
    try:
        second = lab.data_set()
        assert lab.send(node, second) == [0xA700]
        assert _ready(node, True)
        assert lab.send(node, second) == [0x0000]
        assert set(node.stored()) == {first.SOPInstanceUID, second.SOPInstanceUID}
    finally:
        node.stop()


_ONE_CANNOT = """
from storage import StorageError
from storage._studies import Studies
_add = Studies.add_many
def _refuse(self, batch, **words):
    if any(one.identity.accession == "NEVER" for one in batch):
        raise StorageError("a rule of the tables was broken")
    return _add(self, batch, **words)
Studies.add_many = _refuse
"""


def test_what_can_never_be_filed_holds_up_no_start(tmp_path: Path) -> None:
    """One of what a crash left: it is set aside, and the others are filed."""
    one, never, other = (lab.data_set(AccessionNumber=n) for n in ("A1", "NEVER", "A1"))
    settings = lab.settings_for(tmp_path, lab.free_port())
    patch = "import time\nfrom storage._studies import Studies\n"
    patch += "Studies.add_many = lambda *_, **__: (time.sleep(0.6), os.kill(os.getpid(), 9))"
    node = lab.launch(settings, tmp_path, patch=patch)
    with lab.associated(node) as assoc:
        assert [int(assoc.send_c_store(made).Status) for made in (one, never, other)] == [0] * 3
        node.process.wait(20)
    node = lab.launch(settings, tmp_path, patch=_ONE_CANNOT)
    try:
        assert set(node.stored()) == {one.SOPInstanceUID, other.SOPInstanceUID}
        kept = [n for n in node.storage.spool.listing("quarantine") if n.endswith(".dcm")]
        assert [lab.bytes_of(node.storage.spool.path(n)) for n in kept] == [lab.encoded(never)]
        assert lab.send(node, lab.data_set()) == [0x0000]
    finally:
        node.stop()


# ---- recovery -------------------------------------------------------------------------------
@pytest.fixture
def storage(tmp_path: Path) -> Any:
    upgrade(f"sqlite:///{tmp_path / 'dictamen.db'}")
    found = open_storage(f"sqlite:///{tmp_path / 'dictamen.db'}", tmp_path, lab.KEY, who="test")
    yield found
    found.close()


def test_an_object_that_is_not_what_its_name_says_is_removed(storage: Storage) -> None:
    wrong = storage.spool.write(
        OBJECTS, storage.spool.object_name("1.2.3", "0" * 64), b"half of it"
    )
    left = storage.spool.incoming()
    left.write(b"left over")
    left.close()
    mine = left.path
    theirs = left.path.with_name("4194304-0-abc.part")  # above any process number
    mine.rename(theirs)
    found = intake.recover(storage)
    assert set(found.removed) == {wrong, "incoming/4194304-0-abc.part"}
    assert (found.adopted, found.missing) == ((), ())
    assert intake.recover(storage) == intake.Recovered((), (), ())


def _forget(storage: Storage, uid: str) -> tuple[str, ...]:
    """What retention does first: rows go, the files are to be removed next."""
    seen = len(storage.studies.instances(uid))
    storage.studies.plan(uid, [], trace=[], instances_seen=seen, done=True, at=datetime.now(UTC))
    return storage.studies.forget(uid)


def test_acknowledged_while_retention_removes_the_same_bytes(tmp_path: Path) -> None:
    made = lab.data_set()
    with lab.running(tmp_path) as node:
        assert lab.send(node, made) == [0x0000]
        removing = _forget(node.storage, made.StudyInstanceUID)
        assert lab.send(node, made) == [0x0000]
        for path in removing:
            node.storage.spool.remove(path)
        assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == lab.encoded(made)


@pytest.mark.parametrize("again", [False, True], ids=["nothing came", "a part came again"])
def test_kill_while_retention_removes(tmp_path: Path, again: bool) -> None:
    """Files that a purge left behind are no new instances of the study."""
    one = lab.data_set()
    two = lab.data_set(StudyInstanceUID=one.StudyInstanceUID)
    with lab.running(tmp_path) as node:
        assert lab.send(node, one, two) == [0x0000] * 2
        left = _forget(node.storage, one.StudyInstanceUID)
        if again:
            assert lab.send(node, one) == [0x0000]
        before = intake.recover(node.storage)
        assert before == intake.Recovered((), (), ())  # an intake is at work: nothing is touched
        node.stop()
        found = intake.recover(node.storage)
        assert (set(found.removed), found.adopted) == (set(left), ())
        assert set(node.stored()) == ({one.SOPInstanceUID} if again else set())
        assert len(node.objects()) == len(node.stored())


def test_a_file_that_is_being_written_is_left_alone(storage: Storage) -> None:
    with storage.spool.incoming() as mine:
        assert intake.recover(storage).removed == ()
        assert mine.path.exists()


def test_a_file_that_another_process_is_writing_is_left_alone(storage: Storage) -> None:
    """When nobody has looked at that process yet, and what one of the same number left before."""
    with subprocess.Popen(["sleep", "60"]) as other:
        time.sleep(0.1)
        incoming = storage.spool.root / "incoming"
        now, before = (incoming / f"{other.pid}-{n}-abc.part" for n in range(2))
        for path in (now, before):
            path.write_bytes(b"half of it")
        os.utime(before, (time.time() - 60, time.time() - 60))
        found = intake.recover(storage)
        other.kill()
    assert found.removed == (f"incoming/{before.name}",)
    assert now.exists()


def test_rows_without_a_file_are_an_alarm(tmp_path: Path) -> None:
    made = lab.data_set()
    with lab.running(tmp_path) as node:
        lab.send(node, made)
        path = node.stored()[made.SOPInstanceUID]
        path.unlink()
        found = intake.recover(node.storage)
        assert [node.storage.spool.path(one) for one in found.missing] == [path]
        (alarm,) = [one for one in node.audit("110113") if one.kind == "file.missing"]
        assert alarm.outcome == 12
        assert lab.send(node, made) == [0x0000]  # a repeat brings it back
        assert node.stored()
        assert intake.recover(node.storage).missing == ()
