"""A model behind HTTP on loopback: it answers well, or in one of the ways that a node must bear."""

from __future__ import annotations

import io
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Remote:
    """The running endpoint. mode: how it answers; seen: (headers, body) of each request."""

    mode: str = "well"
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    failures: int = 0  # of mode "then well": so many 500 first
    url: str = ""


def picture_of(headers: dict[str, str], body: bytes) -> np.ndarray:
    """0..1, as a model's server reads what it was sent."""
    if headers["Content-Type"] == "application/x-npy":
        return np.load(io.BytesIO(body), allow_pickle=False)
    return np.asarray(Image.open(io.BytesIO(body))) / 65535


def reply(headers: dict[str, str], body: bytes, version: str = "2.1.0") -> dict[str, Any]:
    """A deterministic answer: the brightness of the picture as values, its middle as outline."""
    picture = picture_of(headers, body)
    rows, columns = picture.shape
    box = [[columns / 4, rows / 4], [columns / 2, rows / 4], [columns / 2, rows / 2]]
    return {
        "request": headers["X-Request"],
        "model": {"name": "remote", "version": version},
        "findings": [
            {"label": "nodule", "probability": float(picture.max()), "regions": [box]},
            {"label": "pleural effusion", "probability": float(picture.min())},
        ],
    }


class Handler(BaseHTTPRequestHandler):
    remote: Remote

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers)
        self.remote.seen.append((headers, body))
        mode = self.remote.mode
        if mode == "then well" and len(self.remote.seen) <= self.remote.failures:
            self.send_error(500)
            return
        if mode.isdecimal():
            self.send_error(int(mode))
            return
        if mode == "redirect":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if mode == "silent":
            time.sleep(2)
            return
        if mode == "hangs up":
            return
        if mode in ("rude", "no end of words"):
            said = b"HTTP/1.1 2\x1b[2J\r\n" if mode == "rude" else b"HTTP/1.1 " + b"x" * 60000
            self.wfile.write(said + b"\r\n\r\n")
            return
        if mode in ("slow head", "goes on and on"):
            self._never_begins(mode)
            return
        data = self._data(mode, headers, body)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if mode != "huge":
            self.send_header("Content-Length", str(len(data) + (10 if mode == "cut" else 0)))
        self.end_headers()
        try:
            for start in range(0, len(data), 4096 if mode != "drips" else 1):
                self.wfile.write(data[start : start + (4096 if mode != "drips" else 1)])
                if mode == "drips":
                    time.sleep(0.1)
        except OSError:
            pass  # the node has had enough

    def _never_begins(self, mode: str) -> None:
        """Something comes all the time, and never the answer."""
        head = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 40
        parts = [head[i : i + 1] for i in range(len(head))]
        parts = [b"HTTP/1.1 100 Continue\r\n\r\n"] * 40 if mode == "goes on and on" else parts
        try:
            for part in parts:
                self.wfile.write(part)
                time.sleep(0.1)
        except OSError:
            pass

    def _data(self, mode: str, headers: dict[str, str], body: bytes) -> bytes:
        if mode == "huge":
            return b" " * 2_000_000
        if mode == "no json":
            return b"<html>it works</html>"
        answer = reply(headers, body)
        findings = answer["findings"]
        if mode == "other request":
            answer["request"] = "0" * 32
        elif mode == "nan":
            findings[0]["probability"] = float("nan")
        elif mode == "over one":
            findings[0]["probability"] = 1.5
        elif mode == "unknown label":
            findings[0]["label"] = "fracture"
        elif mode == "label twice":
            findings.append(findings[0])
        elif mode == "extra key":
            answer["patient"] = "x"
        elif mode == "rude key":
            answer["\x1b[2J" + "k" * 100_000] = 1
        elif mode == "rude label":
            findings[0]["label"] = "\x1b[2J"
        elif mode == "outside":
            findings[0]["regions"] = [[[0, 0], [9e4, 0], [9e4, 9e4]]]
        elif mode == "new version each time":
            answer["model"]["version"] = f"2.{len(self.remote.seen)}.0"
        if mode == "key twice":
            first = f'"probability": {findings[0]["probability"]}'
            return json.dumps(answer).replace(first, f'{first}, "probability": 0.01').encode()
        if mode == "deep":
            return b'{"request": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        return json.dumps(answer).encode()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running(certificate: tuple[Path, Path] | None = None) -> Iterator[Remote]:
    """certificate: (certificate, key) files, for TLS."""
    remote = Remote()
    handler = type("Bound", (Handler,), {"remote": remote})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
    remote.url = f"{scheme}://{host}:{server.server_port}/v1/films"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield remote
    finally:
        server.shutdown()
        server.server_close()
