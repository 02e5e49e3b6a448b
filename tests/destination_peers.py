"""Peers that answer as asked: a PACS made of pynetdicom, DCMTK's storescp, a small HL7 receiver.

All on 127.0.0.1, all on ports that the kernel picks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from config.settings import DicomDestination, FolderDestination, MllpDestination
from dicom_node.destinations import Parcel

SC = "1.2.840.10008.5.1.4.1.1.7"
SC_RGB = "1.2.840.10008.5.1.4.1.1.7.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
VERIFICATION = "1.2.840.10008.1.1"
STUDY = "2.25.111"
CLASS_OF = {"overlay": SC, "strip": SC_RGB, "structured_report": SR, "hl7_oru": ""}


# ---- reports --------------------------------------------------------------------------------


def dicom_bytes(uid: str, sop_class: str = SC, study: str = STUDY, size: int = 64) -> bytes:
    """A small instance with a name that needs UTF-8; enough for a PACS to store it."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = sop_class, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = study, f"{study}.1"
    data.PatientName, data.PatientID, data.PatientBirthDate = "Peña^José", "P-1", "19700101"
    data.AccessionNumber, data.StudyID, data.Modality = "A-1", "", "OT"
    data.StudyDate, data.StudyTime = "20260101", "101500"
    data.Rows = data.Columns = 8
    data.add_new("PixelData", "OB", bytes(size))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def hl7_bytes(control: str, study: str = STUDY, text: str = "Sin hallazgos") -> bytes:
    lines = [
        "MSH|^~\\&|DICTAMEN|RAD|RIS|HOSP|20260101101500+0000||ORU^R01^ORU_R01|"
        f"{control}|P|2.5.1|||||ESP|UNICODE UTF-8",
        "PID|1||P-1^^^HOSP^MR||Peña^José^^^^^L^A||19700101|U",
        "OBR|1||F-1|399208008^Plain X-ray of chest^SCT|||20260101101500|||||||||||A-1",
        f"OBX|1|ST|113014^DICOM Study^DCM||{study}||||||O",
        f"OBX|2|TX|59776-5^Procedure findings^LN||{text}||||||P",
    ]
    return ("\r".join(lines) + "\r").encode()


def parcel(number: int = 1, kind: str = "overlay", **changes: Any) -> Parcel:
    uid = changes.pop("uid", f"ORU{number:05d}" if kind == "hl7_oru" else f"2.25.9{number:04d}")
    study = changes.pop("study_uid", STUDY)
    sop_class = changes.pop("sop_class", CLASS_OF[kind])
    if "payload" not in changes:
        is_hl7 = kind == "hl7_oru"
        changes["payload"] = hl7_bytes(uid, study) if is_hl7 else dicom_bytes(uid, sop_class, study)
    values = {"attempts": 1, "refusals": 0} | changes
    return Parcel(number, kind, uid, sop_class, study_uid=study, **values)


def never() -> bool:
    return False


# ---- settings -------------------------------------------------------------------------------


def dicom_settings(port: int, **changes: Any) -> DicomDestination:
    values = {"kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
    return DicomDestination.model_validate(values | {"timeout": "20s"} | changes)


def mllp_settings(port: int, **changes: Any) -> MllpDestination:
    values = {"kind": "mllp", "host": "127.0.0.1", "port": port, "timeout": "1s"}
    return MllpDestination.model_validate(
        values | {"application": "RIS", "facility": "HOSP"} | changes
    )


def folder_settings(path: Path) -> FolderDestination:
    return FolderDestination.model_validate({"kind": "folder", "path": path})


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def free_port() -> int:
    with closed_port() as port:
        return port


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


# ---- a PACS of pynetdicom -------------------------------------------------------------------


@dataclass
class Pacs:
    """What a trial PACS saw, in order: SOP Instance UIDs, data set bytes, TCP_NODELAY."""

    port: int = 0
    stored: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    syntaxes: list[str] = field(default_factory=list)
    offered: list[list[str]] = field(default_factory=list)
    associations: int = 0
    entity: Any = None


def all_syntaxes(classes: Sequence[str]) -> dict[str, list[str]]:
    return {each: [ExplicitVRLittleEndian, ImplicitVRLittleEndian] for each in classes}


@contextmanager
def pacs(
    answer: Callable[[str, int], int | Dataset] = lambda _uid, _count: 0x0000,
    *,
    takes: Mapping[str, Sequence[str]] | None = None,
    port: int = 0,
    title: str = "PACS",
    echo: int = 0x0000,
    handlers: Sequence[Any] = (),
    **attributes: Any,
) -> Iterator[Pacs]:
    """answer: (SOP Instance UID, how often this UID has come) -> status."""
    seen = Pacs()

    def on_store(event: evt.Event) -> int | Dataset:
        uid = str(event.request.AffectedSOPInstanceUID)
        seen.stored.append(uid)
        seen.data.append(event.request.DataSet.getvalue())
        seen.syntaxes.append(str(event.context.transfer_syntax))
        return answer(uid, seen.stored.count(uid))

    def on_request(event: evt.Event) -> None:
        seen.associations += 1
        contexts = event.assoc.requestor.primitive.presentation_context_definition_list
        seen.offered.append([str(cx.abstract_syntax) for cx in contexts])

    seen.entity = entity = AE(ae_title=title)
    for name, value in attributes.items():
        setattr(entity, name, value)
    wanted = takes if takes is not None else all_syntaxes([SC, SC_RGB, SR, VERIFICATION])
    for sop_class, syntaxes in wanted.items():
        entity.add_supported_context(sop_class, list(syntaxes))
    bound = [
        (evt.EVT_C_STORE, on_store),
        (evt.EVT_C_ECHO, lambda _event: echo),
        (evt.EVT_REQUESTED, on_request),
        *handlers,
    ]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=bound)
    seen.port = server.server_address[1]
    try:
        yield seen
    finally:
        for link in entity.active_associations:
            link.join(1.0)  # aborting one that was just rejected raises in pynetdicom's thread
        entity.shutdown()


