"""Bytes that no library would send: the service stays up, small and clean."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import intake_lab as lab
import pytest


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Node]:
    limits = {"handshake": "1s", "idle": "2s", "per_address": 100}
    with lab.running(tmp_path_factory.mktemp("intake"), limits=limits) as found:
        yield found


def _talk(node: lab.Node, *pieces: bytes, wait: float = 3.0) -> bytes:
    """Send bytes, return the last PDU that comes back before the end (b"" if none)."""
    last = b""
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.settimeout(wait)
        try:
            for piece in pieces:
                peer.sendall(piece)
                last = peer.recv(65536) or last
            while more := peer.recv(65536):
                last = more
        except ConnectionError:
            pass
        except TimeoutError:
            return b"open"
    return last


ABORT = 7
MESSAGE = lab.p_data(1, b"\3" + lab.store_rq(lab.CT, "1.2.3"), b"\0some of it")


@pytest.mark.parametrize(
    ("pieces", "pdu"),
    [
        pytest.param([b"\x99" + bytes(30)], ABORT, id="unknown PDU first"),
        pytest.param([b"\x16\x03\x01" + bytes(60)], ABORT, id="TLS"),
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], ABORT, id="HTTP"),
        pytest.param([b"\1\0\xff\xff\xff\xff" + bytes(99)], ABORT, id="4 GB first"),
        pytest.param([lab.associate_rq()[:40]], None, id="half a request"),
        pytest.param([lab.associate_rq(), b"\x99\0\0\0\0\1\0"], ABORT, id="unknown PDU"),
        pytest.param([lab.associate_rq(), b"\4\0\xff\xff\xff\xff"], ABORT, id="4 GB of data"),
        pytest.param([lab.associate_rq(), b"\4\0\0\0\0\0"], ABORT, id="no value"),
        pytest.param([lab.associate_rq(), lab.p_data(1)], ABORT, id="no fragment"),
        pytest.param([lab.associate_rq(), lab.p_data(9, b"\3")], ABORT, id="unknown context"),
        pytest.param([lab.associate_rq(), lab.associate_rq()], ABORT, id="second request"),
        pytest.param(
            [lab.associate_rq(), MESSAGE + b"\5\0\0\0\0\4" + bytes(4)], ABORT, id="release inside"
        ),
        pytest.param([lab.associate_rq(), MESSAGE], None, id="half a message"),
        pytest.param([lab.associate_rq(), MESSAGE[:30]], None, id="half a PDU"),
    ],
)
def test_ended_in_time(node: lab.Node, pieces: list[bytes], pdu: int | None) -> None:
    last = _talk(node, *pieces, wait=8.0)
    assert last != b"open"
    assert pdu is None or last[0] == pdu
    assert lab.eventually(lambda: node.storage.spool.temporary() == [])


def _used(node: lab.Node) -> tuple[int, int]:
    threads, files = (
        len(list(Path(f"/proc/{node.pid}/{kind}").iterdir())) for kind in ("task", "fd")
    )
    return threads, files


def test_mutated_bytes_leave_nothing_behind(node: lab.Node) -> None:
    rng = random.Random(20260101)
    made = lab.data_set()
    whole = lab.p_data(
        1, b"\3" + lab.store_rq(lab.CT, made.SOPInstanceUID), b"\2" + lab.encoded(made)
    )
    assert lab.send(node, lab.data_set()) == [0x0000]
    threads, files = _used(node)
    for turn in range(60):
        request, message = bytearray(lab.associate_rq()), bytearray(whole)
        victim = request if turn % 2 else message
        for _ in range(rng.randint(1, 3)):
            victim[rng.randrange(42 if turn % 2 else 0, 200)] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
            peer.settimeout(0.1)
            try:
                peer.sendall(request)
                peer.recv(1000)
                peer.sendall(message)
                peer.recv(1000)
            except OSError:
                continue
    assert lab.eventually(lambda: _used(node)[0] <= threads, 15)
    assert _used(node)[1] <= files + 4
    assert lab.send(node, made) == [0x0000]
    assert not re.search("Traceback", node.log)


def test_health_checks_leave_no_trace(node: lab.Node) -> None:
    before = len(node.log)
    for _ in range(20):
        socket.create_connection(("127.0.0.1", node.port), 5).close()
    time.sleep(0.5)
    assert "connection.refused" not in node.log[before:]


@pytest.mark.shared
@pytest.mark.slow
def test_the_catalogue_of_wire_faults(shared: Path, tmp_path: Path) -> None:
    with lab.running(tmp_path, limits={"handshake": "5s", "idle": "15s"}) as node:
        probe = [sys.executable, shared / "tools/wire_probe.py", f"127.0.0.1:{node.port}:DICTAMEN"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=280)
    assert "61 of 61 passed" in done.stdout, done.stdout + done.stderr
