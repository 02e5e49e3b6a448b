"""What lies in deploy/: settings that fit each other; a real Orthanc routes, never in circles."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import SecondaryCaptureImageStorage, Verification
from ruamel.yaml import YAML

from config import load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_settings_of_compose_load_and_fit_it(tmp_path: Path) -> None:
    text = (DEPLOY / "node.yaml").read_text("utf-8")
    (tmp_path / "database-password").write_text("p@ss")
    file = tmp_path / "node.yaml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)), "utf-8")
    settings = load(file, {})
    compose = YAML(typ="safe", pure=True).load(ROOT / "compose.yaml")
    orthanc = json.loads((DEPLOY / "orthanc.json").read_text())
    pacs = settings.destinations["pacs"]

    assert settings.node.database == "postgresql+psycopg://dictamen:p%40ss@database/dictamen"
    assert {"database", "pacs", "dictamen"} == compose["services"].keys()
    assert (pacs.host, pacs.port, pacs.ae_title) == (
        "pacs",
        orthanc["DicomPort"],
        orthanc["DicomAet"],
    )
    route = orthanc["DicomModalities"]["dictamen"]
    assert f"0.0.0.0:{route['Port']}" == settings.node.listen
    assert (route["AET"], route["Host"]) == (settings.node.ae_title, "dictamen")


@dataclass
class Trial:
    """An Orthanc with our files, and a listener in the place of the node."""

    pacs_port: int
    received: list[str] = field(default_factory=list)

    def send(self, uid: str, calling: str) -> None:
        entity = AE(ae_title=calling)
        entity.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self.pacs_port, ae_title="TRIALPACS")
        assert association.is_established
        assert association.send_c_store(instance(uid)).Status == 0
        association.release()

    def stored(self, event: evt.Event) -> int:
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        return 0


def instance(uid: str) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
    data.PatientID, data.PatientName, data.Modality = "T-1", "Synthetic^One", "OT"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    orthanc = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")
    if orthanc is None:
        why = "Orthanc is not installed"
        pytest.fail(why) if os.environ.get("DICTAMEN_SYSTEM") == "1" else pytest.skip(why)
    assert orthanc is not None
    found = Trial(free_port())
    node = AE(ae_title="DICTAMEN")
    node.add_supported_context(SecondaryCaptureImageStorage)
    server = node.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, found.stored)]
    )
    settings = json.loads((DEPLOY / "orthanc.json").read_text())
    settings |= {"StorageDirectory": str(tmp_path), "IndexDirectory": str(tmp_path)}
    settings |= {"DicomPort": found.pacs_port, "HttpPort": free_port()}
    settings |= {"RemoteAccessAllowed": False, "LuaScripts": [str(DEPLOY / "route.lua")]}
    here = {"Host": "127.0.0.1", "Port": server.socket.getsockname()[1]}
    settings["DicomModalities"]["dictamen"] |= here
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps(settings))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([orthanc, str(file)], stdout=log, stderr=log)
    try:
        wait_for(found.pacs_port)
        yield found
    finally:
        process.terminate()
        process.wait(30)
        server.shutdown()


def wait_for(port: int) -> None:
    entity = AE()
    entity.add_requested_context(Verification)
    for _ in range(100):
        association = entity.associate("127.0.0.1", port, ae_title="TRIALPACS")
        if association.is_established:
            association.release()
            return
        time.sleep(0.2)
    raise AssertionError("Orthanc does not answer")


@pytest.mark.system
def test_the_trial_pacs_routes_images_and_never_returns_results(trial: Trial) -> None:
    trial.send("1.2.3.1", calling="DICTAMEN")  # a result of ours
    trial.send("1.2.3.2", calling="MODALITY")
    for _ in range(100):
        if trial.received:
            break
        time.sleep(0.1)
    time.sleep(0.5)  # what would come in a circle comes at once
    assert trial.received == ["1.2.3.2"]
