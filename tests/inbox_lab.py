"""A door for reports in the test's own process, messages of our own writing, and raw exchanges."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from courier_bench import storage_in

from config import Settings
from dicom_node import inbox
from dicom_node.demo.peers import free_port
from storage import Storage

STUDY = "1.2.826.0.1.3680043.8.498.77"
FINDINGS = "Derrame pleural derecho moderado. Silueta cardíaca de tamaño normal."
_NUMBERS = itertools.count(1)


def oru(
    *texts: tuple[str, str],
    control: str = "",
    status: str = "P",
    charset: str = "UNICODE UTF-8",
    language: str = "es",
    patient: str = "P1^^^HOSPITAL^MR",
    birth: str = "19700101",
    study: str = STUDY,
    accession: str = "A1",
    filler: str = "F1",
    reader: str = "",
    **changes: str,
) -> str:
    """One ORU^R01. texts: (OBX-3, text); changes: MSH7="...", MSH11="..."."""
    msh = {
        7: "20261120101530",
        9: "ORU^R01^ORU_R01",
        11: "P",
        12: "2.5.1",
        18: charset,
        19: f"{language}^x^ISO639",
    }
    msh |= {int(name[3:]): value for name, value in changes.items()}
    msh |= {10: control or f"C{next(_NUMBERS)}"}
    head = ["MSH", "^~\\&", "RIS", "HOSPITAL", "DICTAMEN", "HOSPITAL"]
    head += [msh.get(number, "") for number in range(7, 20)]
    obr = [""] * 33
    obr[0], obr[1], obr[2], obr[3] = "OBR", "1", "", filler
    obr[4], obr[18], obr[25] = "399208008^Plain X-ray of chest^SCT", accession, status
    obr[32] = reader
    lines = ["|".join(head), f"PID|1||{patient}||Muñoz^Ángela||{birth}|F", "|".join(obr)]
    if study:
        lines.append(f"OBX|1|ST|113014^DICOM Study^DCM||{study}||||||O")
    for number, (name, text) in enumerate(texts or (findings(FINDINGS),), 2):
        lines.append(f"OBX|{number}|TX|{name}||{text}||||||{status}")
    return "".join(f"{line}\r" for line in lines)


def findings(text: str) -> tuple[str, str]:
    return "59776-5^Procedure findings^LN", text


def impression(text: str) -> tuple[str, str]:
    return "19005-8^Impressions^LN", text


def framed(message: str | bytes, charset: str = "utf-8") -> bytes:
    data = message.encode(charset) if isinstance(message, str) else message
    return b"\x0b" + data + b"\x1c\r"


@dataclass
class Door:
    """A listening inbox; `events` counts what it said."""

    port: int
    storage: Storage
    events: Counter[str] = field(default_factory=Counter)

    def connect(self, timeout: float = 10.0) -> socket.socket:
        conn = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return conn

    def send(self, *messages: str | bytes) -> list[str]:
        """What is answered to each, on one connection: the code of MSA-1."""
        with self.connect() as conn:
            return [exchange(conn, framed(one)).split("|")[1] for one in messages]


def exchange(conn: socket.socket, data: bytes) -> str:
    """Send bytes; the MSA segment of the next answer."""
    conn.sendall(data)
    return msa(answer(conn))


def answer(conn: socket.socket) -> str:
    """The next whole acknowledgement; "" if the other side hangs up first."""
    held = b""
    while not held.endswith(b"\x1c\r"):
        chunk = conn.recv(1)  # one at a time, so that the next answer is left where it is
        if not chunk:
            return ""
        held += chunk
    return held[1:-2].decode("ascii")


def msa(acknowledgement: str) -> str:
    return next((s for s in acknowledgement.split("\r") if s.startswith("MSA|")), "")


def settings(folder: Path, port: int, **mllp: Any) -> Settings:
    """Settings with a door for reports at that port."""
    key = folder / "audit.key"
    key.write_text("5b" * 32)
    door = {"listen": f"127.0.0.1:{port}", "accept_from": ("127.0.0.1",), **mllp}
    return Settings.model_validate(
        {
            "node": {"ae_title": "DICTAMEN", "data_dir": folder, "audit_key_file": key},
            "intake": {
                "accept_from": "anyone",
                "disk_reserve": 0,
                "limits": {"stop": 2.0},
                "mllp": door,
            },
            "processors": (),
        }
    )


@contextmanager
def open_door(folder: Path, **mllp: Any) -> Iterator[Door]:
    """The inbox, listening; gone at the end."""
    stopping, port = threading.Event(), free_port()
    with storage_in(folder) as storage:
        door = Door(port, storage)

        def count(event: str) -> None:
            door.events[event] += 1

        thread = threading.Thread(
            target=inbox.serve,
            args=(settings(folder, port, **mllp), storage, stopping),
            kwargs={"on_event": count},
        )
        thread.start()
        try:
            _until_listening(port)
            yield door
        finally:
            stopping.set()
            thread.join(10)
        assert not thread.is_alive()


def _until_listening(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError("the inbox does not listen")
