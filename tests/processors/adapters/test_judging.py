"""What a result says of somebody else's findings: their names, and that an organ is none."""

from __future__ import annotations

import json
from collections.abc import Sequence

import foreign_bundles as foreign
import pytest

from processors.adapters import card
from processors.adapters.judging import Answer, SiteProcessor, finding_of
from processors.analysis import Study
from processors.summarised import Summarised

LABELS = [
    {"label": "tension_pneumothorax", "channel": 0,
     "name": {"en": "tension pneumothorax", "es": "neumotórax a tensión"}},
    {"label": "liver", "channel": 1, "name": {"en": "liver", "es": "hígado"}, "anatomy": True},
    {"label": "device", "channel": 2, "urgent": False,
     "name": {"en": "support devices", "es": "dispositivos"}},
]  # fmt: skip


class Everything:
    """A model that is sure of each label on the first image."""

    def __init__(self, labels: Sequence[card.Label]) -> None:
        self.labels = labels

    def unfit(self, study: Study, accepted: Sequence[str]) -> None:
        return None

    def answer(self, study: Study, accepted: Sequence[str]) -> Answer:
        return Answer(tuple(finding_of(label, accepted[0], 0.9) for label in self.labels))


@pytest.fixture(name="processor")
def processor_fixture() -> SiteProcessor:
    block = {
        "kind": "http_endpoint", "labels": LABELS, "calibrated": True,
        "gate": foreign.FILM_GATE,
        "research": {"en": "A model for a test.", "es": "Un modelo para una prueba."},
    }  # fmt: skip
    text = json.dumps({"name": "all", "version": "1.0.0", "dictamen": block}).encode()
    read = card.read({card.METADATA: text}, "all", "http_endpoint")
    return SiteProcessor("all", read, Everything(read.block.labels), "", "es")


def test_an_organ_is_no_finding(processor: SiteProcessor) -> None:
    analysis = processor.analyse(foreign.study(foreign.film()))
    assert [one.anatomy for one in analysis.findings] == [False, True, False]
    assert analysis.impression is not None
    assert "hígado" not in analysis.impression.text
    told = Summarised(processor, "es").analyse(foreign.study(foreign.film()))
    assert "hígado" not in told.patient_summary


def test_the_name_gives_the_urgency_and_the_card_may_take_it(processor: SiteProcessor) -> None:
    draft = processor.analyse(foreign.study(foreign.film())).impression
    assert draft is not None
    assert [(s.findings[0], s.category) for s in draft.sentences[:2]] == [
        ("tension_pneumothorax", 1), ("device", 0),
    ]  # fmt: skip
    assert draft.criticality == "minutes"


def test_the_summary_has_the_card_s_names(processor: SiteProcessor) -> None:
    said = Summarised(processor, "es").analyse(foreign.study(foreign.film())).patient_summary
    assert "Ha visto signos de neumotórax a tensión." in said
