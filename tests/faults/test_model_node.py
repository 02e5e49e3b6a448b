"""Models that break, vanish or are replaced below a running node.

The real node with the real chest model; what it sends lands in a folder.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from system import films
from system.node import ROOT, NodeUnderTest, alive, wait_for

from dicom_node.ports import why_taken
from processors.runtime import SHIPPED, open_bundle
from processors.training.files import write_checksums
from storage import Run, RunState, Storage

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(180)]
BROKEN_MODEL = Path(__file__).parent / "broken_model"
MakeNode = Callable[..., NodeUnderTest]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """Makes a node, not started, that sends its results to the folder `out`."""
    made: list[NodeUnderTest] = []

    def make(bundle: str = "chest", **workers: Any) -> NodeUnderTest:
        disk = {"disk": {"kind": "folder", "path": str(tmp_path / "out")}}
        node = NodeUnderTest(tmp_path, changes={"destinations": disk, "workers": workers})
        node.settings["processors"][0] |= {"send_to": ["disk"], "bundle": bundle}
        node.write()
        node.environment["PYTHONPATH"] = os.pathsep.join(map(str, (BROKEN_MODEL, ROOT)))
        made.append(node)
        return node

    yield make
    for node in made:
        node.stop()


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    """The shipped chest model in a folder of its own, to be spoilt."""
    return Path(shutil.copytree(SHIPPED / "chest", tmp_path / "models" / "chest"))


def run_of(storage: Storage, film: Dataset) -> Run:
    """The newest run of the film's study."""
    found: Run = wait_for(
        lambda: storage.runs.list(study_uid=film.StudyInstanceUID), 30, "the study is planned"
    )[-1]
    return found


def others(node: NodeUnderTest) -> dict[int, tuple[str, int]]:
    """Everything that runs but the workers."""
    return {pid: role for pid, role in node.pids().items() if role[0] != "worker"}


# ---- broken while it runs -----------------------------------------------------------------------
def test_model_crash_ends_only_the_worker(make_node: MakeNode) -> None:
    node = make_node()
    node.start()
    before, crash, (first, second) = (
        others(node),
        films.restamped(films.ill(""), "CRASH"),
        films.films(2),
    )
    assert films.send(node.port, first, crash, second) == [0, 0, 0]
    with node.storage() as storage:
        run = wait_for(lambda: run_of(storage, crash).attempt and run_of(storage, crash), 30, "")
        late = films.films(1, "LATE")[0]
        assert films.send(node.port, late) == [0], "the intake goes on"
        books = node.until_done(4, 90)
        assert (books.columns["completed"], books.columns["set_aside"]) == (3, 1)
        run = run_of(storage, crash)
        assert (run.state, run.attempt) == (RunState.SET_ASIDE, 3)
        assert "signal 11" in run.reason
        assert storage.runs.reports(run.id) == ()
    assert others(node) == before, "intake and courier are the same processes"
    sent = {dcmread(p, stop_before_pixels=True).StudyInstanceUID for p in sent_dicom(node)}
    assert sent == {film.StudyInstanceUID for film in (first, second, late)}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("HANG", "longer than 10 s", id="inference that never returns"),
        pytest.param("LOCK", "silent for 5 s", id="not even its beat goes on"),
    ],
)
def test_model_hang(make_node: MakeNode, name: str, said: str) -> None:
    node = make_node(timeout="10s", lease="5s", max_attempts=1)
    node.start()
    hang, good = films.restamped(films.ill(""), name), films.films(1)[0]
    with node.storage() as storage:
        assert films.send(node.port, hang) == [0]
        wait_for(storage.runs.running, 30, "it hangs")
        assert films.send(node.port, good) == [0], "the intake goes on"
        assert node.until_done(2, 60).columns["completed"] == 1
        run = run_of(storage, hang)
        assert (run.state, run.attempt) == (RunState.SET_ASIDE, 1)
        assert said in run.reason
        assert storage.runs.reports(run.id) == ()
        assert storage.audit.verify() == ()
    assert any("signal 9" in line["how"] for line in node.events("process.ended"))


# ---- a device that fails ------------------------------------------------------------------------
@pytest.fixture
def gpu(make_node: MakeNode, tmp_path: Path) -> Callable[[str], tuple[NodeUnderTest, Path]]:
    """A node that takes its model for one on a GPU, and the file that makes the GPU be lost."""

    def make(device: str) -> tuple[NodeUnderTest, Path]:
        node, broken = make_node(device=device, max_attempts=1), tmp_path / "gpu-is-lost"
        node.environment["BROKEN_GPU"] = str(broken)
        node.start()
        return node, broken

    return make


