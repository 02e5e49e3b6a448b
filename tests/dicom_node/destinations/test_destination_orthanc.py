"""The sender against Orthanc: real results arrive, and arrive once however often they are sent."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from destination_peers import dicom_settings, free_port, never
from pydicom import dcmread

from dicom_node.destinations import Fate, Parcel
from dicom_node.destinations.dicom import DicomSender

pytestmark = [pytest.mark.shared, pytest.mark.system]
RESULTS = {
    "overlay": "sc_overlay.dcm",
    "strip": "sc_multiframe_traversal.dcm",
    "structured_report": "sr_tid1500.dcm",
    "text_report": "sr_tid2000_text.dcm",
}


@contextmanager
def orthanc(shared: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """A trial PACS: its DICOM port and its HTTP port."""
    dicom, http = free_port(), free_port()
    lab = [sys.executable, str(shared / "tools" / "pacs_lab.py")]
    where = ["--dir", str(folder)]
    ports = ["--dicom-port", str(dicom), "--http-port", str(http)]
    subprocess.run([*lab, "start", *where, *ports, "--aet", "PACS"], check=True)
    try:
        yield dicom, http
    finally:
        subprocess.run([*lab, "stop", *where], check=True)


def stored(http: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/statistics", timeout=10) as answer:
        return int(json.load(answer)["CountInstances"])


def test_orthanc_takes_our_results_once(shared: Path, tmp_path: Path) -> None:
    batch = []
    for number, (kind, name) in enumerate(RESULTS.items()):
        payload = (shared / "examples" / name).read_bytes()
        header = dcmread(shared / "examples" / name, stop_before_pixels=True)
        study, uid = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        batch.append(Parcel(number, kind, uid, str(header.SOPClassUID), payload, study, 1))
    with orthanc(shared, tmp_path / "lab") as (dicom, http):
        sender = DicomSender("pacs", dicom_settings(dicom, timeout="10s"), "DICTAMEN")
        assert sender.probe() == ""
        for _again in range(2):
            assert {each.fate for each in sender.send(batch, never)} == {Fate.DELIVERED}
            assert stored(http) == len(batch)
