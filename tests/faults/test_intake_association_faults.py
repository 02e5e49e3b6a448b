"""Associations that must not open, and how they are told."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import intake_lab as lab
import pytest
from raw_sender import association_request

from dicom_node.admission import Rejection
from dicom_node.intake.door import Door, Entrance, Hooks


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Node]:
    with lab.running(tmp_path_factory.mktemp("intake"), limits={"per_address": 3}) as found:
        yield found


def _alerts(node: lab.Node, why: str) -> list[object]:
    return [entry for entry in node.audit("110113") if why in str(entry.details)]


def _opens(node: lab.Node) -> bool:
    with lab.associated(node) as assoc:
        return bool(assoc.is_established)


def test_assoc_wrong_called(node: lab.Node) -> None:
    assert lab.rejection(node, called="OTHER") == (1, 1, 7)
    assert lab.eventually(lambda: _alerts(node, "called AE title is not ours"))


def test_assoc_unknown_calling(node: lab.Node) -> None:
    assert lab.rejection(node, calling="STRANGER") == (1, 1, 3)
    assert lab.eventually(lambda: _alerts(node, "STRANGER"))
    (entry, *_) = [one for one in node.audit("110113") if one.who == "STRANGER"]
    assert (entry.kind, entry.outcome) == ("110126", 8)
    assert entry.details["address"] == "127.0.0.1"


def test_aet_spoof(tmp_path: Path) -> None:
    bound = [{"ae_title": "PACS", "host": "192.0.2.7"}]
    with lab.running(tmp_path, accept_from=bound) as node:
        assert lab.rejection(node) == (1, 1, 3)
        assert lab.eventually(lambda: _alerts(node, "an address it is not bound to"))


def test_assoc_limit(node: lab.Node) -> None:
    with ExitStack() as stack:
        first = [stack.enter_context(lab.associated(node)) for _ in range(3)]
        assert lab.rejection(node) == (2, 3, 2)
        assert [assoc.send_c_echo().Status for assoc in first] == [0x0000] * 3
    assert lab.eventually(lambda: _opens(node))


def test_assoc_limit_of_all_peers_together(tmp_path: Path) -> None:
    with (
        lab.running(tmp_path, limits={"associations": 1}) as node,
        lab.associated(node) as first,
    ):
        assert lab.rejection(node, calling="PROBE") == (2, 3, 2)
        assert first.send_c_echo().Status == 0x0000


def test_assoc_disk_low(tmp_path: Path) -> None:
    with lab.running(tmp_path, disk_reserve="900TB") as node:
        with lab.associated(node) as assoc:
            assert assoc.send_c_echo().Status == 0x0000
            assert assoc.send_c_store(lab.data_set()).Status == 0xA700
            assert assoc.send_c_store(lab.data_set()).Status == 0xA700
        assert lab.eventually(lambda: node.status()["ready"] is False)
        assert node.status()["reasons"] == ["free disk space is below intake.disk_reserve"]
        assert (node.objects(), node.storage.spool.temporary()) == ([], [])
        assert lab.eventually(lambda: _postponed(node) == [2])


def _postponed(node: lab.Node) -> list[int]:
    late = [one for one in node.audit("110104") if one.kind == "instances.postponed"]
    return [sum(one.details["instances"].values()) for one in late]


def test_assoc_stopping(tmp_path: Path) -> None:
    with lab.running(tmp_path, limits={"stop": "15s"}) as node:
        with lab.associated(node) as running:
            node.process.terminate()
            assert lab.eventually(lambda: node.events("intake.stopping"))
            assert lab.rejection(node) == (2, 3, 1)
            assert node.status()["reasons"] == ["stopping"]
            made = lab.data_set()
            assert running.send_c_store(made).Status == 0x0000
            assert made.SOPInstanceUID in node.stored()
        assert node.stop() == 0


def test_assoc_stopping_ends_what_does_not_end(tmp_path: Path) -> None:
    with lab.running(tmp_path, limits={"stop": "1s"}) as node, lab.associated(node) as assoc:
        begun = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - begun < 6
        assert lab.eventually(lambda: assoc.is_aborted)


def test_silent_sockets_do_not_lock_the_door(node: lab.Node) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.port), 5) for _ in range(100)]
    begun = time.monotonic()
    with lab.associated(node) as assoc:
        assert assoc.send_c_echo().Status == 0x0000
    assert time.monotonic() - begun < 3
    silent[0].settimeout(5)
    assert silent[0].recv(1) == b""  # limits.handshake is over
    for one in silent:
        one.close()


class _NoDescriptor(socket.socket):
    """A listening socket of a process that may open nothing more."""

    asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")


def test_without_a_descriptor_the_door_takes_a_breath() -> None:
    """It stays ready to read: without one, a core is busy for as long as that lasts."""
    listener = _NoDescriptor()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    hooks = Hooks(lambda _: None, lambda *_: None, lambda *_: None, lambda *_: None)
    front = Door([Entrance(listener)], 5.0, hooks)
    with socket.create_connection(listener.getsockname(), 5):
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            front.turn(0.1)
    front.close()
    assert 0 < listener.asked <= 10


@pytest.mark.parametrize(
    ("first", "told"),
    [
        pytest.param(association_request("DICTAMEN", "OTHER"), [], id="a title we do not know"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", ["HTTP on the DICOM port"], id="another program"),
        pytest.param(b"\x01\0\0\0", ["hung up inside its first PDU"], id="of its own accord"),
    ],
)
def test_who_was_turned_away_and_hangs_up_is_told_of_once(first: bytes, told: list[str]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[str] = []
    away = Rejection(1, 1, 3, "calling AE title is not in accept_from")
    hooks = Hooks(
        lambda _: away, lambda *_: None, lambda _, why: heard.append(why), lambda *_: None
    )
    front = Door([Entrance(listener)], 5.0, hooks)
    with socket.create_connection(listener.getsockname(), 5) as peer:
        peer.sendall(first)
        for _ in range(3):
            front.turn(0.1)
    for _ in range(3):
        front.turn(0.1)
    front.close()
    assert heard == told


def test_accept_from_anyone_is_said_at_every_start(tmp_path: Path) -> None:
    with lab.running(tmp_path, accept_from="anyone") as node:
        assert lab.send(node, lab.data_set(), calling="WHOEVER") == [0x0000]
        (line,) = node.events("intake.accepts_anyone")
        assert line["level"] == "warning"


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = lab.settings_for(tmp_path, other.getsockname()[1])
        with pytest.raises(
            RuntimeError, match=f"node.listen {settings.node.listen} cannot be used"
        ):
            lab.launch(settings, tmp_path)
