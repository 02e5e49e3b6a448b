"""What is sent is what lies on disk: every transfer syntax and class, DCMTK's senders too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import intake_lab as lab
import pytest
from pydicom.filereader import dcmread, read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_node.intake.reception import data_set_offset

DCMTK = {**os.environ, "TCP_NODELAY": "1"}


@pytest.fixture(scope="module", params=["", lab.STOCK], ids=["fast", "stock"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lab.Node]:
    with lab.running(tmp_path_factory.mktemp("intake"), patch=request.param) as found:
        yield found


def test_echo(node: lab.Node) -> None:
    with lab.associated(node) as assoc:
        assert assoc.send_c_echo().Status == 0x0000


def test_an_instance_is_stored_as_received_with_its_row(node: lab.Node) -> None:
    made = lab.data_set(PatientName="Wei\xdf^A", SpecificCharacterSet="ISO_IR 100")
    assert lab.send(node, made) == [0x0000]
    path = node.stored()[made.SOPInstanceUID]
    assert lab.bytes_of(path) == lab.encoded(made)
    meta = read_file_meta_info(path)
    assert meta.SourceApplicationEntityTitle == "PACS"
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    study = node.storage.studies.get(made.StudyInstanceUID)
    (row,) = [
        one
        for one in node.storage.studies.instances(made.StudyInstanceUID)
        if one.sop_uid == made.SOPInstanceUID
    ]
    assert study is not None
    assert (row.calling_ae, row.address, row.size) == ("PACS", "127.0.0.1", len(lab.encoded(made)))
    assert row.headers["PatientName"] == "Weiß^A"
    assert row.headers["HasPixelData"] is True


def test_private_class_and_several_contexts(node: lab.Node) -> None:
    private = lab.data_set("1.3.46.670589.2.5.1.1")
    dx = lab.data_set(lab.DX)
    assert lab.send(node, private, dx) == [0x0000, 0x0000]
    assert {private.SOPInstanceUID, dx.SOPInstanceUID} <= set(node.stored())


def test_contexts_that_are_not_storage_are_refused(node: lab.Node) -> None:
    offered = {lab.CT: ["1.2.3.4.5"], "1.2.840.10008.5.1.4.1.2.2.1": [], lab.VERIFICATION: []}
    with lab.associated(node, offered) as assoc:
        assert {str(c.abstract_syntax): c.result for c in assoc.rejected_contexts} == {
            lab.CT: 4,
            "1.2.840.10008.5.1.4.1.2.2.1": 3,
        }


def test_transfers_are_audited_by_study_and_association(node: lab.Node) -> None:
    one, other = generate_uid(), generate_uid()
    lab.send(node, *(lab.data_set(StudyInstanceUID=uid) for uid in (one, one, other, one)))

    def told() -> list[tuple[str, dict[str, int]]]:
        return [
            (entry.study_uid, entry.details["instances"])
            for entry in node.audit("110104")
            if entry.study_uid in (one, other) and "instances" in entry.details
        ]

    assert lab.eventually(lambda: len(told()) == 3)
    assert told() == [(one, {"stored": 2}), (other, {"stored": 1}), (one, {"stored": 1})]
    assert all(
        entry.details["source"] == {"ae_title": "PACS", "address": "127.0.0.1"}
        for entry in node.audit("110104")
        if entry.study_uid == other and "source" in entry.details
    )


@pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed")
def test_dcmtk_sends(node: lab.Node, tmp_path: Path) -> None:
    made = lab.data_set()
    made.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    where = ["-aet", "PACS", "-aec", "DICTAMEN", "127.0.0.1", str(node.port)]
    subprocess.run(["echoscu", *where], check=True, env=DCMTK, timeout=60)
    subprocess.run(
        ["storescu", "-R", *where, tmp_path / "one.dcm"], check=True, env=DCMTK, timeout=60
    )
    assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == lab.encoded(made)


def _files(shared: Path) -> list[Path]:
    folder = shared / "data/dicom"
    return [path for part in ("transfer_syntax", "documents", "modalities", "chest", "charsets")
            for path in sorted((folder / part).glob("*.dcm"))]  # fmt: skip


@pytest.mark.shared
def test_every_shared_file_is_stored_byte_by_byte(shared: Path, tmp_path: Path) -> None:
    """Refused is only what cannot be filed: no SOP Instance UID or no Study Instance UID."""
    stored, refused = [], []
    with lab.running(tmp_path, on_conflict="keep_both") as node:
        for path in _files(shared):
            raw = path.read_bytes()
            offset = data_set_offset(raw[: 1 << 16])
            if not offset:
                continue  # no file meta of its own: nothing tells how it is encoded
            read = dcmread(path, stop_before_pixels=True)
            sop_class = str(read.get("SOPClassUID", lab.CT))
            status = lab.send_raw(
                node, raw[offset:], sop_uid=str(read.get("SOPInstanceUID", "1.2.3")),
                sop_class=sop_class, context=sop_class,
                syntax=str(read.file_meta.TransferSyntaxUID),
            )  # fmt: skip
            if "SOPInstanceUID" in read and "StudyInstanceUID" in read:
                assert (path.name, status) == (path.name, 0x0000)
                stored.append(raw[offset:])
            else:
                refused.append((path.name, status))
        kept = [lab.bytes_of(node.storage.spool.path(name)) for name in node.objects()]
    assert len(stored) > 60
    assert all(raw in kept for raw in stored)
    assert {status for _, status in refused} == {0xA900}


def test_no_model_runtime_is_loaded() -> None:
    code = (
        "import sys, dicom_node.intake as door; door.serve; door.recover; "
        "sys.exit(bool({'torch', 'onnxruntime', 'monai', 'highdicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=lab.ROOT).returncode == 0
