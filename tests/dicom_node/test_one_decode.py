"""A detector's film: decoded once for gate, model and pictures; outlined in its own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from system import films

from dicom_node import pipeline
from processors import Analysis
from processors.analysis import Pixels
from processors.runtime import open_bundle
from processors.vae.normalise import ENOUGH
from processors.vae.processor import VaeBundleProcessor
from reports.model import Options


def _film(folder: Path, times: int) -> Dataset:
    """A film with each pixel so many times, and its file in the folder."""
    film = films.ill("DECODE")
    drawn = film.pixel_array.repeat(times, 0).repeat(times, 1)
    film.Rows, film.Columns = drawn.shape
    film.PixelData = drawn.tobytes()
    film.save_as(folder / f"{times}.dcm", enforce_file_format=True)
    return film


def _judged(film: Dataset, file: Path) -> tuple[Analysis, tuple[str, ...]]:
    processor = VaeBundleProcessor("chest", open_bundle("chest", "cpu"), "en")
    kinds = ("secondary_capture", "text_report")
    study = pipeline.load(str(film.StudyInstanceUID), {str(film.SOPInstanceUID): file})
    judged = pipeline.judge(processor, study, Options("en"), lambda _: kinds)
    return judged.analysis, tuple(report.kind for report in judged.reports)


def _corners(analysis: Analysis) -> np.ndarray:
    points = [p for f in analysis.findings for region in f.regions for p in region.points]
    return np.array([np.min(points, 0), np.max(points, 0)])


def test_a_long_film_is_decoded_once_and_outlined_in_its_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    render = pipeline.render

    def counted(dataset: Dataset, frame: int = 1) -> Pixels:
        decoded.append(frame)
        return render(dataset, frame)

    monkeypatch.setattr(pipeline, "render", counted)
    film = _film(tmp_path, 1)
    times = 1 + 2 * ENOUGH // max(film.Rows, film.Columns)
    plain, kinds = _judged(film, tmp_path / "1.dcm")
    large, same = _judged(_film(tmp_path, times), tmp_path / f"{times}.dcm")
    assert len(decoded) == 2
    assert {"overlay", "strip"} <= set(kinds)
    assert same == kinds
    np.testing.assert_allclose(_corners(large), _corners(plain) * times, atol=2 * times)
    for one, other in zip(large.findings, plain.findings, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=0.02)
