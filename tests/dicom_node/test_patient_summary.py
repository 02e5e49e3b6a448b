"""The patient's summary in a node: off unless node.yaml asks for it, then in every document."""

from __future__ import annotations

import pytest
from storage_fixtures import (  # noqa: F401 - the fixtures that `sqlite_node` asks for
    Node,
    ready_file_fixture,
    sqlite_node_fixture,
)
from test_critical import Says, judged
from test_shadow_runs import settings

from config import Settings
from dicom_node import wiring
from processors import Status, Study
from processors.analysis import Analysis
from processors.summarised import Summarised

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def with_summary(asked: bool) -> Settings:
    made = settings("live")
    changed = made.impressions.model_copy(update={"patient_summary": asked})
    return made.model_copy(update={"impressions": changed})


def test_no_plain_words_by_default() -> None:
    assert settings("live").impressions.patient_summary is False


@pytest.mark.parametrize("asked", [False, True])
def test_only_a_site_that_asks_gets_them(asked: bool) -> None:
    made = wiring.judges(with_summary(asked))
    assert isinstance(made.of("chest").processor, Summarised) is asked


@pytest.mark.parametrize("asked", [False, True])
def test_every_document_has_them_or_none(sqlite_node: Node, asked: bool) -> None:
    says = Says("tension_pneumothorax")
    run = judged(sqlite_node.storage, Summarised(says, "es") if asked else says, "live")
    analysis = sqlite_node.storage.runs.analysis(run.id)
    assert analysis is not None
    assert ("neumotórax a tensión" in analysis["patient_summary"]) is asked
    reports = sqlite_node.storage.runs.reports(run.id)
    assert {report.kind for report in reports} == {"text_report", "hl7_oru"}
    for report in reports:
        document = sqlite_node.storage.spool.path(report.path).read_bytes()
        assert (b"PATIENT-SUMMARY" in document) is asked
        assert ("Pregunte a su médico".encode() in document) is asked


def test_a_refusal_has_none() -> None:
    class Refuses(Says):
        def analyse(self, study: Study) -> Analysis:
            return Analysis(study.uid, "chest", self.algorithm, Status.UNSUITABLE, "a lateral view")

    made = Summarised(Refuses("pneumonia"), "es").analyse(Study("1.2", (), lambda *_: None))
    assert made.patient_summary == ""
