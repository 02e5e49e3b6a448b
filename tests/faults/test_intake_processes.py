"""Several processes that receive: kills in flight, the rule of the same UID, limits, the power."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import intake_lab as lab
import pytest
import raw_sender

sys.path.insert(0, str(lab.ROOT / "tests/benchmarks"))
import intake_kills


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Node]:
    folder = tmp_path_factory.mktemp("processes")
    limits = {"per_address": 6, "handshake": "30s"}
    with lab.running(folder, processes=2, limits=limits) as found:
        yield found


def _hands(node: lab.Node) -> list[int]:
    return intake_kills.receivers(node.process)


def _by_process(node: lab.Node, count: int, stack: ExitStack) -> dict[str, raw_sender.Sender]:
    """Associations until `count` processes serve one each: process -> association."""
    found: dict[str, raw_sender.Sender] = {}
    until = time.monotonic() + 40  # one that was started anew takes a moment
    while time.monotonic() < until:
        time.sleep(0.05)
        sender = raw_sender.Sender(node.port)
        stack.callback(sender.close)
        name = f"127.0.0.1:{sender._socket.getsockname()[1]}"
        assert lab.eventually(lambda name=name: _server(node, name))
        if _server(node, name) in found:
            sender.release()
        else:
            found[_server(node, name)] = sender
        if len(found) == count:
            return found
    raise AssertionError("one process takes all")


def _server(node: lab.Node, association: str) -> str:
    opened = node.events("association.opened")
    return next((line["process"] for line in opened if line["association"] == association), "")


def test_each_has_the_limits_of_all_in_mind(node: lab.Node) -> None:
    with ExitStack() as stack:
        several = [raw_sender.Sender(node.port) for _ in range(6)]
        for one in several:
            stack.callback(one.close)
        with pytest.raises(raw_sender.Refused, match="PDU 3: 00020302"):
            raw_sender.Sender(node.port)
        for one in several:
            one.release()
    assert lab.eventually(lambda: lab.rejection(node) is None)


def test_the_same_uid_by_two_processes(node: lab.Node) -> None:
    """What one process has answered is first, whatever the other one hears a moment later."""
    with ExitStack() as stack:
        one, other = _by_process(node, 2, stack).values()
        sent = {}
        for turn in range(20):
            uid = raw_sender.new_uid()
            first, second = (one, other) if turn % 2 else (other, one)
            sent[uid] = raw_sender.data_set(uid, 200 + turn)
            assert first.store(uid, sent[uid]) == 0
            assert second.store(uid, raw_sender.data_set(uid, 9_000)) == 0
        kept = node.stored()
        assert all(lab.bytes_of(kept[uid]) == raw for uid, raw in sent.items())
        one.release()
        other.release()


def test_one_that_ends_is_replaced(node: lab.Node) -> None:
    before = _hands(node)
    os.kill(before[0], signal.SIGKILL)
    assert lab.eventually(lambda: len(set(_hands(node)) - set(before)) == 1, 20)
    assert lab.eventually(lambda: node.events("receiver.ended"))
    with ExitStack() as stack:
        assert len(_by_process(node, 2, stack)) == 2
    assert lab.eventually(lambda: node.status()["ready"])


def test_none_decodes_a_pixel(node: lab.Node) -> None:
    for hand in _hands(node):
        maps = Path(f"/proc/{hand}/maps").read_text()
        assert not [name for name in ("gdcm", "numpy", "torch", "onnxruntime") if name in maps]
        status = Path(f"/proc/{hand}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0])
        assert resident < 120 * 1024


def test_kill_intake_in_flight(tmp_path: Path) -> None:
    """The short form of `tests/benchmarks/intake_kills.py`."""
    answered, wrong = intake_kills.run(2, 4, 120, tmp_path, lab.free_port())
    assert answered >= 120
    assert wrong == []


_NEVER_SAFE = "from storage import Arrivals\nArrivals.safe = lambda self: None"


def test_power_loss_of_a_whole_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk kept the log and an old database; final files are there, torn, empty or missing."""
    settings = lab.settings_for(tmp_path, lab.free_port())
    node = lab.launch(settings, tmp_path, patch=_NEVER_SAFE)
    sent, chance = {}, random.Random(5)
    copy = tmp_path / "old.db"
    sender = raw_sender.Sender(node.port)
    for turn in range(40):
        uid = raw_sender.new_uid()
        sent[uid] = raw_sender.data_set(uid, chance.choice((500, 40_000, 150_000)))
        assert sender.store(uid, sent[uid]) == 0
        if turn == 20:
            assert lab.eventually(lambda: node.unfiled() == 0)
            node.process.send_signal(signal.SIGSTOP)
            shutil.copy(node.data / "dictamen.db", copy)
            shutil.copy(node.data / "dictamen.db-wal", f"{copy}-wal")
            node.process.send_signal(signal.SIGCONT)
    assert lab.eventually(lambda: node.unfiled() == 0)
    node.kill()
    sender.close()
    for name in list(node.objects()):
        path = node.data / "spool" / name
        fate = chance.choice(("whole", "torn", "empty", "missing"))
        if fate == "missing":
            path.unlink()
        elif fate != "whole":
            os.truncate(path, 0 if fate == "empty" else path.stat().st_size // 2)
    if node._storage:
        node._storage.close()
    for end in ("", "-wal"):
        shutil.copy(f"{copy}{end}", node.data / f"dictamen.db{end}")
    (node.data / "dictamen.db-shm").unlink(missing_ok=True)
    booted = "from storage import segments\nsegments.boot = lambda: b'the next boot...'"
    node = lab.launch(settings, tmp_path, patch=booted)
    try:
        kept = node.stored()
        assert set(kept) == set(sent)
        assert all(lab.bytes_of(kept[uid]) == raw for uid, raw in sent.items())
        assert node.storage.audit.verify() == ()
    finally:
        node.stop()


def test_a_large_instance_costs_no_memory(node: lab.Node) -> None:
    """RSS of the process that receives it, from 5 KB to 150 MB."""
    with ExitStack() as stack:
        name, sender = next(iter(_by_process(node, 1, stack).items()))
        hand = _hands(node)[0]
        del name
        high = []
        for pixels in (5_000, 150_000_000):
            uid = raw_sender.new_uid()
            raw = raw_sender.data_set(uid, pixels)
            begun = time.monotonic()
            assert sender.store(uid, raw) == 0
            assert time.monotonic() - begun < 60
            status = Path(f"/proc/{hand}/status").read_text()
            high.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
        sender.release()
    assert high[1] - high[0] < 16 << 20
