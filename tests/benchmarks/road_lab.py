"""What `pipeline_road.py` measures and against whom: films, a PACS, a RIS, the baseline, the node.

All of it runs for real, on loopback: films wrapped from the shared images by the shared tools,
Orthanc and the trial RIS of the same tools, `dictamen serve`. The PACS is watched from outside: a
result counts when Orthanc lists it, for the node and for the baseline alike.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from system import films
from system.node import NodeUnderTest, wait_for

from dicom_node.demo.peers import free_port

SIZE = (2048, 2500)  # columns, rows
QUIET = 0.5  # seconds that the node is told to wait where nothing ends the wait earlier
LOOK = 0.01  # seconds between two looks at the PACS


@dataclass(frozen=True)
class Film:
    """One DX object, about 10 MB; `results`: how many objects its study brings to the PACS."""

    dataset: Dataset
    results: int = 0

    def study(self, name: str) -> tuple[str, str, bytes]:
        """A study of its own: Study and SOP Instance UID, data set in explicit little endian."""
        made = films.restamped(self.dataset, name, AccessionNumber=name[-16:])
        raw = encode(made, False, True)
        if raw is None:
            raise ValueError("a film that cannot be encoded")
        return str(made.StudyInstanceUID), str(made.SOPInstanceUID), raw


def wrapped(shared: Path, folder: Path) -> Iterator[Film]:
    """Children's films with pneumonia as detectors make them: the shipped model explains most."""
    sys.path.insert(0, str(shared / "tools"))
    from dx_wrap import wrap_one

    how = argparse.Namespace(photometric="MONOCHROME2", view="AP", age=(1, 5), field_mm=430)
    images = shared / "data/images"
    with (images / "chest_paed.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file) if "pneumonia" in row["labels"]]
    with tarfile.open(images / "chest_paed.tar") as tar:
        for path in paths:
            member = tar.extractfile(path)
            if member is not None:
                large = Image.open(io.BytesIO(member.read())).convert("L").resize(SIZE)
                file_of = folder / f"{Path(path).stem}.png"
                large.save(file_of, compress_level=1)
                made = wrap_one(file_of, path, 0, how)
                file_of.unlink()
                yield Film(made)


# ---- who takes the results ----------------------------------------------------------------------
@dataclass
class Pacs:
    """Orthanc of the shared `pacs_lab.py`; `seen`: study -> times at which it got an object."""

    shared: Path
    folder: Path
    port: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _over: threading.Event = field(default_factory=threading.Event)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Pacs:
        self._tool("start", "--dicom-port", str(self.port), "--http-port", str(self.http))
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._tool("stop")

    def until(self, study: str, results: int, seconds: float) -> float:
        """When the study's last result came (time.time); AssertionError if it does not."""
        deadline = time.monotonic() + seconds
        with self._news:
            while len(self.seen[study]) < results:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(self.seen[study])} of {results} results of {study}"
                self._news.wait(left)
            return max(self.seen[study])

    def _tool(self, *words: str) -> None:
        tool = str(self.shared / "tools/pacs_lab.py")
        command = [sys.executable, tool, words[0], "--dir", str(self.folder), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise SystemExit(done.stderr)

    def _watch(self) -> None:
        link, last = http.client.HTTPConnection("127.0.0.1", self.http), 0
        while not self._over.wait(LOOK):
            try:
                told = _get(link, f"/changes?since={last}&limit=1000")
            except (OSError, http.client.HTTPException):
                link.close()
                continue
            now, last = time.time(), told["Last"]
            new = [one["ID"] for one in told["Changes"] if one["ChangeType"] == "NewInstance"]
            studies = [_get(link, f"/instances/{one}/study") for one in new]
            if studies:
                with self._news:
                    for study in studies:
                        self.seen[study["MainDicomTags"]["StudyInstanceUID"]].append(now)
                    self._news.notify_all()


def _get(link: http.client.HTTPConnection, path: str) -> dict[str, object]:
    link.request("GET", path)
    return json.loads(link.getresponse().read())


@contextmanager
def ris(shared: Path, folder: Path) -> Iterator[int]:
    """The shared `mllp_lab.py`; its port. A message that it finds bad ends the measurement."""
    port = free_port()
    command = [sys.executable, str(shared / "tools/mllp_lab.py"), "serve", "--port", str(port)]
    with (folder / "ris.log").open("wb") as log:
        office = subprocess.Popen([*command, "--out", str(folder)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        office.terminate()
        bad = office.wait(30)
    if bad:
        raise SystemExit(f"The RIS got a bad message: see {folder}")


# ---- who judges ---------------------------------------------------------------------------------
@contextmanager
def baseline(shared: Path, folder: Path, pacs: Pacs) -> Iterator[int]:
    """The shared `baseline_node.py`; its port."""
    port, tool = free_port(), str(shared / "tools/baseline_node.py")
    command = [sys.executable, tool, str(port), "--to", f"127.0.0.1:{pacs.port}:TRIALPACS"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "baseline.log").open("wb") as log:
        naive = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_for(lambda: _listens(port), 30, "the baseline listens")
        yield port
    finally:
        naive.terminate()
        naive.wait(10)


def _listens(port: int) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        link.connect()
    except OSError:
        return False
    finally:
        link.close()
    return True


def node(folder: Path, pacs: Pacs, ris_port: int, workers: int) -> NodeUnderTest:
    """The real node with everything on: audit, durable queue, four reports, PACS and RIS."""
    peers = {
        "pacs": {"kind": "dicom", "ae_title": "TRIALPACS", "host": "127.0.0.1", "port": pacs.port},
        "ris": {
            "kind": "mllp", "host": "127.0.0.1", "port": ris_port,
            "application": "RIS", "facility": "HOSPITAL",
        },
    }  # fmt: skip
    changes = {
        "workers": {"processes": workers, "lease": "30s"},
        "destinations": peers,
        "intake": {"limits": {"per_address": 60}, "log": "256MiB"},
    }
    made = NodeUnderTest(folder, changes=changes)
    made.settings["processors"][0] |= {
        "settle": {"quiet": f"{QUIET * 1000:.0f}ms", "longest": "20s", "expect": {"instances": 1}},
        "reports": ["secondary_capture", "structured_report", "text_report", "hl7_oru"],
        "send_to": ["pacs", "ris"],
    }
    made.write()
    return made
