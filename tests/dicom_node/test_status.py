"""The status port: what probes, load balancers and scanners ask, and what they hear."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from storage_fixtures import (  # noqa: F401 - the fixtures that `sqlite_node` asks for
    Node,
    ready_file_fixture,
    sqlite_node_fixture,
)

from dicom_node import status
from dicom_node.demo.peers import free_port

Port = int


@contextmanager
def served(node: Node, metrics: Path) -> Iterator[Port]:
    port = free_port()
    metrics.mkdir()
    health = status.Health(lambda: ["database: away"], lambda: [])
    server = status.serve(f"127.0.0.1:{port}", node.storage, health, str(metrics))
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(name="port")
def port_fixture(sqlite_node: Node, tmp_path: Path) -> Iterator[Port]:
    with served(sqlite_node, tmp_path / "metrics") as port:
        yield port


def answer(port: Port, request: str) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(request.encode())
        raw = b"".join(iter(lambda: link.recv(65536), b""))
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("request_line", "code", "body"),
    [
        pytest.param("GET /healthz", 200, b"ok\n", id="a probe"),
        pytest.param("HEAD /healthz", 200, b"", id="a load balancer"),
        pytest.param("HEAD /readyz", 503, b"", id="a load balancer, not ready"),
        pytest.param("GET /healthz?t=1", 200, b"ok\n", id="past a cache"),
        pytest.param("GET /", 404, b"not found\n", id="somebody curious"),
    ],
)
def test_what_is_asked(port: Port, request_line: str, code: int, body: bytes) -> None:
    assert answer(port, f"{request_line} HTTP/1.0\r\n\r\n") == (code, body)


def test_metrics_are_read_with_a_query(port: Port) -> None:
    code, body = answer(port, "GET /metrics?name[]=dictamen_runs HTTP/1.0\r\n\r\n")
    assert code == 200
    assert b"dictamen_disk_free_bytes" in body


def test_who_goes_away_or_says_nothing_leaves_no_trace(
    port: Port, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = socket.create_connection(("127.0.0.1", port))
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            link = socket.create_connection(("127.0.0.1", port))
            link.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.close()
        time.sleep(0.5)
        assert answer(port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
    silent.close()
    assert lines == []
    assert capfd.readouterr().err == ""


def test_a_silent_connection_is_let_go(
    sqlite_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "SILENCE", 0.3)
    with served(sqlite_node, tmp_path / "metrics") as port:
        silent = socket.create_connection(("127.0.0.1", port), timeout=5)
        assert silent.recv(1) == b""
        silent.close()
