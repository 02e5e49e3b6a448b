"""The page of what a model uses on the whole, on a bundle that is known to use one patch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_bundle import PATCH, SIZE, noise, write_planted
from tiny_bundle import tiny_images

from processors.explain import method
from processors.explain.method import MethodNotInstalled
from processors.runtime import Bundle, open_bundle
from processors.training.data import ImageSet
from processors.training.studies.command import write_shap_summary
from processors.training.studies.shap_summary import LEAST, Summary, page, summaries

SPOT = (slice(40, 40 + PATCH), slice(20, 20 + PATCH))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(str(write_planted(tmp_path_factory.mktemp("bundles") / "planted")), "cpu")


def _films(patients: int) -> ImageSet:
    """Films with a bright patch in the same place, each of another patient."""
    like, generator = tiny_images(patients), np.random.default_rng(0)
    films = np.stack([noise(generator) for _ in range(patients)])
    films[:, *SPOT] = 1.0
    samples = tuple(replace(sample, targets=(0,)) for sample in like.samples)
    places = np.zeros(films.shape, bool)
    return ImageSet(samples, np.rint(films * 255).astype(np.uint8), like.trivial, places)


@pytest.fixture(scope="module")
def found(bundle: Bundle) -> list[Summary]:
    return summaries(bundle, _films(6), 6)


def test_the_mean_map_lies_where_the_cause_is(found: list[Summary]) -> None:
    (one,) = found
    assert (one.name, one.images, one.patients, one.background) == ("patch/bright", 6, 6, 4)
    assert one.strength.shape == (SIZE, SIZE)
    spot = np.zeros((SIZE, SIZE), bool)
    spot[SPOT] = True
    assert one.strength[spot].mean() > 10 * one.strength[~spot].mean()
    assert one.signed[spot].mean() > 0
    assert one.inside is None  # the card names no organ


def test_of_few_patients_nothing_is_drawn(bundle: Bundle) -> None:
    """A mean of few would show them."""
    assert summaries(bundle, _films(LEAST - 1), 6) == []


def test_the_page_names_background_model_and_split(bundle: Bundle, found: list[Summary]) -> None:
    said = page(bundle, "val", found)
    assert said == page(bundle, "val", found)
    for part in (
        "patch/bright",
        "6 images of 6 patients",
        "Background of each: the 4 most similar of the bundle's averages without the finding",
        "never one patient's image",
        "Split: val",
        bundle.algorithm.sha256,
        'src="data:image/png;base64,',
    ):
        assert part in said
    assert "http" not in said  # one file, nothing fetched
    assert "No answer with" in page(bundle, "val", [])


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "find_spec", lambda name: None)
    with pytest.raises(MethodNotInstalled, match="shap"):
        write_shap_summary("chest", [], "val", 5, tmp_path / "page.html")
