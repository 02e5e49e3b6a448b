"""An intake in a process of its own, peers that talk to it, and data sets to send.

Not a fixture file: tests of any room may import it. The peers speak through pynetdicom's SCU or
send hand-made commands; nothing here uses the intake's own protocol code.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from config.settings import Settings
from dicom_node.destinations.streaming import answers_for_us
from storage import Storage, open_storage, pending, upgrade

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
KEY = b"a key of the tests"
ROOT = Path(__file__).parent.parent
PLANTED = ("ZZPLANTED^NAME", "PLANTEDID7", "19470308")  # must never stand in a log

_RUN = """
import os, signal, sys, threading
from config.settings import Settings
from dicom_node import intake, logs
from storage import open_storage
settings = Settings.model_validate_json(sys.stdin.read())
logs.configure("json", b"a key of the tests", process="intake")
exec(os.environ.get("INTAKE_PATCH", ""))
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
busy = float(os.environ.get("INTAKE_BUSY", "10"))
storage = open_storage(settings.node.database_url, settings.node.data_dir, b"a key of the tests",
                       who="intake", busy_timeout=busy)
intake.serve(settings, storage, stopping)
storage.close()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings_for(folder: Path, port: int, **intake: Any) -> Settings:
    """Settings with the intake's keys as node.yaml writes them; limits and node are merged."""
    key = folder / "audit.key"
    key.write_bytes(KEY)
    limits = {"handshake": "2s", "idle": "20s", "stop": "3s", **intake.pop("limits", {})}
    document = {
        "node": {
            "ae_title": "DICTAMEN",
            "listen": f"127.0.0.1:{port}",
            "data_dir": str(folder / "data"),
            "audit_key_file": str(key),
            **intake.pop("node", {}),
        },
        "intake": {
            "accept_from": [{"ae_title": "PACS", "host": "127.0.0.1"}, {"ae_title": "PROBE"}],
            "disk_reserve": "0B",
            "limits": limits,
            "processes": 1,
            "log": "8MiB",
            **intake,
        },
        "processors": [],
    }
    return Settings.model_validate_json(json.dumps(document))


@dataclass
class Node:
    """A running intake."""

    settings: Settings
    process: subprocess.Popen[bytes]
    log_file: Path
    _storage: Storage | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        return int(self.settings.node.listen.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def data(self) -> Path:
        return self.settings.node.data_dir

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    @property
    def storage(self) -> Storage:
        """The node's memory, once what was answered is filed (or cannot be for now)."""
        if self._storage is None:
            url = self.settings.node.database_url
            self._storage = open_storage(url, self.data, KEY, who="test")
        if self.process.poll() is None:
            eventually(lambda: self.unfiled() == 0, 2)
        return self._storage

    def unfiled(self) -> int:
        """How many answered instances have no row yet."""
        return pending(self.data / "spool" / "arrivals")

    def stored(self) -> dict[str, Path]:
        """SOP Instance UID -> file of everything that has a row."""
        return {
            one.sop_uid: self.storage.spool.path(one.path)
            for study in self.storage.studies.list(limit=10_000)
            for one in self.storage.studies.instances(study.uid)
        }

    def objects(self) -> list[str]:
        return list(self.storage.spool.listing("objects"))

    def audit(self, event: str = "") -> list[Any]:
        found = [record.entry for record in self.storage.audit.list(limit=100_000)]
        return [entry for entry in found if event in (entry.event, "")]

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "intake.status").read_text()))

    def stop(self) -> int:
        if self._storage is not None:
            self._storage.close()
            self._storage = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


def launch(
    settings: Settings,
    folder: Path,
    *,
    before: tuple[str, ...] = (),
    patch: str = "",
    busy: float = 10.0,
) -> Node:
    """Start an intake. before: a command that runs it (strace …). patch: code run in it first."""
    settings.node.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.node.database_url)
    log_file = folder / f"intake-{time.monotonic_ns()}.log"
    with log_file.open("wb") as out:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", _RUN],
            stdin=subprocess.PIPE,
            stderr=out,
            cwd=ROOT,
            env={**os.environ, "INTAKE_PATCH": patch, "INTAKE_BUSY": str(busy)},
        )
    assert process.stdin is not None
    process.stdin.write(settings.model_dump_json().encode())
    process.stdin.close()
    node = Node(settings, process, log_file)
    _wait_for_port(node)
    return node


