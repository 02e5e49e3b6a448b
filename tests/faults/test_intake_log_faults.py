"""What the intake writes into its log: no patient, no line of a peer's making."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import intake_lab as lab
import pytest
from pydicom.uid import generate_uid

NAME, NUMBER, BORN = lab.PLANTED


def _planted(**values: object) -> lab.Dataset:
    planted = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN}
    return lab.data_set(**{**planted, "AccessionNumber": "A-" + NUMBER, **values})


def test_phi_in_logs(tmp_path: Path) -> None:
    """A stored instance, each kind of refusal, a conflict, a note, a failure, an abort."""
    uid = generate_uid()
    raw = lab.encoded(_planted())
    name = struct.pack("<HH2sH", 0x10, 0x10, b"PN", 14)
    patch = (
        "from dicom_node.intake import headers\n_of = headers.of\n"
        "def _fail(source, **_):\n"
        "    if source.get('StudyID') == 'FAIL': raise KeyError(str(source.PatientName))\n"
        "    return _of(source, **_)\n"
        "headers.of = _fail"
    )
    with lab.running(tmp_path, on_conflict="refuse", patch=patch) as node:
        answers = lab.send(
            node,
            _planted(SOPInstanceUID=uid),
            _planted(SOPInstanceUID=uid, Manufacturer="other"),
            _planted(StudyInstanceUID="1.2.3", PatientID=NUMBER + "X"),
            _planted(StudyID="FAIL"),
        )
        assert answers == [0x0000, 0xA900, 0x0000, 0x0110]
        odd = _planted()
        invalid = lab.encoded(odd).replace(BORN.encode(), b"194X0308")
        assert lab.send_raw(node, invalid, sop_uid=odd.SOPInstanceUID) == 0x0000
        for bad in (raw[:-100], raw.replace(name, name + b"\0\0"), raw + name, raw + raw):
            assert lab.send_raw(node, bad, sop_uid=generate_uid())
        with lab.associated(node) as assoc:
            lab.put(assoc, 1, b"\3" + lab.store_rq(lab.CT, uid))
            lab.put(assoc, 1, b"\0" + raw[:300])
            assoc.abort()
        assert lab.eventually(lambda: node.events("association.aborted"))
        study = lab.data_set().StudyInstanceUID
        node.stop()
        assert node.events("instance.failed")
        assert not [word for word in (*lab.PLANTED, "PLANTED", study + '"') if word in node.log]


@pytest.mark.parametrize(
    "title", ["EVIL\nline", "\x1b[31mRED"], ids=["line break", "terminal code"]
)
def test_log_injection(title: str, tmp_path: Path) -> None:
    with lab.running(tmp_path) as node:
        with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
            peer.sendall(lab.associate_rq(title))
            assert peer.recv(10) == bytes([3, 0, 0, 0, 0, 4, 0, 1, 1, 3])
        assert lab.eventually(lambda: node.events("association.rejected"))
        lines = node.log.splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert "\x1b" not in node.log
        (line,) = node.events("association.rejected")
        assert line["calling"].isprintable()
        assert lab.eventually(lambda: any(e.event == "110113" for e in node.audit()))
        assert all(entry.who.isprintable() for entry in node.audit())
