"""Figures of agreement by week, reader and finding; the page; the pairs."""

from __future__ import annotations

import csv
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.agreement import figures, page, pairs
from storage import AgreementRecord

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def record(number: int, **changes: Any) -> AgreementRecord:
    said = {
        "edits": 0, "words": 4, "rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0,
        "both": [], "added": [], "removed": [], "contradicted": [],
    }  # fmt: skip
    said |= changes.pop("figures", {})
    values: dict[str, Any] = {
        "run_id": number, "draft_run_id": 1, "study_uid": f"1.2.{number}", "reader": "r1",
        "language": "es", "figures": said, "findings": "Índice normal.", "draft": "Ñ.",
        "impression": f"Neumotórax «{number}».", "received_at": MONDAY,
    }  # fmt: skip
    return AgreementRecord(**{**values, **changes})


def test_nothing_compared_is_said_and_not_averaged() -> None:
    found = figures.summary([])
    assert found.overall is None
    assert "Ningún informe" in page.page(found, "es")


def test_overall_figures() -> None:
    changed = {
        "edits": 2, "rouge1": 0.5, "both": ["edema"], "added": ["fracture"],
        "removed": ["pneumonia"], "contradicted": ["adenopathy"],
    }  # fmt: skip
    one = figures.summary([record(1), record(2, figures=changed)]).overall
    assert one is not None
    assert (one.reports, one.unchanged) == (2, 1)
    assert (one.kept, one.rouge1) == (0.75, 0.75)
    assert one.f1 == pytest.approx(2 * 1 / (2 * 1 + 1 + 1 + 1))


def test_f1_of_reports_that_assert_nothing_is_unknown() -> None:
    one = figures.summary([record(1)]).overall
    assert one is not None
    assert one.f1 is None


def test_weeks_and_readers() -> None:
    rows = [
        record(1),
        record(2, received_at=MONDAY + timedelta(days=6), reader="r2"),
        record(3, received_at=MONDAY + timedelta(days=7), reader=""),
    ]
    found = figures.summary(rows)
    assert [(w.name, w.reports) for w in found.weeks] == [("2026-W10", 2), ("2026-W11", 1)]
    assert [(r.name, r.reports) for r in found.readers] == [("-", 1), ("r1", 1), ("r2", 1)]


def test_a_corrected_final_counts_once() -> None:
    rows = [record(1, figures={"edits": 3}), record(2, study_uid="1.2.1")]
    one = figures.summary(rows).overall
    assert one is not None
    assert (one.reports, one.unchanged) == (1, 1)


def test_findings_by_what_became_of_them() -> None:
    rows = [
        record(1, figures={"both": ["edema"]}),
        record(2, figures={"added": ["edema"], "removed": ["fracture"]}),
    ]
    found = {one.name: one for one in figures.summary(rows).findings}
    edema, fracture = found["edema"], found["fracture"]
    assert (edema.both, edema.added, edema.removed, edema.contradicted) == (1, 1, 0, 0)
    assert fracture.removed == 1


@pytest.mark.parametrize(
    ("language", "words"),
    [("es", ("Borradores", "edema", "0,50")), ("en", ("Drafts", "oedema", "0.50"))],
)
def test_the_page_is_one_file_in_its_language(language: str, words: tuple[str, ...]) -> None:
    few = {"rouge1": 0.5, "both": ["edema"]}
    text = page.page(figures.summary([record(1, reader="<b>", figures=few)]), language)
    assert all(word in text for word in words)
    assert text.count("<svg") == 2
    assert "<b>" not in text
    assert "http" not in text
    assert 'fill="none"' in text  # hollow: rests on one report


def test_every_finding_of_the_labeller_has_a_name() -> None:
    from processors.impressions.lexicon import FINDINGS

    assert set(page._NAMES) == set(FINDINGS)


def test_pairs_for_training(tmp_path: Path) -> None:
    rows = [
        record(1),
        record(2, figures={"edits": 1}),
        record(3, findings=""),  # made from images
        record(4, impression=""),  # retention took it
    ]
    target = tmp_path / "pairs.csv"
    assert pairs.write(rows, target, b"key") == 2
    with target.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [one["impression"] for one in found] == ["Neumotórax «1».", "Neumotórax «2»."]
    assert {one["language"] for one in found} == {"es"}
    assert not any(one["uid"].startswith("1.2") for one in found)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert pairs.write(rows, tmp_path / "changed.csv", b"key", changed_only=True) == 1
    with pytest.raises(FileExistsError):
        pairs.write(rows, target, b"key")