def _wait_for_port(node: Node) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if node.process.poll() is not None:
            raise RuntimeError(f"the intake ended at once: {node.log}")
        try:
            socket.create_connection(("127.0.0.1", node.port), 1).close()
        except OSError:
            time.sleep(0.05)
            continue
        if '"intake.started"' in node.log:  # what a crash left is taken up by now
            return
        time.sleep(0.05)
    raise RuntimeError(f"the intake does not start: {node.log}")


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Node]:
    """An intake for the time of a test; options: of `launch`, the rest are keys of intake."""
    own = {name: options.pop(name) for name in ("before", "patch", "busy") if name in options}
    node = launch(settings_for(folder, free_port(), **options), folder, **own)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.stop()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A disk of its own mounted at folder/data; False where this system lets us not."""
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    where = folder / "data"
    where.mkdir(exist_ok=True)
    options = f"size={megabytes}m,mode=0777"
    mount = [*rights, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run([*rights, "umount", "-l", str(where)], check=True)


def remount(folder: Path, how: str) -> bool:
    """Make that disk read-only (ro) or writable (rw) again."""
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    command = [*rights, "mount", "-o", f"remount,{how}", str(folder / "data")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# ---- data sets ------------------------------------------------------------------------------
def data_set(sop_class: str = CT, **values: Any) -> Dataset:
    """A small image; keywords overwrite, None removes."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20260101", "101500", "ACC0001"
    made.Modality, made.PatientName, made.PatientID = "CT", "TEST^PERSON", "ID-1"
    made.PatientBirthDate, made.PatientSex = "19700101", "O"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1", "1.2.3.4.5"
    made.StudyID, made.InstanceNumber = "1", "1"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns, made.BitsAllocated, made.BitsStored = 16, 16, 16, 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = bytes(512)
    for keyword, value in values.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def encoded(made: Dataset) -> bytes:
    """As explicit VR little endian."""
    raw = encode(made, False, True)
    assert raw is not None
    return bytes(raw)


def sized(megabytes: float) -> Dataset:
    rows = max(1, int(megabytes * (1 << 20) / 2 / 1024))
    return data_set(Rows=rows, Columns=1024, PixelData=bytes(rows * 2048))


def bytes_of(file: Path) -> bytes:
    """The data set of a file that the intake wrote."""
    raw = file.read_bytes()
    assert raw[128:132] == b"DICM"
    (length,) = struct.unpack_from("<L", raw, 140)
    return raw[144 + length :]


# ---- peers ----------------------------------------------------------------------------------
def _no_delay(event: evt.Event, opened: list[socket.socket]) -> None:
    opened.append(event.assoc.dul.socket.socket)
    opened[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def associated(
    node: Node | int,
    contexts: dict[str, list[str]] | None = None,
    *,
    calling: str = "PACS",
    called: str = "DICTAMEN",
    patience: float = 60,
    tls: tuple[ssl.SSLContext, str] | None = None,
) -> Iterator[Association]:
    """An association, released at the end; look at `is_established`. tls: context, server's name"""
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience
    for abstract, syntaxes in (
        contexts or {CT: [ExplicitVRLittleEndian], VERIFICATION: []}
    ).items():
        ae.add_requested_context(abstract, syntaxes or None)
    port = node if isinstance(node, int) else node.port
    opened: list[socket.socket] = []
    handlers = [(evt.EVT_CONN_OPEN, _no_delay, [opened])]
    assoc = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers, tls_args=tls)
    try:
        with answers_for_us(assoc):
            yield assoc
    finally:
        if assoc.is_established:
            assoc.release()
        for one in opened:  # the library leaves a reset socket open
            one.close()


def rejection(node: Node | int, **options: Any) -> tuple[int, int, int] | None:
    """Result, source and reason of the A-ASSOCIATE-RJ; None if the association opens.

    An answer that comes at once can overtake pynetdicom's own look at its new socket, which then
    believes that it never connected: asked again.
    """
    for _ in range(10):
        with associated(node, **options) as assoc:
            answer = assoc.acceptor.primitive
            if assoc.is_established:
                return None
            if answer is not None:
                return answer.result, answer.result_source, answer.diagnostic
    raise RuntimeError("no answer to the request")


def send(node: Node | int, *made: Dataset, **options: Any) -> list[int]:
    """C-STORE each data set over one association; the statuses."""
    classes = {str(one.SOPClassUID): [ExplicitVRLittleEndian] for one in made}
    with associated(node, classes, **options) as assoc:
        assert assoc.is_established
        return [int(assoc.send_c_store(one).Status) for one in made]


CONTEXTS = ((1, CT, (ExplicitVRLittleEndian,)), (3, VERIFICATION, (ExplicitVRLittleEndian,)))


def associate_rq(
    calling: str = "PACS",
    called: str = "DICTAMEN",
    contexts: Any = CONTEXTS,
    *,
    version: int = 1,
    application: bytes = b"1.2.840.10008.3.1.1.1",
    longest: int = 16384,
) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2); by default one context for CT and one for verification."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    titles = called.encode().ljust(16), calling.encode().ljust(16)
    body = struct.pack(">HH16s16s32x", version, 0, *titles) + item(0x10, application)
    for number, abstract, syntaxes in contexts:
        offered = b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        head = struct.pack(">Bxxx", number) + item(0x30, abstract.encode())
        body += item(0x20, head + offered)
    body += item(0x50, item(0x51, struct.pack(">L", longest)) + item(0x52, b"1.2.3.4"))
    return struct.pack(">BxL", 1, len(body)) + body


