"""A trial PACS and a trial RIS on loopback, in this process: for the demonstration only.

The PACS stores what it is sent and answers C-FIND on it (Study Root, PS3.4 C.6.2); the RIS takes
MLLP frames and answers AA to what parses as an ORU. Neither is a product of its kind.
"""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_node.destinations.streaming import answers_for_us

_LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_START, _END = b"\x0b", b"\x1c\r"


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class TrialPacs:
    """Stores under `folder` and answers C-ECHO, C-STORE and C-FIND."""

    folder: Path
    ae_title: str = "DEMOPACS"
    port: int = field(default_factory=free_port)
    _held: dict[str, Dataset] = field(default_factory=dict)
    _server: Any = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        entity = AE(self.ae_title)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(Verification)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_CONN_OPEN, _no_delay),
        ]
        self._server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=handlers
        )

    def stop(self) -> None:
        self._server.shutdown()

    def file_of(self, sop_uid: str) -> Path:
        return self.folder / f"{sop_uid}.dcm"

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        path = self.file_of(uid)
        path.write_bytes(event.encoded_dataset())
        self._held[uid] = dcmread(path, stop_before_pixels=True)
        return 0x0000

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        wanted = event.identifier
        unique, seen = _LEVELS[wanted.QueryRetrieveLevel], set()
        for held in list(self._held.values()):
            keys = [e.keyword for e in wanted if e.keyword != "QueryRetrieveLevel"]
            if held.get(unique) in seen or not all(_fits(wanted[k].value, held, k) for k in keys):
                continue
            seen.add(held.get(unique))
            answer = Dataset()
            answer.SpecificCharacterSet = held.get("SpecificCharacterSet", "ISO_IR 192")
            answer.QueryRetrieveLevel = wanted.QueryRetrieveLevel
            for key in keys:
                setattr(answer, key, held.get(key, ""))
            yield 0xFF00, answer


@dataclass(slots=True)
class TrialRis:
    """Takes ORU messages; `answered` maps a control id to (code, message)."""

    folder: Path
    port: int = field(default_factory=free_port)
    answered: dict[str, tuple[str, str]] = field(default_factory=dict)
    _server: Any = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ris = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                for raw in _frames(self.request):
                    self.request.sendall(_START + ris._take(raw) + _END)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, raw: bytes) -> bytes:
        text = raw.decode("utf-8")
        head = (text.split("\r")[0].split("|") + [""] * 12)[:12]
        control, code = head[9], "AA" if head[8].startswith("ORU^R01") else "AR"
        self.answered[control] = (code, text)
        name = re.sub(r"[^A-Za-z0-9]", "_", control)
        (self.folder / f"{name}.hl7").write_bytes(raw)
        answer = [
            f"MSH|^~\\&|{head[4]}|{head[5]}|{head[2]}|{head[3]}|{head[6]}||ACK^R01^ACK|A{control[:18]}"
            f"|{head[10]}|2.5.1||||||UNICODE UTF-8",
            f"MSA|{code}|{control}",
        ]
        return ("\r".join(answer) + "\r").encode()


def query(host: str, port: int, ae_title: str, wanted: Dataset) -> list[Dataset]:
    """C-FIND: every pending answer."""
    entity = AE("DEMO")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    link = entity.associate(host, port, ae_title=ae_title, evt_handlers=[_NO_DELAY])
    if not link.is_established:
        return []
    with answers_for_us(link):
        answers = link.send_c_find(wanted, StudyRootQueryRetrieveInformationModelFind)
        found = [identifier for _, identifier in answers if identifier is not None]
    link.release()
    return found


def store(port: int, called: str, calling: str, datasets: Sequence[Dataset]) -> list[int]:
    """C-STORE each data set over one association; the statuses (-1: no answer)."""
    entity = AE(calling)
    for pair in {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}:
        entity.add_requested_context(*pair)
    link = entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=[_NO_DELAY])
    if not link.is_established:
        return [-1] * len(datasets)
    with answers_for_us(link):
        statuses = [int(getattr(link.send_c_store(d), "Status", -1)) for d in datasets]
    link.release()
    return statuses


def _frames(link: socket.socket) -> Iterator[bytes]:
    buffer = b""
    while chunk := link.recv(65536):
        buffer += chunk
        while (end := buffer.find(_END)) >= 0:
            yield buffer[:end].lstrip(_START)
            buffer = buffer[end + len(_END) :]


def _fits(wanted: Any, held: Dataset, keyword: str) -> bool:
    return wanted in (None, "") or str(held.get(keyword, "")) == str(wanted)


def _no_delay(event: Any) -> None:
    """Nagle's algorithm costs 40 ms an instance on a request/answer protocol."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_NO_DELAY = (evt.EVT_CONN_OPEN, _no_delay)
