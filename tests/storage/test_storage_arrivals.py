"""The log of arrivals: one flush for all who wait, torn records, reuse, and the power that goes."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage import (
    Arrivals,
    Lane,
    LogFull,
    Place,
    StorageBusy,
    StorageFull,
    StorageIOError,
    pending,
)
from storage.segments import BLOCK, Segment

SIZE = 1 << 21


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "arrivals"


@pytest.fixture
def lane(folder: Path) -> Iterator[Lane]:
    made = Lane(folder, 0, SIZE)
    yield made
    made.close()


@pytest.fixture
def arrivals(folder: Path) -> Iterator[Arrivals]:
    opened = Arrivals(folder)
    yield opened
    with suppress(OSError):  # closed by the test
        opened.close()


def _payload(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def _put(lane: Lane, number: int, size: int, piece: int = 50_000) -> Place:
    """A record called `number`, its payload in pieces, the first 200 bytes not hashed."""
    raw, draft = _payload(number, size), lane.draft()
    try:
        draft.write(raw[:200])
        for at in range(200, size, piece):
            draft.write(memoryview(raw)[at : at + piece][: size - at], hashed=True)
        return draft.seal(b"%d" % number)
    finally:
        draft.discard()


def _read(arrivals: Arrivals, place: Place, to: Path) -> bytes:
    record = arrivals.read(place)
    assert record is not None
    assert arrivals.whole(record)
    with to.open("wb") as file:
        arrivals.copy(record, file.fileno())
    return to.read_bytes()


@pytest.mark.parametrize("size", [200, 5_000, 131_000, 131_272, 200_000, SIZE // 8])
def test_what_was_sealed_is_read_back(
    lane: Lane, arrivals: Arrivals, tmp_path: Path, size: int
) -> None:
    place = _put(lane, size, size)
    assert _read(arrivals, place, tmp_path / "copy") == _payload(size, size)
    assert [record.meta for record in arrivals.left()] == [b"%d" % size]


@pytest.mark.parametrize("size", [900, 250_000])
def test_a_draft_reads_back_before_it_is_sealed(lane: Lane, size: int) -> None:
    raw, draft = _payload(1, size), lane.draft()
    draft.write(raw[:100])
    draft.write(raw[100:], hashed=True)
    with draft.reader() as file:
        file.seek(100)
        assert file.read(300) == raw[100:400]
        file.seek(size - 800, 1) if size > 1000 else None
        assert raw.endswith(file.read())
    assert b"".join(draft.pieces()) == raw
    assert draft.sha256() == hashlib.sha256(raw[100:]).hexdigest()
    draft.discard()


def test_what_is_too_large_is_handed_over_whole(lane: Lane) -> None:
    draft = lane.draft()
    draft.write(bytes(1000), hashed=True)
    with pytest.raises(LogFull):
        draft.write(bytes(lane.largest), hashed=True)
    assert b"".join(draft.pieces()) == bytes(1000)
    draft.discard()


def _until_full(lane: Lane) -> Iterator[Place]:
    for number in range(1000):
        try:
            yield _put(lane, number, 100_000)
        except LogFull:
            return


def test_marks_and_reuse(lane: Lane, arrivals: Arrivals, folder: Path) -> None:
    """Nothing is written over before it is safe; afterwards the lane goes on for ever."""
    lane.widen()
    count = sum(1 for _ in _until_full(lane))
    assert pending(folder) == count == len(arrivals.left())
    arrivals.filed(arrivals.left())
    assert pending(folder) == 0
    with pytest.raises(LogFull):
        _put(lane, count, 100_000)  # filed is not safe
    arrivals.safe()
    places = [_put(lane, n, 100_000) for n in range(count)]
    assert [record.place for record in arrivals.left()] == places


def test_slow_drafts_keep_no_segment_from_others(lane: Lane, arrivals: Arrivals) -> None:
    """One begins in each segment, and all else is filed and safe: the next word moves it out."""
    lane.widen()
    slow = []
    for _ in range(lane.SEGMENTS):
        slow.append(lane.draft())
        slow[-1].write(b"begins", hashed=True)
        segment = slow[-1]._page
        while lane._page is segment:
            try:
                _put(lane, 1, 100_000)
            except LogFull:
                break
        arrivals.filed(arrivals.left())
        arrivals.safe()
    with pytest.raises(LogFull):
        lane.draft()
    with pytest.raises(LogFull):
        slow[0].write(b"goes on", hashed=True)
    assert b"".join(slow[0].pieces()) == b"begins"
    slow[0].discard()
    _put(lane, 2, 100_000)
    slow[1].write(b"goes on", hashed=True)  # there is room again
    assert b"".join(slow[1].pieces()) == b"beginsgoes on"
    for draft in slow:
        draft.discard()


def test_a_second_reader_is_refused(arrivals: Arrivals, folder: Path) -> None:
    with pytest.raises(StorageBusy, match="in use by another process"):
        Arrivals(folder)


def test_another_process_goes_on_where_one_ended(folder: Path, arrivals: Arrivals) -> None:
    first = Lane(folder, 0, SIZE)
    place = _put(first, 1, 5_000)
    first.close()
    second = Lane(folder, 0, SIZE)
    second.widen()
    assert _put(second, 2, 5_000).segment != place.segment  # the first one's is not filed
    assert [record.meta for record in arrivals.left()] == [b"1", b"2"]
    second.close()


def test_what_a_process_filed_before_it_was_killed_lets_its_segment_go(
    lane: Lane, arrivals: Arrivals, folder: Path
) -> None:
    lane.widen()
    places = list(_until_full(lane))
    arrivals.filed(record for place in places if (record := arrivals.read(place)))
    arrivals.close()  # before it said that they are safe
    again = Arrivals(folder)
    assert again.left() == []
    again.safe()
    again.close()
    assert list(_until_full(lane))


def test_a_lane_that_is_gone_keeps_its_segment_until_it_is_safe(
    lane: Lane, arrivals: Arrivals, folder: Path
) -> None:
    arrivals.filed([record] if (record := arrivals.read(_put(lane, 1, 5_000))) else [])
    arrivals.close()
    again = Arrivals(folder)
    again.drop_lanes(0)
    assert list(folder.glob("*.log"))
    again.safe()
    again.drop_lanes(0)
    assert not list(folder.glob("*.log"))
    again.close()


def test_a_segment_of_another_size_is_read_where_it_is_now(
    folder: Path, arrivals: Arrivals, tmp_path: Path
) -> None:
    """The reader opens the log before its writers do: what it has open may be replaced."""
    first = Lane(folder, 0, SIZE)
    before = _put(first, 1, 5_000)
    arrivals.filed(arrivals.left())
    arrivals.safe()
    first.close()
    larger = Lane(folder, 0, 2 * SIZE)
    place = _put(larger, 2, 6_000)
    assert place == before
    assert _read(arrivals, place, tmp_path / "copy") == _payload(2, 6_000)
    (record,) = arrivals.left()
    assert not arrivals.is_filed(record)
    larger.close()


@pytest.mark.parametrize("at", ["head", "words", "first piece", "last piece"])
def test_a_torn_record_is_none(lane: Lane, arrivals: Arrivals, folder: Path, at: str) -> None:
    place = _put(lane, 1, 210_000)
    record = arrivals.read(place)
    assert record is not None
    where = {
        "head": place.offset + 30,
        "words": record.extents[-1][0] - 1,
        "first piece": record.extents[0][0] + 5_000,
        "last piece": record.extents[-1][0] + 100,
    }[at]
    with (folder / place.segment).open("r+b") as file:
        file.seek(where)
        before = file.read(1)
        file.seek(where)
        file.write(bytes([before[0] ^ 1]))
    assert arrivals.left() == []


def test_what_a_sender_writes_into_its_data_is_no_record(
    lane: Lane, arrivals: Arrivals, folder: Path
) -> None:
    """A record copied into another payload, at the place of a block: not its place, nor epoch."""
    place = _put(lane, 1, 5_000)
    stolen = (folder / place.segment).read_bytes()[place.offset :][: 2 * BLOCK]
    lane.widen()
    arrivals.filed(arrivals.left())
    arrivals.safe()
    draft = lane.draft()
    draft.write(stolen * 16, hashed=True)
    draft.write(stolen, hashed=True)
    draft.discard()  # never sealed: its pieces stay where they are
    other = Lane(folder, 1, SIZE)
    draft = other.draft()
    draft.write(stolen * 20, hashed=True)
    draft.seal(b"the only one")
    assert [record.meta for record in arrivals.left()] == [b"the only one"]
    other.close()


def test_those_who_wait_share_a_flush(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes = []

    def slow(file: int) -> None:
        flushes.append(file)
        time.sleep(0.05)

    monkeypatch.setattr(os, "fdatasync", slow)
    threads = [threading.Thread(target=_put, args=(lane, n, 5_000)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(flushes) <= 4


def test_a_flush_that_fails_fails_for_all_of_its_group(
    lane: Lane, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    lane.widen()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(StorageIOError):
            _put(lane, 1, 5_000)
    place = _put(lane, 2, 5_000)
    assert place.segment != "00-0.log"  # never trusted again


def test_what_was_written_before_a_flush_that_failed_is_never_called_durable(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells the error once and drops the pages of all: the next flush tells nothing."""
    errors, begun, failed = iter([OSError(5, "Input/output error")]), [], threading.Event()
    put_all = Segment.put_all

    def once(_: int) -> None:
        if error := next(errors, None):
            raise error

    def late(segment: Segment, pieces: list[bytes], offset: int) -> None:
        put_all(segment, pieces, offset)
        begun.append(offset)
        if len(begun) == 1:  # written, and not among those who wait when the flush fails
            assert failed.wait(5.0)

    monkeypatch.setattr(os, "fdatasync", once)
    monkeypatch.setattr(Segment, "put_all", late)
    outcomes: list[str] = []

    def seal(number: int) -> None:
        try:
            _put(lane, number, 5_000)
            outcomes.append("durable")
        except StorageIOError:
            outcomes.append("failed")

    first = threading.Thread(target=seal, args=(1,))
    first.start()
    while not begun:
        time.sleep(0.01)
    seal(2)
    failed.set()
    first.join()
    assert outcomes == ["failed", "failed"]