def test_gpu_lost_goes_on_on_the_cpu(gpu: Callable[[str], tuple[NodeUnderTest, Path]]) -> None:
    node, broken = gpu("auto")
    first, second = films.films(2)
    assert films.send(node.port, first) == [0]
    assert node.until_done(1, 60).columns["completed"] == 1
    assert json.loads(node.get("/readyz")[1])["degraded"] == []
    broken.touch()
    before = node.pids()
    assert films.send(node.port, second) == [0]
    assert node.until_done(2, 60).columns["completed"] == 2
    assert node.pids() == before, "the process survives"
    status, body = node.get("/readyz")
    (words,) = json.loads(body)["degraded"]
    assert status == 200
    assert "worker 1" in words
    assert "CUDA error" in words
    assert 'dictamen_events_total{event="device.lost"} 1.0' in node.get("/metrics")[1]
    with node.storage() as storage:
        assert run_of(storage, second).attempt == 1


def test_gpu_lost_lets_runs_wait_where_only_the_gpu_may_be_used(
    gpu: Callable[[str], tuple[NodeUnderTest, Path]],
) -> None:
    node, broken = gpu("cuda")
    broken.touch()
    (film,) = films.films(1)
    worker = next(pid for pid, role in node.pids().items() if role[0] == "worker")
    assert films.send(node.port, film) == [0]
    with node.storage() as storage:
        wait_for(lambda: len(node.events("run.postponed")) >= 2, 60, "it was tried twice")
        run = run_of(storage, film)
        assert run.state in (RunState.WAITING, RunState.READY, RunState.RUNNING)
        assert run.tries <= 1, "none of them counts"
        assert worker not in node.pids(), "a new process asks for the device"
        broken.unlink()
        assert node.until_done(1, 60).columns["completed"] == 1
        assert run_of(storage, film).attempt >= 3
        assert storage.audit.verify() == ()


def sent_dicom(node: NodeUnderTest) -> list[Path]:
    return sorted((node.folder / "out").rglob("*.dcm"))


# ---- replaced while runs go on ------------------------------------------------------------------
def other_version(folder: Path, target: Path) -> Path:
    """A copy with another version in its card and other weights in its donors."""
    shutil.copytree(folder, target)
    file = target / "configs" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": "9.9.9"}))
    donors = target / "models" / "donors.npz"
    donors.write_bytes(donors.read_bytes() + b"\0")  # a zip's comment is not looked at
    write_checksums(target)
    return target


def said_in(path: Path) -> str:
    """All text of a DICOM file."""
    elements = dcmread(path, stop_before_pixels=True).iterall()
    return "\n".join(str(element.value) for element in elements if element.VR != "SQ")


def test_model_swap(make_node: MakeNode, chest: Path, tmp_path: Path) -> None:
    new = other_version(chest, tmp_path / "models" / "new")
    algorithms = [open_bundle(str(folder), "cpu").algorithm for folder in (chest, new)]
    old, replacing = algorithms
    assert old.version != replacing.version == "9.9.9"
    assert old.sha256 != replacing.sha256
    node = make_node(str(chest))
    node.start()
    first = [films.ill(f"OLD{n}") for n in range(4)]
    second = [films.ill(f"NEW{n}") for n in range(2)]
    with node.storage() as storage:
        assert set(films.send(node.port, *first)) == {0}
        wait_for(storage.runs.running, 30, "a run")
        chest.rename(tmp_path / "models" / "old")
        new.rename(chest)
        node.until_done(len(first), 60)
        worker = next(pid for pid, role in node.pids().items() if role[0] == "worker")
        assert node.process is not None
        os.kill(node.process.pid, 1)  # HUP: the administrator takes the new one over
        wait_for(lambda: worker not in node.pids(), 30, "the worker is renewed")
        node.until_ready()
        assert set(films.send(node.port, *second)) == {0}
        node.until_done(len(first) + len(second), 60)
        for film, algorithm in [*((f, old) for f in first), *((f, replacing) for f in second)]:
            run = run_of(storage, film)
            assert run.state is RunState.COMPLETED
            analysis = storage.runs.analysis(run.id)
            assert analysis is not None
            assert analysis["algorithm"]["version"] == algorithm.version
            assert analysis["algorithm"]["sha256"] == algorithm.sha256
            (row,) = [
                record.entry
                for record in storage.audit.list(study_uid=film.StudyInstanceUID, limit=1000)
                if record.entry.event == "110103" and "weights_sha256" in record.entry.details
            ]
            assert algorithm.version in row.who
            assert row.details["weights_sha256"] == algorithm.sha256
            kinds = {r.kind: r for r in storage.runs.reports(run.id)}
            assert {"overlay", "strip", "structured_report"} <= set(kinds)
            for kind in ("overlay", "strip", "structured_report"):
                text = said_in(storage.spool.path(kinds[kind].path))
                assert algorithm.version in text, kind
                assert algorithm.sha256 in text, kind