def pdu(peer: socket.socket) -> bytes:
    """One whole PDU from the socket; b"" once it is closed."""
    raw = _exactly(peer, 6)
    return raw and raw + _exactly(peer, int.from_bytes(raw[2:6]))


def _exactly(peer: socket.socket, size: int) -> bytes:
    raw = b""
    while len(raw) < size:
        try:
            piece = peer.recv(size - len(raw))
        except ConnectionError:
            return b""
        if not piece:
            return b""
        raw += piece
    return raw


def exchange(node: Node, *pieces: bytes, wait: float = 8.0) -> list[bytes]:
    """Send PDUs one after the other and collect all that comes until the node hangs up.

    A node that does not hang up within `wait` seconds of silence leaves b"open" at the end.
    """
    got: list[bytes] = []
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.settimeout(wait)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for n, piece in enumerate(pieces):
                peer.sendall(piece)
                if n == 0 and len(pieces) > 1:
                    got.append(pdu(peer))  # the answer to the request
            while more := pdu(peer):
                got.append(more)
        except ConnectionError:
            pass
        except TimeoutError:
            got.append(b"open")
    return got


def statuses(answers: list[bytes]) -> list[int]:
    """The status of each DIMSE response among PDUs; of a response in pieces, the last one's."""
    found = []
    bodies = b"".join(raw[12:] for raw in answers if raw[:1] == b"\4")
    at = 0
    while (at := bodies.find(struct.pack("<HHL", 0, 0x0900, 2), at)) >= 0:
        found.append(int.from_bytes(bodies[at + 8 : at + 10], "little"))
        at += 8
    return found


def p_data(context_id: int, *fragments: bytes) -> bytes:
    """A P-DATA-TF (PS3.8 9.3.5); each fragment begins with its control header."""
    values = b"".join(struct.pack(">LB", len(one) + 1, context_id) + one for one in fragments)
    return struct.pack(">BxL", 4, len(values)) + values


def command(*pairs: tuple[int, int | str]) -> bytes:
    """A command set, implicit VR little endian; numbers are US, texts UIDs."""
    body = b""
    for element, value in pairs:
        raw = struct.pack("<H", value) if isinstance(value, int) else value.encode()
        raw += b"\0" * (len(raw) % 2)
        body += struct.pack("<HHL", 0, element, len(raw)) + raw
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


ECHO = p_data(3, b"\3" + command((2, VERIFICATION), (0x100, 0x30), (0x110, 7), (0x800, 0x101)))
RELEASE, ABORT = b"\5\0\0\0\0\4" + bytes(4), b"\7\0\0\0\0\4" + bytes(4)
STOCK = "from dicom_node.intake import contract\ncontract.TRIED = ()"  # patch: the stock path


def store_rq(sop_class: str, sop_uid: str, *, data_set: bool = True) -> bytes:
    kind = 1 if data_set else 0x0101
    return command(
        (2, sop_class), (0x100, 1), (0x110, 1), (0x700, 2), (0x800, kind), (0x1000, sop_uid)
    )


def send_raw(
    node: Node | int,
    raw: bytes | None,
    *,
    sop_uid: str,
    sop_class: str = CT,
    context: str = CT,
    syntax: str = ExplicitVRLittleEndian,
) -> int:
    """C-STORE any bytes under any UIDs; the status, or -1 if the association was ended."""
    with associated(node, {context: [syntax]}) as assoc:
        assert assoc.is_established
        return talk(assoc, store_rq(sop_class, sop_uid, data_set=raw is not None), raw)


def talk(assoc: Association, head: bytes, raw: bytes | None) -> int:
    """Send one hand-made message and wait for its status."""
    assoc._reactor_checkpoint.clear()
    while not assoc._is_paused:
        time.sleep(0.001)
    try:
        context_id = assoc.accepted_contexts[0].context_id
        put(assoc, context_id, b"\3" + head)
        if raw is not None:
            for at in range(0, max(len(raw), 1), 16_000):
                last = at + 16_000 >= len(raw)
                put(assoc, context_id, bytes([last << 1]) + raw[at : at + 16_000])
        _, answer = assoc.dimse.get_msg(block=True)
        return -1 if answer is None else int(answer.Status)
    finally:
        assoc._reactor_checkpoint.set()


def put(assoc: Association, context_id: int, fragment: bytes) -> None:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append([context_id, fragment])
    assoc.dul.send_pdu(primitive)


def in_background(work: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def eventually(look: Any, seconds: float = 10.0) -> bool:
    """Whether `look()` becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if look():
            return True
        time.sleep(0.05)
    return bool(look())