class _FailingDisk:
    """A C library whose syncfs(2) fails."""

    def __init__(self, number: int) -> None:
        self._number = number

    def syncfs(self, _: int) -> int:
        ctypes.set_errno(self._number)
        return -1


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_failed_lets_nothing_go(
    lane: Lane, arrivals: Arrivals, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What was filed before or after is filed again by the next process, in the same boot."""
    places = [_put(lane, 1, 5_000)]
    arrivals.filed(arrivals.left())
    with monkeypatch.context() as patched:
        patched.setattr(ctypes, "CDLL", lambda *_, **__: _FailingDisk(number))
        with pytest.raises(StorageIOError):
            arrivals.safe()
    arrivals.safe()  # says nothing, and does nothing
    places.append(_put(lane, 2, 5_000))
    record = arrivals.read(places[1])
    assert record is not None
    arrivals.filed([record])
    assert arrivals.is_filed(record)
    arrivals.close()
    again = Arrivals(folder)
    assert [record.place for record in again.left()] == places
    again.close()


def test_a_disk_that_cannot_be_read_is_said_to_have_failed(
    lane: Lane, arrivals: Arrivals, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By those who write and by the one who files; what they cannot read they do not keep open."""
    place, pread = _put(lane, 1, 5_000), os.pread

    def broken(file: int, length: int, offset: int) -> bytes:
        if offset >= place.offset:
            raise OSError(errno.EIO, "Input/output error")
        return pread(file, length, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        for look in (arrivals.left, lambda: arrivals.read(place)):
            with pytest.raises(StorageIOError):
                look()
        before = len(list(Path("/proc/self/fd").iterdir()))
        other = Lane(folder, 0, SIZE)
        with pytest.raises(StorageIOError):
            other.widen()
        with pytest.raises(LogFull):
            other.draft()
        other.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [record.place for record in arrivals.left()] == [place]


@pytest.mark.parametrize("call", ["open", "listdir", "stat"])
def test_without_a_descriptor_it_is_tried_again(
    lane: Lane, arrivals: Arrivals, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """None was flushed, so none failed: the next one counts."""
    _put(lane, 1, 5_000)
    arrivals.filed(arrivals.left())

    def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, none_left)
        with pytest.raises(StorageBusy):
            arrivals.safe()
    arrivals.safe()
    monkeypatch.setattr("storage.segments.boot", lambda: b"another boot 123")
    arrivals.close()
    again = Arrivals(folder)
    assert again.left() == []
    again.close()


def test_a_disk_without_room_takes_no_segment_out_of_the_log(
    lane: Lane, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that copies what it overwrites has none even for what is written already."""

    def full(*_: object) -> None:
        raise StorageFull("no space left")

    lane.widen()
    for _ in range(3):
        list(_until_full(lane))
        arrivals.filed(arrivals.left())
        arrivals.safe()
        with monkeypatch.context() as patched:
            patched.setattr(Segment, "put", full)
            patched.setattr(Segment, "put_all", full)
            for n in range(2 * lane.SEGMENTS):
                with pytest.raises(StorageFull):
                    _put(lane, n, 5_000)
    for n in range(2 * lane.SEGMENTS):
        with monkeypatch.context() as patched:
            patched.setattr(Segment, "put_all", full)
            with pytest.raises(StorageFull):
                _put(lane, n, 5_000)
    _put(lane, 1, 5_000)


class Disk:
    """What a disk holds that keeps nothing but what was flushed, and any part of the rest.

    Stands under `Segment`: every write is remembered in sectors until the file's next flush. Since
    a segment never changes its size, its writes and flushes are all that there is to lose.
    """

    SECTOR = 512

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.durable: dict[str, bytearray] = {}
        self.waiting: dict[str, list[tuple[int, bytes]]] = {}
        put, flush = Segment.put, Segment.flush

        def remember(segment: Segment, data: bytes, offset: int) -> None:
            with self._lock:
                self._of(segment)
                whole = bytes(data)
                for at in range(0, len(whole), self.SECTOR):
                    piece = offset + at, whole[at : at + self.SECTOR]
                    self.waiting[segment.name].append(piece)
            put(segment, data, offset)

        def remember_all(segment: Segment, pieces: list[bytes], offset: int) -> None:
            remember(segment, b"".join(pieces), offset)

        def keep(segment: Segment) -> None:
            with self._lock:
                self._of(segment)
                before, self.waiting[segment.name] = self.waiting[segment.name], []
            flush(segment)
            with self._lock:
                for offset, piece in before:
                    self.durable[segment.name][offset : offset + len(piece)] = piece

        monkeypatch.setattr(Segment, "put", remember)
        monkeypatch.setattr(Segment, "put_all", remember_all)
        monkeypatch.setattr(Segment, "flush", keep)

    def _of(self, segment: Segment) -> None:
        if segment.name not in self.durable:
            self.durable[segment.name] = bytearray(segment.path.read_bytes())
            self.waiting[segment.name] = []

    def after_power_loss(self, folder: Path, chance: random.Random) -> None:
        """Write the segments as a disk may hold them: any of the unflushed sectors, any order."""
        folder.mkdir()
        with self._lock:
            share = chance.choice((0.0, 0.3, 0.7, 1.0))
            for name, image in self.durable.items():
                found = bytearray(image)
                for offset, piece in self.waiting[name]:
                    if chance.random() < share:
                        found[offset : offset + len(piece)] = piece
                (folder / name).write_bytes(found)


@pytest.mark.parametrize("seed", range(12))
def test_power_loss_keeps_what_was_sealed(
    folder: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four senders, a reader that files now and then, and the power goes at some moment."""
    disk, chance = Disk(monkeypatch), random.Random(seed)
    lane, arrivals = Lane(folder, 0, SIZE), Arrivals(folder)
    lane.widen()
    sealed: dict[int, tuple[int, Place]] = {}
    filed: set[int] = set()
    lock, over = threading.Lock(), threading.Event()

    def send(sender: int) -> None:
        sizes = random.Random(seed * 10 + sender)
        number = sender * 1000
        while not over.is_set():
            number, size = number + 1, sizes.choice((300, 5_000, 90_000, 200_000))
            try:
                place = _put(lane, number, size)
            except LogFull:
                time.sleep(0.001)
                continue
            with lock:
                sealed[number] = size, place

    senders = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in senders:
        thread.start()
    until, safe = time.monotonic() + 0.2 + chance.random() * 0.3, set[int]()
    while time.monotonic() < until or filed == safe:  # some are filed and not safe
        with lock:
            news = {number: place for number, (_, place) in sealed.items() if number not in filed}
        arrivals.filed(record for place in news.values() if (record := arrivals.read(place)))
        filed |= set(news)
        if chance.random() < 0.5 and time.monotonic() < until:
            arrivals.safe()
            safe = set(filed)
    with lock:  # what is sealed from here on may be there or not
        promised = set(sealed) - safe
        disk.after_power_loss(tmp_path / "after", chance)
    over.set()
    for thread in senders:
        thread.join()
    arrivals.close()
    lane.close()
    monkeypatch.setattr("storage.segments.boot", lambda: b"another boot 123")
    found = Arrivals(tmp_path / "after")
    left = {int(record.meta): record for record in found.left()}
    assert promised <= set(left)
    for number in promised:
        raw = b"".join(found._segment(left[number].place.segment).pieces(left[number]))
        assert raw == _payload(number, sealed[number][0])
    assert promised & filed  # marks of another boot are not believed
    found.close()
