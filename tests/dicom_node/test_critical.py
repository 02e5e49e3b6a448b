"""A result that somebody must know of within minutes: audited, counted, warned of; told to the RIS.

A processor of ours stands for a model that knows such a finding; the shipped ones know none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from storage_fixtures import (  # noqa: F401  # noqa: F401 - the fixtures that `sqlite_node` asks for
    NOON,
    Node,
    node_fixture,
    ready_file_fixture,
    sqlite_node_fixture,
)
from structlog.testing import capture_logs
from system import films
from test_shadow_runs import received, settings

from dicom_node import clock, metrics, pipeline, wiring
from processors import Algorithm, Analysis, Finding, Processor, State, Status, Study
from processors.impressions.coded import impression
from storage import Run, Storage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
NAMES = {
    "tension_pneumothorax": {"en": "tension pneumothorax", "es": "neumotórax a tensión"},
    "pneumonia": {"en": "pneumonia", "es": "neumonía"},
}
ALGORITHM = Algorithm("says", "1.0.0", "ab" * 32)


@dataclass(frozen=True)
class Says:
    """A processor that says the same of every study."""

    label: str
    state: State = State.PRESENT
    name: str = "chest"
    algorithm: Algorithm = ALGORITHM
    names: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NAMES)

    def accepts(self, study: Study) -> None:
        return None

    def analyse(self, study: Study) -> Analysis:
        found = Finding(self.label, study.instances[0].uid, 0.9, 0.5, self.state, (0.4, 0.6))
        draft = impression([found], NAMES, (), "es")
        return Analysis(
            study.uid, self.name, self.algorithm, Status.COMPLETED, findings=(found,),
            impression=draft,
        )  # fmt: skip


def judged(storage: Storage, says: Processor, mode: str) -> Run:
    """One film received, planned and carried to its end."""
    received(storage, films.ill("critical"))
    clock.settle(storage, settings(mode), NOON)
    run = storage.runs.claim("host:1")
    assert run is not None
    ris = wiring.Receiver("ris", "RIS", "HOSPITAL", "T")
    made = replace(wiring.options(settings(mode), settings(mode).processors[0]), receivers=(ris,))
    made = replace(made, language="es")
    pipeline.run(storage, run, says, made, lambda _: ("text_report", "hl7_oru"), lambda _: ())
    return run


def counted(mode: str) -> float:
    return metrics.CRITICAL.labels("chest", mode)._value.get()


def events(storage: Storage) -> list[Any]:
    return [r.entry for r in storage.audit.list(kinds=["result.critical"])]


@pytest.fixture(name="logged")
def logged_fixture() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.mark.parametrize(
    ("label", "state", "mode", "alarms", "warned"),
    [
        pytest.param("tension_pneumothorax", State.PRESENT, "live", 1, 1, id="category 1"),
        pytest.param("tension_pneumothorax", State.UNDETERMINED, "live", 1, 1, id="possibly"),
        pytest.param("tension_pneumothorax", State.ABSENT, "live", 0, 0, id="denied"),
        pytest.param("pneumonia", State.PRESENT, "live", 0, 0, id="category 2"),
        pytest.param("tension_pneumothorax", State.PRESENT, "shadow", 1, 0, id="in shadow"),
    ],
)
def test_who_hears_of_it(
    sqlite_node: Node,
    logged: list[Any],
    label: str,
    state: State,
    mode: str,
    alarms: int,
    warned: int,
) -> None:
    before = counted(mode)
    run = judged(sqlite_node.storage, Says(label, state), mode)
    assert counted(mode) - before == alarms
    found = events(sqlite_node.storage)
    assert len(found) == alarms
    assert all(entry.study_uid == run.study_uid for entry in found)
    assert "pneumothorax" not in str(found)
    lines = [line for line in logged if line["event"] == "result.critical"]
    assert [line["log_level"] for line in lines] == ["warning"] * warned
    assert "pneumothorax" not in str(lines)
    assert sqlite_node.storage.audit.verify() == ()


def test_the_ris_is_told_without_a_flag(sqlite_node: Node) -> None:
    run = judged(sqlite_node.storage, Says("tension_pneumothorax"), "live")
    (report,) = [r for r in sqlite_node.storage.runs.reports(run.id) if r.kind == "hl7_oru"]
    rows = sqlite_node.storage.spool.path(report.path).read_bytes().decode("utf-8").split("\r")
    (obr,) = [row.split("|") for row in rows if row.startswith("OBR|")]
    assert obr[27] == "^^^^^S"
    assert any("categoría 1, minutos" in row for row in rows if row.startswith("NTE|"))
    assert not any(row.split("|")[8] not in ("", "A", "N") for row in rows if row[:4] == "OBX|")
    analysis = sqlite_node.storage.runs.analysis(run.id)
    assert analysis is not None
    assert analysis["impression"]["criticality"] == "minutes"
    assert analysis["impression"]["sentences"][0]["category"] == 1
