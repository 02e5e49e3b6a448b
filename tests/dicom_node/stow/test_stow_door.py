"""The door itself, in its own process: what is sent is what lies on disk, whoever sends it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import intake_lab as lab
import pytest
import stow_lab
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session
from pydicom.filereader import dcmread, read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import ALL_TRANSFER_SYNTAXES

from dicom_node import intake
from dicom_node.intake.reception import data_set_offset

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
SMPTE = "1.2.840.10008.1.2.7."
ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lab.Node, int]]:
    with stow_lab.running(tmp_path_factory.mktemp("stow"), on_conflict="keep_both") as found:
        yield found


def test_an_instance_is_stored_as_received_with_its_row(door: tuple[lab.Node, int]) -> None:
    node, port = door
    made = lab.data_set(StudyInstanceUID=generate_uid())
    answer = stow_lab.send(port, made)
    assert (answer.status, answer.stored()) == (200, [made.SOPInstanceUID])
    assert answer.headers["content-type"] == "application/dicom+json"
    path = node.stored()[made.SOPInstanceUID]
    assert lab.bytes_of(path) == lab.encoded(made)
    meta = read_file_meta_info(path)
    assert meta.SourceApplicationEntityTitle == "GATEWAY"
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert (row.calling_ae, row.address, row.size) == (
        "GATEWAY", "127.0.0.1", len(lab.encoded(made)),
    )  # fmt: skip


def test_transfers_are_audited_with_the_token_s_name_and_the_door(
    door: tuple[lab.Node, int],
) -> None:
    node, port = door
    study = generate_uid()
    made = [lab.data_set(StudyInstanceUID=study) for _ in range(2)]
    stow_lab.send(port, *made, Authorization=f"bearer {stow_lab.OTHER_TOKEN}")

    def told() -> list[Any]:
        rows = [entry for entry in node.audit("110104") if entry.study_uid == study]
        return [entry for entry in rows if "instances" in entry.details]

    assert lab.eventually(lambda: len(told()) == 1)
    (entry,) = told()
    assert (entry.who, entry.details["instances"]) == ("OTHER", {"stored": 2})
    assert entry.details["source"] == {"ae_title": "OTHER", "address": "127.0.0.1"}
    assert entry.details["destination"] == {"ae_title": "STOW-RS"}
    assert entry.details["association"].startswith("web 127.0.0.1:")


@pytest.mark.parametrize("syntax", ALL_TRANSFER_SYNTAXES)
def test_every_transfer_syntax_that_pynetdicom_negotiates(
    syntax: str, door: tuple[lab.Node, int]
) -> None:
    """Bytes are kept as they came, by web as by C-STORE; what carries no data set is refused."""
    node, port = door
    made = lab.data_set(StudyInstanceUID=generate_uid())
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    deflated = syntax in DEFLATED
    raw = lab.encode(made, implicit, little, deflated)
    assert raw is not None
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain = stow_lab.file_of(made)
    meta = plain[: data_set_offset(plain)].replace(
        _syntax_element(ExplicitVRLittleEndian), _syntax_element(syntax)
    )
    length = len(meta) - 144
    file = meta[:140] + length.to_bytes(4, "little") + meta[144:] + raw
    answer = stow_lab.call(port, stow_lab.body_of(file))
    if syntax.startswith(SMPTE):
        assert (answer.status, answer.failed()) == (409, {made.SOPInstanceUID: 0xC122})
        return
    assert (answer.status, answer.stored()) == (200, [made.SOPInstanceUID])
    path = node.stored()[made.SOPInstanceUID]
    assert lab.bytes_of(path) == raw
    assert read_file_meta_info(path).TransferSyntaxUID == syntax


def _syntax_element(syntax: str) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\2\0\x10\0UI" + len(value).to_bytes(2, "little") + value


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_every_shared_file_is_stored_byte_by_byte(shared: Path, tmp_path: Path) -> None:
    """The data set of each file lies on disk as C-STORE would have put it there.

    Compared are the data sets, from the end of the file meta information on: that is what C-STORE
    carries too, and what a file of ours begins with is our own file meta in both cases.
    """
    folder = shared / "data/dicom"
    parts = ("transfer_syntax", "documents", "modalities", "chest", "charsets", "not_chest", "luts")
    files = [path for part in parts for path in sorted((folder / part).glob("*.dcm"))]
    said, sent = {}, {}
    with stow_lab.running(tmp_path, on_conflict="keep_both") as (node, port):
        for path in files:
            raw = path.read_bytes()
            answer = stow_lab.call(port, stow_lab.body_of(raw))
            said[path.name] = [*answer.failed().values(), *answer.others()]
            sent[path.name] = raw[data_set_offset(raw[: 1 << 16]) :]
        objects = [node.storage.spool.path(name) for name in node.objects()]
        kept = {lab.bytes_of(path) for path in objects}
    assert said == {path.name: _what_it_should_hear(path) for path in files}
    stored = [name for name, reasons in said.items() if not reasons]
    assert len(stored) > 80
    assert [name for name in stored if sent[name] not in kept] == []


def _what_it_should_hear(path: Path) -> list[int]:
    """Refused is only what cannot be filed, and a file whose meta names another instance."""
    if not data_set_offset(path.read_bytes()[: 1 << 16]):
        return [0xC000]
    read = dcmread(path, stop_before_pixels=True)
    names = (read.get("SOPClassUID"), read.get("SOPInstanceUID"))
    told = [read.file_meta.get(f"MediaStorage{name}") for name in ("SOPClassUID", "SOPInstanceUID")]
    if not told[1]:
        return [0x0117]
    return [] if names == tuple(told) and all(told) and "StudyInstanceUID" in read else [0xA900]


def test_dicomweb_client_stores(door: tuple[lab.Node, int]) -> None:
    """The reference client in Python, with its own multipart writer."""
    node, port = door
    session = create_session()
    session.headers["Authorization"] = f"Bearer {stow_lab.TOKEN}"
    client = DICOMwebClient(f"http://127.0.0.1:{port}", session=session)
    study = generate_uid()
    made = [lab.data_set(StudyInstanceUID=study) for _ in range(3)]
    read = [dcmread(BytesIO(stow_lab.file_of(one))) for one in made]  # with their file meta
    said = client.store_instances(read, study_instance_uid=study)
    assert [str(one.ReferencedSOPInstanceUID) for one in said.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in made
    ]
    assert "FailedSOPSequence" not in said
    stored = node.stored()
    assert all(lab.bytes_of(stored[one.SOPInstanceUID]) == lab.encoded(one) for one in made)
    session.close()


@contextmanager
def _orthanc(folder: Path, door: int) -> Iterator[str]:
    """Orthanc with its DICOMweb plugin, which knows our door as `node`; its own address."""
    http, dicom = lab.free_port(), lab.free_port()
    server = {
        "Url": f"http://127.0.0.1:{door}/",
        "HttpHeaders": {"Authorization": f"Bearer {stow_lab.TOKEN}"},
    }
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)], "HttpPort": http, "DicomPort": dicom,
        "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        "DicomWeb": {"Enable": True, "Servers": {"node": server}},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stderr=log)
    base = f"http://127.0.0.1:{http}"
    try:
        assert lab.eventually(lambda: _json(f"{base}/system"), 30)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def _json(url: str, body: bytes | None = None) -> Any:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            return json.load(answer)
    except OSError:
        return None


@pytest.mark.system
@pytest.mark.skipif(not PLUGIN.exists(), reason="orthanc-dicomweb is not installed")
def test_orthanc_sends_a_study_by_web(door: tuple[lab.Node, int], tmp_path: Path) -> None:
    node, port = door
    study = generate_uid()
    made = [lab.data_set(StudyInstanceUID=study) for _ in range(3)]
    with _orthanc(tmp_path, port) as base:
        for one in made:
            assert _json(f"{base}/instances", stow_lab.file_of(one))
        (held,) = _json(f"{base}/studies")
        body = json.dumps({"Resources": [held], "Synchronous": True}).encode()
        said = _json(f"{base}/dicom-web/servers/node/stow", body)
    assert said is not None, (tmp_path / "orthanc.log").read_text()[-2000:]
    stored = node.stored()
    assert all(lab.bytes_of(stored[one.SOPInstanceUID]) == lab.encoded(one) for one in made)


def test_it_is_part_of_readiness_and_comes_back(tmp_path: Path) -> None:
    with stow_lab.running(tmp_path) as (node, port):
        assert lab.eventually(lambda: intake.status(node.data).ready)
        (web,) = [line["pid"] for line in node.events("receiver.started") if line["number"] == 1]
        subprocess.run(["kill", "-9", str(web)], check=True)
        assert lab.eventually(lambda: len(node.events("receiver.started")) == 3)
        assert stow_lab.call(port, method="GET", path="/healthz", Authorization="").status == 200
        assert stow_lab.send(port, lab.data_set()).status == 200


def test_a_connection_is_used_again(door: tuple[lab.Node, int]) -> None:
    _, port = door
    session = create_session()
    session.headers["Authorization"] = f"Bearer {stow_lab.TOKEN}"
    session.headers["Content-Type"] = stow_lab.KIND
    for _ in range(3):
        body = stow_lab.body_of(stow_lab.file_of(lab.data_set()))
        assert session.post(f"http://127.0.0.1:{port}/studies", body).status_code == 200
    assert len(session.get_adapter("http://").poolmanager.pools) == 1
    session.close()


def test_no_model_runtime_is_loaded() -> None:
    code = (
        "import sys, dicom_node.stow as door; door.receive_as; "
        "sys.exit(bool({'torch', 'onnxruntime', 'monai', 'highdicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=lab.ROOT).returncode == 0
