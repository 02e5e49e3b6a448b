"""Peers of a system test: Debian's Orthanc as the PACS, an MLLP receiver as the RIS, on loopback.

Both may be taken down and brought up again at the same port with what they hold.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from system.node import NodeUnderTest, wait_for

from dicom_node.demo.peers import free_port

ORTHANC = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")
START, END = b"\x0b", b"\x1c\r"


@dataclass(frozen=True)
class Held:
    """One instance that the PACS holds. source: it was uploaded, not sent to it by C-STORE."""

    study: str
    uid: str
    sop_class: str
    source: bool
    orthanc_id: str


class Pacs:
    """Orthanc with a temporary database; AE title TRIALPACS."""

    def __init__(self, folder: Path, *, ae_title: str = "TRIALPACS", check_called: bool = False):
        self.folder, self.ae_title, self.check_called = folder, ae_title, check_called
        self.port, self.http = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.http}"
        self.node_port = free_port()  # nobody is there until a bench says who
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        assert ORTHANC, "apt-get install orthanc"
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        node = {"AET": "DICTAMEN", "Host": "127.0.0.1", "Port": self.node_port, "Timeout": 60}
        (self.folder / "orthanc.json").write_text(
            json.dumps(
                {
                    "Name": "trial PACS",
                    "StorageDirectory": str(self.folder / "db"),
                    "IndexDirectory": str(self.folder / "db"),
                    "Plugins": [],
                    "HttpPort": self.http,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomAet": self.ae_title,
                    "DicomPort": self.port,
                    "DicomCheckCalledAet": self.check_called,
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowEcho": True,
                    "UnknownSopClassAccepted": True,
                    "DefaultEncoding": "Utf8",
                    "ConcurrentJobs": 2,
                    "DicomModalities": {"DICTAMEN": node},
                }
            )
        )
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [ORTHANC, str(self.folder / "orthanc.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        wait_for(self._answers, 30, "Orthanc")

    def down(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def upload(self, datasets: Sequence[Dataset]) -> None:
        """Put source images into the PACS."""
        for dataset in datasets:
            buffer = BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            self._call("/instances", buffer.getvalue())

    def push(self, *study_uids: str) -> None:
        """Let Orthanc send the source images of studies (of all) to the node, study by study."""
        sources: dict[str, list[str]] = defaultdict(list)
        for held in self.held():
            if held.source and (not study_uids or held.study in study_uids):
                sources[held.study].append(held.orthanc_id)
        for study in study_uids or sorted(sources):
            self.send(sources[study])

    def send(self, orthanc_ids: Sequence[str]) -> None:
        """Let Orthanc send these very instances to the node."""
        result = self._call(
            "/modalities/DICTAMEN/store", {"Resources": list(orthanc_ids), "Synchronous": True}
        )
        assert result["FailedInstancesCount"] == 0, result

    def held(self) -> list[Held]:
        """Every instance in the PACS."""
        found = []
        for instance in self._call("/instances?expand"):
            ident = instance["ID"]
            parent = self._call(f"/instances/{ident}/study")
            found.append(
                Held(
                    study=parent["MainDicomTags"]["StudyInstanceUID"],
                    uid=instance["MainDicomTags"]["SOPInstanceUID"],
                    sop_class=self._text(f"/instances/{ident}/metadata/SopClassUid"),
                    source=self._text(f"/instances/{ident}/metadata/Origin") == "RestApi",
                    orthanc_id=ident,
                )
            )
        return found

    def results(self) -> dict[str, list[Held]]:
        """study -> what the node sent back."""
        found: dict[str, list[Held]] = defaultdict(list)
        for held in self.held():
            if not held.source:
                found[held.study].append(held)
        return dict(found)

    def dataset(self, held: Held) -> Dataset:
        return dcmread(BytesIO(self._raw(f"/instances/{held.orthanc_id}/file")))

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError((self.folder / "orthanc.log").read_text(errors="replace")[-1500:])
        try:
            return bool(self._call("/system"))
        except OSError:
            return False

    def _raw(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(
            urllib.request.Request(self.base + path, data=data), timeout=120
        ) as answer:
            return bytes(answer.read())

    def _text(self, path: str) -> str:
        return self._raw(path).decode().strip()

    def _call(self, path: str, data: Any = None) -> Any:
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        return json.loads(self._raw(path, body))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Ris:
    """Takes MLLP frames and answers `code`; keeps every message in the order of its arrival."""

    def __init__(self, code: str = "AA") -> None:
        self.port, self.code = free_port(), code
        self.messages: list[bytes] = []
        self._server: _Server | None = None
        self._links: list[socket.socket] = []

    def up(self) -> None:
        ris = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                ris._links.append(self.request)
                for raw in _frames(self.request):
                    ris.messages.append(raw)
                    self.request.sendall(START + ris._answer(raw) + END)

        self._server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for link in self._links:
            link.close()
        self._links.clear()

    def controls(self) -> list[str]:
        """MSH-10 of every message."""
        return [_head(raw)[9] for raw in self.messages]

    def _answer(self, raw: bytes) -> bytes:
        head = _head(raw)
        return (
            f"MSH|^~\\&|{head[4]}|{head[5]}|{head[2]}|{head[3]}|{head[6]}||ACK^R01^ACK|A{head[9][1:]}"
            f"|{head[10]}|2.5.1||||||UNICODE UTF-8\rMSA|{self.code}|{head[9]}\r"
        ).encode()


class Bench:
    """PACS, RIS and node, joined: the node sends what it finds to both."""

    def __init__(self, folder: Path, *, database: str = "sqlite", **changes: Any) -> None:
        self.pacs, self.ris = Pacs(folder / "pacs"), Ris()
        self.node = NodeUnderTest(folder / "node", database=database)
        self.pacs.node_port = self.node.port
        self.node.write(destinations=self.destinations())
        self.node.settings["processors"][0]["send_to"] = ["pacs", "ris"]
        self.node.settings["processors"][0]["unsuitable"] = ["text_report", "hl7_oru"]
        self.node.write(**changes)

    def destinations(self) -> dict[str, Any]:
        timeout = {"host": "127.0.0.1", "timeout": "10s", "give_up_after": "1h"}
        return {
            "pacs": {"kind": "dicom", "ae_title": "TRIALPACS", "port": self.pacs.port, **timeout},
            "ris": {
                "kind": "mllp", "port": self.ris.port, "application": "RIS",
                "facility": "TRIAL", "processing": "T", **timeout,
            },
        }  # fmt: skip

    def __enter__(self) -> Bench:
        try:
            self.pacs.up()
            self.ris.up()
            self.node.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.node.stop()
        self.ris.down()
        self.pacs.down()


def _frames(link: socket.socket) -> Iterator[bytes]:
    buffer = b""
    while True:
        try:
            chunk = link.recv(65536)
        except OSError:
            return
        if not chunk:
            return
        buffer += chunk
        while (end := buffer.find(END)) >= 0:
            yield buffer[:end].lstrip(START)
            buffer = buffer[end + len(END) :]


def _head(raw: bytes) -> list[str]:
    return (raw.decode().split("\r")[0].split("|") + [""] * 12)[:12]