@contextmanager
def storescp(folder: Path, *options: str, title: str = "PACS") -> Iterator[int]:
    """DCMTK's storescp; files land in `folder` as SOPClass.UID."""
    program = shutil.which("storescp")
    assert program, "DCMTK is not installed"
    port = free_port()
    command = [program, "-aet", title, "-od", str(folder), *options, str(port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port))
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- an HL7 receiver ------------------------------------------------------------------------

Answer = Callable[[bytes, int], bytes | None]


def framed(content: bytes) -> bytes:
    return b"\x0b" + content + b"\x1c\r"


def ack(message: bytes, code: str = "AA", control: str | None = None, text: str = "") -> bytes:
    """A framed acknowledgement of `message`."""
    own = message.split(b"|")[9].decode()
    lines = ["MSH|^~\\&|RIS|HOSP|DICTAMEN|RAD|20260101||ACK^R01|1|P|2.5.1"]
    lines.append(f"MSA|{code}|{own if control is None else control}|{text}")
    if code in {"AE", "AR"}:
        lines.append("ERR||PID^1^3|204^Unknown key identifier^HL70357|E||||patient not on file")
    return framed(("\r".join(lines) + "\r").encode())


@dataclass
class Ris:
    port: int = 0
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    links: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        for link in self.links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    @property
    def controls(self) -> list[str]:
        return [message.split(b"|")[9].decode() for message in self.messages]

    @property
    def digests(self) -> set[str]:
        return {hashlib.sha256(message).hexdigest() for message in self.messages}


@contextmanager
def ris(
    answer: Answer = lambda message, _count: ack(message), *, port: int = 0, once: bool = False
) -> Iterator[Ris]:
    """answer: (message, how many came) -> bytes to send; None: nothing; b"": hang up.

    once: hang up after each answer.
    """
    seen = Ris()
    listener = socket.create_server(("127.0.0.1", port))
    seen.port = listener.getsockname()[1]

    def talk(connection: socket.socket) -> None:
        buffer = b""
        try:
            while chunk := connection.recv(65536):
                buffer += chunk
                while b"\x1c\r" in buffer:
                    message, _, buffer = buffer.partition(b"\x1c\r")
                    seen.messages.append(message.removeprefix(b"\x0b"))
                    reply = answer(seen.messages[-1], len(seen.messages))
                    if reply == b"":
                        return
                    if reply is not None:
                        connection.sendall(reply)
                        if once:
                            return
        except OSError:
            pass
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.connections += 1
            seen.links.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        seen.hang_up()
        thread.join(5)


# ---- a line that can be cut -----------------------------------------------------------------


@contextmanager
def cut_line(port: int, cut: Callable[[], bool]) -> Iterator[int]:
    """Forwards to `port`; hangs up instead of forwarding an answer when cut() says so."""
    listener = socket.create_server(("127.0.0.1", 0))
    pairs: list[tuple[socket.socket, socket.socket]] = []

    def hang_up(pair: tuple[socket.socket, socket.socket]) -> None:
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def pump(pair: tuple[socket.socket, socket.socket], *, answers: bool) -> None:
        source, target = pair[::-1] if answers else pair
        try:
            while chunk := source.recv(65536):
                if answers and cut():
                    break
                target.sendall(chunk)
        except OSError:
            pass
        hang_up(pair)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
                pair = (client, socket.create_connection(("127.0.0.1", port)))
            except OSError:
                return
            pairs.append(pair)
            for answers in (False, True):
                threading.Thread(
                    target=pump, args=(pair,), kwargs={"answers": answers}, daemon=True
                ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for pair in pairs:
            hang_up(pair)
            for end in pair:
                end.close()
