"""SIGKILL to every part of the node while twenty studies go through it.

Twenty sets of results, none twice, none lost; the audit chain whole; the books closed. On SQLite
and PostgreSQL, with peers that answer and with peers that are down for the first half.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from system import films
from system.node import wait_for
from system.trial import Bench

from storage import DeliveryState, RunState

STUDIES = 20
pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    # pynetdicom leaves the socket of a refused connection to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Sender(threading.Thread):
    """A sender that repeats what was not answered with success, as modalities do."""

    def __init__(self, send: Callable[[Dataset], bool], datasets: list[Dataset]) -> None:
        super().__init__(daemon=True)
        self.send, self.datasets, self.sent = send, datasets, 0

    def run(self) -> None:
        for dataset in self.datasets:
            while not self.send(dataset):
                time.sleep(0.3)
            self.sent += 1


def by_orthanc(bench: Bench) -> Callable[[Dataset], bool]:
    def send(dataset: Dataset) -> bool:
        try:
            bench.pacs.push(str(dataset.StudyInstanceUID))
        except (OSError, AssertionError):
            return False
        return True

    return send


def by_modality(bench: Bench) -> Callable[[Dataset], bool]:
    return lambda dataset: films.send(bench.node.port, dataset) == [0]


def ended(bench: Bench) -> int:
    with bench.node.storage() as storage:
        return storage.runs.counts().get(RunState.COMPLETED, 0)


def kill_in_turn(bench: Bench, sender: Sender) -> None:
    """Worker in a run, intake while studies arrive, courier while it sends, then everything."""
    node = bench.node
    with node.storage() as storage:
        wait_for(storage.runs.running, 30, "a run")
        node.kill("worker")
        wait_for(lambda: sender.sent >= 4, 30, "the sender goes on")
        node.kill("intake")
        wait_for(lambda: sum(storage.outbox.counts().values()) >= 8, 60, "results to send")
        node.kill("courier")
        wait_for(storage.runs.running, 30, "a run")
    node.kill_all()
    time.sleep(0.5)
    node.start()


def check_nothing_lost(bench: Bench, sent: list[Dataset]) -> None:
    node, studies = bench.node, {str(d.StudyInstanceUID) for d in sent}
    books = node.books()
    assert (books.received, books.columns.get("completed")) == (STUDIES, STUDIES), books
    assert books.difference == 0
    in_pacs = bench.pacs.results()
    with node.storage() as storage:
        runs = storage.runs.list(limit=1000)
        assert Counter(run.study_uid for run in runs) == dict.fromkeys(studies, 1)
        reports = {run.study_uid: storage.runs.reports(run.id) for run in runs}
        states = {state for (_, state), number in storage.outbox.counts().items() if number}
    assert states == {DeliveryState.DELIVERED}
    for study in studies:
        wanted = sorted(r.uid for r in reports[study] if r.kind != "hl7_oru")
        assert wanted
        assert sorted(held.uid for held in in_pacs[study]) == wanted
    by_control: dict[str, set[bytes]] = {}
    for control, message in zip(bench.ris.controls(), bench.ris.messages, strict=True):
        by_control.setdefault(control, set()).add(message)
    ours = {r.uid for found in reports.values() for r in found if r.kind == "hl7_oru"}
    assert set(by_control) == ours
    assert len(ours) == STUDIES
    assert all(len(messages) == 1 for messages in by_control.values())
    node.cli("audit", "verify")
    node.cli("books")


def test_kill_nine_with_peers_up(tmp_path: Path, database: str) -> None:
    sent = films.films(STUDIES)
    with Bench(tmp_path, database=database) as bench:
        bench.pacs.upload(sent)
        sender = Sender(by_orthanc(bench), sent)
        sender.start()
        kill_in_turn(bench, sender)
        bench.node.until_done(STUDIES, 90)
        check_nothing_lost(bench, sent)


def test_kill_nine_with_peers_down_for_the_first_half(tmp_path: Path, database: str) -> None:
    sent = films.films(STUDIES)
    with Bench(tmp_path, database=database) as bench:
        bench.pacs.down()
        bench.ris.down()
        sender = Sender(by_modality(bench), sent)
        sender.start()
        kill_in_turn(bench, sender)
        wait_for(lambda: ended(bench) >= STUDIES // 2, 60, "half of the runs")
        bench.pacs.up()
        bench.ris.up()
        bench.node.until_done(STUDIES, 90)
        check_nothing_lost(bench, sent)