# ---- what it says -------------------------------------------------------------------------------
def test_report_rambling_is_told_in_the_audit_and_findings_go_out(make_node: MakeNode) -> None:
    node, film = make_node(), films.ill("RAMBLE")
    node.start()
    assert films.send(node.port, film) == [0]
    assert node.until_done(1, 60).columns["completed"] == 1
    with node.storage() as storage:
        run = run_of(storage, film)
        analysis = storage.runs.analysis(run.id)
        assert analysis is not None
        assert analysis["findings"][0]["state"] == "present"
        assert analysis["impression"] is None
        assert analysis["impression_withheld"] == "it repeats itself"
        (row,) = [
            record.entry
            for record in storage.audit.list(study_uid=film.StudyInstanceUID, limit=1000)
            if "draft_withheld" in record.entry.details
        ]
        assert row.details["draft_withheld"] == "it repeats itself"
        kinds = {r.kind: r for r in storage.runs.reports(run.id)}
        assert "structured_report" in kinds
        text = said_in(storage.spool.path(kinds["text_report"].path))
        assert "The draft impression was withheld: it repeats itself." in text
        assert "opacity" not in text
    assert node.events("draft.withheld")


# ---- unusable -----------------------------------------------------------------------------------
def _without_the_encoder(folder: Path) -> None:
    (folder / "models" / "encoder.onnx").unlink()


def _without_the_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _flipped(folder: Path) -> None:
    file = folder / "models" / "encoder.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))


def _of_another_model(folder: Path) -> None:
    """The head of the brain model: another list of answers, every digest right."""
    shutil.copy(SHIPPED / "brain" / "models" / "donors.npz", folder / "models" / "donors.npz")
    write_checksums(folder)


def refused(node: NodeUnderTest) -> str:
    """What a start says that is refused: nothing runs on, and nobody was told a study is kept.

    The door opens while the models are looked at, so a folder may be there.
    """
    done = node.cli("serve", str(node.file), check=1)
    assert "Traceback" not in done.stderr
    lines = (line for line in done.stderr.splitlines() if '"process.started"' in line)
    started = [json.loads(line)["pid"] for line in lines]
    assert started
    assert not any(alive(pid) for pid in started)
    assert why_taken(f"127.0.0.1:{node.port}") == ""
    with node.storage() as storage:
        assert storage.studies.list() == ()
    return done.stderr


@pytest.mark.parametrize("spoil", [_without_the_encoder, _without_the_folder])
def test_weights_missing_refuse_the_start(
    make_node: MakeNode, chest: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(chest)
    said = refused(make_node(str(chest)))
    assert "processors.chest.bundle" in said
    assert str(chest) in said


def test_weights_corrupt_refuse_the_start(make_node: MakeNode, chest: Path) -> None:
    _flipped(chest)
    said = refused(make_node(str(chest)))
    assert "processors.chest.bundle" in said
    assert "encoder.onnx" in said


def test_weights_shape_refuse_the_start(make_node: MakeNode, chest: Path) -> None:
    _of_another_model(chest)
    said = refused(make_node(str(chest)))
    assert "processors.chest.bundle" in said
    assert "donors.npz" in said or "head" in said


def test_weights_corrupt_below_a_running_node_are_named_and_never_run(
    make_node: MakeNode, chest: Path
) -> None:
    node, film = make_node(str(chest)), films.films(1)[0]
    node.start()
    encoder = chest / "models" / "encoder.onnx"
    whole = encoder.read_bytes()
    _flipped(chest)
    node.kill("worker")
    with node.storage() as storage:
        assert films.send(node.port, film) == [0], "the intake goes on"
        body = wait_for(lambda: _says(node, "encoder.onnx"), 30, "readiness names the file")
        assert body["ready"] is False
        assert any("processors.chest.bundle" in reason for reason in body["reasons"])
        time.sleep(1.0)
        assert run_of(storage, film).attempt == 0
        encoder.write_bytes(whole)
        assert node.until_done(1, 60).columns["completed"] == 1
    node.until_ready()
    assert node.get("/readyz")[1] == json.dumps({"ready": True, "degraded": [], "reasons": []})


def _says(node: NodeUnderTest, words: str) -> dict[str, Any] | None:
    status, body = node.get("/readyz")
    return json.loads(body) if status == 503 and words in body else None
