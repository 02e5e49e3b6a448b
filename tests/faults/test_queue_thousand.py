"""A long queue: restarts, floods, claims by many workers. Real workers, a quick processor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults.seeds import seed, study_uid
from pydicom.dataset import Dataset
from system import films
from system.node import ROOT, NodeUnderTest, wait_for

import storage as storage_room
from config import load
from dicom_node import clock
from storage import Run, RunState, Storage

WORKER = Path(__file__).parent / "quick_worker.py"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def node(database: str, tmp_path: Path) -> NodeUnderTest:
    """node.yaml with a made database; nothing runs yet."""
    made = NodeUnderTest(tmp_path, database=database)
    settings = load(made.file, os.environ)
    settings.node.data_dir.mkdir(parents=True)
    storage_room.upgrade(settings.node.database_url)
    return made


@contextmanager
def workers(node: NodeUnderTest, number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many worker processes; killed at the end."""
    with node.log.open("ab") as log:
        started = [
            subprocess.Popen(
                [sys.executable, str(WORKER), str(node.file)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=log,
            )
            for _ in range(number)
        ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def finished(storage: Storage) -> int:
    return storage.runs.counts()[RunState.UNSUITABLE]


def starts(storage: Storage) -> list[Run]:
    """All runs in the order in which they were last started."""
    found = storage.runs.list(limit=5000)
    return sorted(found, key=lambda run: run.started_at or datetime.max.replace(tzinfo=UTC))


def test_queue_restart_with_a_thousand_runs(node: NodeUnderTest) -> None:
    urgent = {700, 900}
    with node.storage() as storage:
        seed(storage, 1000, urgent=urgent)
        with workers(node, 1) as (process,):
            wait_for(lambda: finished(storage) >= 50, 60, "fifty runs")
            held = wait_for(storage.runs.running, 10, "a run")[0]
            process.kill()
            process.wait()
        # what was running when everything stopped is taken up again by its lease
        left = storage.runs.running()
        watch = clock.LeaseWatch(lease=0.0, timeout=60.0, max_attempts=3)
        for _ in range(2):
            watch.look(storage, lambda _owner: False)
            time.sleep(0.01)
        assert storage.runs.running() == ()
        with workers(node, 2):
            wait_for(lambda: finished(storage) == 1000, 120, "all thousand")
        assert sum(storage.runs.counts().values()) == 1000
        order = [run for run in starts(storage) if run.id not in {r.id for r in (*left, held)}]
        assert {run.study_uid for run in order[:2]} == {study_uid(index) for index in urgent}
        ids = [run.id for run in order[2:]]
        # two workers start runs at the same moment: neighbours may swap, no run is overtaken
        assert max(abs(place - ids.index(i)) for place, i in enumerate(sorted(ids))) <= 2
        assert storage.audit.verify() == ()


def test_two_workers_never_get_the_same_run(node: NodeUnderTest) -> None:
    with node.storage() as storage:
        seed(storage, 60)
        with workers(node, 3):
            wait_for(lambda: finished(storage) == 60, 60, "all runs")
        assert Counter(run.attempt for run in storage.runs.list(limit=1000)) == {1: 60}
        begun = [
            record.entry.details["run"]
            for record in storage.audit.list(limit=10_000)
            if record.entry.kind == "run.started"
        ]
        assert Counter(begun) == dict.fromkeys(begun, 1)
        assert len(begun) == 60


def small_films(number: int, prefix: str) -> list[Dataset]:
    """Instances of 128 x 128 pixels, each a study of its own."""
    made = []
    for index in range(number):
        film = films.restamped(films.cast()[0].datasets[0], f"{prefix}{index}")
        film.Rows = film.Columns = 128
        film.PixelData = film.PixelData[: 128 * 128 * 2]
        made.append(film)
    return made


def seconds_to_send(node: NodeUnderTest, number: int, prefix: str) -> float:
    made, began = small_films(number, prefix), time.monotonic()
    assert set(films.send(node.port, *made)) == {0}
    return time.monotonic() - began


@pytest.mark.system
@pytest.mark.parametrize("database", ["sqlite"])
def test_queue_flood_leaves_the_intake_as_fast_and_shows_the_backlog(
    tmp_path: Path, database: str
) -> None:
    with NodeUnderTest(tmp_path, database=database) as node, node.storage() as storage:
        worker = next(pid for pid, (role, _) in node.pids().items() if role == "worker")
        os.kill(worker, signal.SIGSTOP)  # nobody works, so whatever comes is backlog
        try:
            seconds_to_send(node, 20, "warm")
            empty = seconds_to_send(node, 120, "before")
            seed(storage, 1500)
            flooded = seconds_to_send(node, 120, "after")
            stat = films.restamped(films.cast()[0].datasets[0], "STAT")
            stat.RequestedProcedurePriority = "STAT"
            assert films.send(node.port, stat) == [0]
            wait_for(lambda: storage.runs.list(study_uid=stat.StudyInstanceUID), 90, "planned")
            page = node.get("/metrics")[1]
        finally:
            os.kill(worker, signal.SIGCONT)
        assert flooded < 2 * empty + 1, (empty, flooded)
        assert float(value(page, 'dictamen_runs{mode="live",state="ready"}')) >= 1500
        assert float(value(page, "dictamen_oldest_ready_seconds")) > 0
        uid = stat.StudyInstanceUID
        first = wait_for(
            lambda: [r for r in storage.runs.list(study_uid=uid) if r.ended_at], 60, ""
        )
        overtaken = storage.runs.counts()[RunState.READY]
        assert overtaken > 1000, "the urgent study came before the backlog"
        assert first[0].urgent


def value(page: str, sample: str) -> str:
    return next(line.split()[-1] for line in page.splitlines() if line.startswith(sample))
