"""Workers, courier and the whole node are killed, stopped or frozen while runs go on.

The real node with the real model; what it sends lands in a folder, so that nothing leaves twice
unseen.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from system import films
from system.node import NodeUnderTest, wait_for
from system.trial import Bench

from storage import Run, RunState, Storage

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(180)]
# what the database does of it is under test on both, beside the storage
ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"])
StartNode = Callable[..., NodeUnderTest]


@pytest.fixture
def start_node(tmp_path: Path, database: str) -> Iterator[StartNode]:
    """Starts a node that sends its results to the folder `out`; stops it afterwards."""
    started: list[NodeUnderTest] = []

    def start(**workers: Any) -> NodeUnderTest:
        disk = {"disk": {"kind": "folder", "path": str(tmp_path / "out")}}
        node = NodeUnderTest(
            tmp_path, database=database, changes={"destinations": disk, "workers": workers}
        )
        node.settings["processors"][0]["send_to"] = ["disk"]
        node.write()
        node.start()
        started.append(node)
        return node

    yield start
    for node in started:
        node.stop()


def run_of(storage: Storage, study_uid: str) -> Run | None:
    return next(iter(storage.runs.list(study_uid=study_uid)), None)


def running(storage: Storage, study_uid: str) -> Run | None:
    return next((run for run in storage.runs.running() if run.study_uid == study_uid), None)


def pid(run: Run) -> int:
    """The process that has the run: owner is host:pid or host:pid:more."""
    return int(run.owner.split(":")[1])


def sent_files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "out").rglob("*") if p.is_file())


def check_one_result_each(node: NodeUnderTest, storage: Storage) -> None:
    """Every run ended once, and exactly its reports lie in the folder."""
    runs = storage.runs.list(limit=1000)
    reports = [report for run in runs for report in storage.runs.reports(run.id)]
    assert len(sent_files(node.folder)) == len(reports) > 0
    keys = [(r.run_id, r.kind, r.index) for r in reports]
    assert len(keys) == len(set(keys))
    assert storage.audit.verify() == ()


def test_worker_killed_in_a_run(start_node: StartNode) -> None:
    node, film = start_node(), films.films(1, "W")[0]
    assert films.send(node.port, film) == [0]
    with node.storage() as storage:
        run = wait_for(lambda: running(storage, film.StudyInstanceUID), 30, "the run")
        os.kill(pid(run), signal.SIGKILL)
        books = node.until_done(1, 60)
        assert books.columns["completed"] == 1
        ended = run_of(storage, film.StudyInstanceUID)
        assert ended is not None
        assert ended.attempt == 2
        check_one_result_each(node, storage)


@ONE_DATABASE
def test_poison_job_is_set_aside_and_the_queue_moves_on(start_node: StartNode) -> None:
    node = start_node(max_attempts=3)
    poison, *good = films.films(3, "P")
    uid, over = str(poison.StudyInstanceUID), threading.Event()

    def kill_whoever_has_it() -> None:
        with node.storage() as storage:
            while not over.wait(0.01):
                if found := running(storage, uid):
                    os.kill(pid(found), signal.SIGKILL)
                    wait_for(lambda: running(storage, uid) is None, 20, "the run is freed")

    killer = threading.Thread(target=kill_whoever_has_it)
    killer.start()
    try:
        assert films.send(node.port, poison, *good) == [0, 0, 0]
        books = node.until_done(3, 120)
    finally:
        over.set()
        killer.join()
    assert (books.columns["set_aside"], books.columns["completed"]) == (1, 2)
    with node.storage() as storage:
        run = run_of(storage, uid)
        assert run is not None
        assert (run.state, run.attempt) == (RunState.SET_ASIDE, 3)
        assert "signal 9" in run.reason
        assert storage.runs.reports(run.id) == ()
    told = node.cli("explain", uid).stdout
    assert "3" in told
    node.cli("runs", "retry", str(run.id))  # a person decides; nobody kills it now
    assert node.until_done(3, 60).columns["completed"] == 3


@ONE_DATABASE
def test_lease_lost_by_a_frozen_worker(start_node: StartNode) -> None:
    node, film = start_node(processes=2, lease="2s"), films.films(1, "L")[0]
    assert films.send(node.port, film) == [0]
    with node.storage() as storage:
        first = wait_for(lambda: running(storage, film.StudyInstanceUID), 30, "the run")
        os.kill(pid(first), signal.SIGSTOP)
        try:
            node.until_done(1, 60)
            before = sent_files(node.folder)
        finally:
            os.kill(pid(first), signal.SIGCONT)
        wait_for(lambda: node.events("run.lease_lost"), 30, "the late worker is refused")
        time.sleep(1.0)
        ended = run_of(storage, film.StudyInstanceUID)
        assert ended is not None
        assert ended.attempt >= 2
        assert ended.state is RunState.COMPLETED
        assert sent_files(node.folder) == before
        check_one_result_each(node, storage)


@ONE_DATABASE
def test_stop_signal_while_runs_go_on(start_node: StartNode) -> None:
    node, sent = start_node(), films.films(4, "S")
    assert films.send(node.port, *sent) == [0] * 4
    with node.storage() as storage:
        wait_for(storage.runs.running, 30, "a run")
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 17
        assert storage.runs.running() == ()
        counts = storage.runs.counts()
        assert counts[RunState.COMPLETED] < 4
        waiting = [r for r in storage.runs.list() if r.state is RunState.READY]
        assert {run.tries for run in waiting} <= {0}
        assert storage.audit.list(limit=10_000)[-1].entry.kind == "110121"
        node.start()
        assert node.until_done(4, 90).columns["completed"] == 4
        check_one_result_each(node, storage)


def test_outbox_crash_between_built_and_sent(tmp_path: Path, database: str) -> None:
    film = films.films(1, "O")[0]
    with Bench(tmp_path, database=database) as bench:
        bench.pacs.down()
        bench.ris.down()
        assert films.send(bench.node.port, film) == [0]
        bench.node.until_done(1, 60, sent=False)
        with bench.node.storage() as storage:
            run = run_of(storage, film.StudyInstanceUID)
            assert run is not None
            built = {report.uid: report.sha256 for report in storage.runs.reports(run.id)}
            assert built
            bench.node.kill_all()
            bench.pacs.up()
            bench.ris.up()
            bench.node.start()
            bench.node.until_done(1, 60)
            assert {r.uid: r.sha256 for r in storage.runs.reports(run.id)} == built
        in_pacs = {held.uid for held in bench.pacs.results()[str(film.StudyInstanceUID)]}
        assert in_pacs | set(bench.ris.controls()) == set(built)
        assert len(in_pacs) + 1 == len(built)
