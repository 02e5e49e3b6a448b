"""Other people's models in a running node: a CT series gets its SEG, and a model that never comes
back is ended from outside and harms nobody.

The series is a phantom with a bright ball, pushed by Orthanc; the bundles are those of the tests.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import foreign_bundles as foreign
import highdicom as hd
import numpy as np
import pytest
from system import films
from system.node import ROOT, wait_for
from system.test_system_studies import tool
from system.trial import Bench

from storage import RunState

pytestmark = [
    pytest.mark.shared,
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
SHOTS = ROOT / "var" / "shots-seg"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SETTLE = {"quiet": "2s", "longest": "30s"}


@pytest.fixture(scope="module")
def bench(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    models = tmp_path_factory.mktemp("models")
    foreign.segmenter(models / "ball", 3)
    foreign.onnx_classifier(foreign.classifier(models / "endless"), endless=True)
    bench = Bench(tmp_path_factory.mktemp("foreign"))
    common = {"kind": "monai_bundle", "settle": SETTLE, "send_to": ["pacs", "ris"]}
    bench.node.settings["processors"] = [
        {"name": "ball", "bundle": str(models / "ball"), "when": {"Modality": "CT"}, **common},
        {
            "name": "endless",
            "bundle": str(models / "endless"),
            "when": {"Modality": "CR"},
            **common,
        },
    ]
    bench.node.write(workers={"timeout": "12s", "max_attempts": 2})
    with bench:
        bench.pacs.upload(foreign.ct_series())
        bench.pacs.upload([foreign.film(StudyInstanceUID=films.uid("endless"))])
        bench.pacs.push()
        with bench.node.storage() as storage:
            wait_for(lambda: sum(r.ended_at is not None for r in storage.runs.list()) == 2, 150,
                     "both runs ended")  # fmt: skip
            wait_for(lambda: not storage.outbox.oldest_waiting(), 60, "all sent")
        yield bench


def test_the_series_comes_back_with_its_segmentation(bench: Bench, tmp_path: Path) -> None:
    (held,) = [h for h in bench.pacs.results()[foreign.uid("study")] if h.sop_class == SEG]
    file = tmp_path / "seg.dcm"
    bench.pacs.dataset(held).save_as(file)
    segmentation = hd.seg.segread(file)
    assert segmentation.FrameOfReferenceUID == foreign.uid("frame")
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == foreign.uid("ct")
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "27925004"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("ball3d", "0.1.0")
    slices = [foreign.uid("ct", k) for k in range(foreign.CT_SHAPE[0])]
    drawn = segmentation.get_pixels_by_source_instance(
        source_sop_instance_uids=slices, ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )[..., 0].astype(bool)  # fmt: skip
    truth = foreign.ball_in_ct()
    assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.9
    assert np.abs(np.argwhere(drawn).mean(0) - foreign.BALL_AT).max() < 2


def test_a_model_that_never_comes_back_is_ended_and_set_aside(bench: Bench) -> None:
    with bench.node.storage() as storage:
        runs = {run.processor: run for run in storage.runs.list()}
    assert runs["ball"].state is RunState.COMPLETED
    assert runs["endless"].state is RunState.SET_ASIDE
    assert "took longer than 12 s" in runs["endless"].reason
    assert films.uid("endless") not in bench.pacs.results()
    assert bench.node.books().difference == 0


def test_the_checkers_find_no_error(bench: Bench, shared: Path, tmp_path: Path) -> None:
    report = tmp_path / "checked.json"
    text = tool(
        shared / "tools/check_outputs.py", "--orthanc", bench.pacs.base, "--json", report,
        check=False,
    )  # fmt: skip
    assert json.loads(report.read_text())["errors"] == 0, text[-6000:]


@pytest.mark.timeout(900)
def test_a_viewer_draws_the_segmentation(bench: Bench, shared: Path, tmp_path: Path) -> None:
    """OHIF over what the PACS holds of the series; the pictures stay in var/ for people."""
    for needed in ("chromium", "npm"):
        if not shutil.which(needed):
            assert not os.environ.get("DICTAMEN_SYSTEM"), f"{needed} is not installed"
            pytest.skip(f"{needed} is not installed")
    for held in bench.pacs.held():
        if held.study == foreign.uid("study"):
            bench.pacs.dataset(held).save_as(tmp_path / f"{held.orthanc_id}.dcm")
    shutil.rmtree(SHOTS, ignore_errors=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dictamen-ohif"
    shoot = shared / "tools" / "shoot.py"
    tool(shoot, "--cache", cache, "--fresh", tmp_path, "--out", SHOTS)
    assert list(SHOTS.glob("*SEG*.png"))
