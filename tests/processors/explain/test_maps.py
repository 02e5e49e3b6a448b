"""Maps without frames: what is asked of each, what withholds one, and that it says how it was made.

Each check stands against a map that must pass it and one that must not.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_bundle import SIZE, Planted, planted

from processors.analysis import Check
from processors.explain import METHODS, faithfulness, gradcam, lime, shap
from processors.explain.compare import maps
from processors.explain.maps import Drawn, explained, superpixels, told
from processors.runtime import Bundle, WeightsCorrupt, open_bundle
from processors.training.bundle import write_checksums
from processors.vae.bundle_network import margin_network
from processors.vae.latent import margin

MAPS = [name for name in METHODS if name != "traversal"]
EVERY = ["deletion_area", "insertion_area", "map_stability"]
GRID = SIZE // 8


@pytest.fixture(scope="module")
def film(planted_bundle: Bundle) -> Planted:
    """Its patch lies in the first eighth of no random order that is tried for long."""
    return planted(planted_bundle, 1)


def _spot(one: Planted) -> np.ndarray:
    return one.bright.astype(np.float32)


def _failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def _mess(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((SIZE, SIZE), np.float32)


def test_a_map_of_the_cause_passes(film: Planted) -> None:
    checks = faithfulness.of_map(film.subject, _spot(film), [_spot(film)])
    assert [check.name for check in checks] == EVERY  # the card names no organ
    assert _failed(checks) == []


@pytest.mark.parametrize(
    ("turn", "failed"),
    [
        pytest.param(lambda spot: 1 - spot, EVERY[:2], id="upside down"),
        pytest.param(lambda spot: np.roll(spot, SIZE // 2, 0), EVERY[:2], id="somewhere else"),
    ],
)
def test_a_map_of_anything_else_does_not(film: Planted, turn, failed: list[str]) -> None:
    wrong = turn(_spot(film)).astype(np.float32)
    assert _failed(faithfulness.of_map(film.subject, wrong, [wrong])) == failed


@pytest.mark.parametrize(
    ("other", "passed"),
    [
        pytest.param(lambda spot: 3 * spot, True, id="the same, stronger"),
        pytest.param(lambda spot: spot + 0.05 * _mess(0), True, id="with faint noise elsewhere"),
        pytest.param(lambda spot: _mess(0), False, id="another map"),
        pytest.param(lambda spot: 0 * spot, False, id="an empty map"),
    ],
)
def test_a_map_must_not_hang_on_its_settings(film: Planted, other, passed: bool) -> None:
    spot = _spot(film)
    assert faithfulness.stability(spot, [spot, other(spot)], GRID).passed is passed


@pytest.mark.parametrize(
    ("rows", "passed"),
    [
        pytest.param(slice(0, SIZE // 2), True, id="in the organ"),
        pytest.param(slice(SIZE // 2, SIZE), False, id="beside it"),
    ],
)
def test_a_map_must_lie_in_the_organ(
    film: Planted, rows: slice, passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    organ = np.zeros((SIZE, SIZE), bool)
    organ[: SIZE // 2] = True
    monkeypatch.setattr(faithfulness, "organ_of", lambda film, field: organ)
    found = np.full((SIZE, SIZE), -1, np.float32)  # what speaks against it is not asked
    found[rows] = 1
    (check,) = faithfulness.of_map(film.subject, found, [found])[3:]
    assert (check.name, check.passed) == ("map_in_organ", passed)


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_every_failure_has_words_of_its_own(film: Planted, language: str) -> None:
    wrong = 1 - _spot(film)
    checks = (
        *faithfulness.of_map(film.subject, wrong, [_mess(0)]),
        Check("map_in_organ", 0, 1),
        faithfulness.surrogate(0),
        faithfulness.agreement(0, 5),
    )
    words = faithfulness.failure(checks, language).split("; ")
    assert len(words) == len(set(words)) == len(checks) == 6


@pytest.mark.parametrize("language", ["es", "en"])
@pytest.mark.parametrize("method", MAPS)
def test_a_map_is_shown_with_its_checks_and_how_it_was_made(
    method: str, language: str, film: Planted
) -> None:
    found = METHODS[method].explain(film.subject, language)
    assert (found.method, found.frames, found.shown, found.reason) == (method, (), True, "")
    assert found.difference is not None
    assert found.difference.shape == film.subject.film.picture.shape
    names = [check.name for check in found.faithfulness]
    own = {"gradcam": ["network_agreement"], "lime": ["surrogate_fit"]}
    assert names == [*own.get(method, []), *EVERY]
    assert {"es": "Estabilidad", "en": "Stability"}[language] in found.how
    assert "{" not in found.how


def test_lime_says_its_kernel_samples_parts_and_fit(film: Planted) -> None:
    fitted, said = lime.fit(film.subject), lime.explain(film.subject, "en").how
    assert f"{fitted.parts} superpixels (SLIC), mean grey or not, 1000 samples" in said
    assert f"kernel width 0.25, local R² {round(fitted.squared, 2):g}." in said


def test_numbers_are_written_as_the_language_writes_them() -> None:
    said = told({"es": "ancho {w}, {n}", "en": "width {w}, {n}"}, w=0.25, n=1000)
    assert said == {"es": "ancho 0,25, 1000", "en": "width 0.25, 1000"}


def test_a_withheld_map_says_why(film: Planted) -> None:
    wrong = 1 - _spot(film)
    drawn = Drawn("gradcam", wrong, [wrong], {"en": "how"})
    found = explained(film.subject, drawn, "es")
    assert not found.shown
    assert "al azar" in found.reason
    empty = explained(film.subject, replace(drawn, found=0 * wrong, others=[0 * wrong]), "en")
    assert (empty.shown, empty.reason) == (False, "the map points nowhere")


def test_without_averages_shap_shows_nothing(film: Planted) -> None:
    bare = replace(film.subject, donors=film.subject.donors[:0])
    found = shap.explain(bare, "es")
    assert not found.shown
    assert "promedios" in found.reason
    assert not maps(bare, ["shap", "traversal"])["shap"].any()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_film_has_the_same_map(method: str, film: Planted) -> None:
    np.random.seed(5)
    first = maps(film.subject, [method])[method]
    np.random.seed(6)
    wanted = np.random.get_state()[1].copy()
    again = maps(film.subject, [method])[method]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.random.get_state()[1], wanted)
    assert first.shape == (SIZE, SIZE)
    assert first.dtype == np.float32


def test_shap_shares_out_the_whole_answer(film: Planted) -> None:
    """Shapley's efficiency: what the background gets and all shares give the film's own answer."""
    subject = film.subject
    parts = superpixels(subject.film.network, shap.SUPERPIXELS)
    first = np.unique(parts, return_index=True)[1]
    shared = shap.map_of(subject).ravel()[first].sum()
    hidden = subject.margins(shap.background(subject)).mean()
    assert hidden + shared == pytest.approx(margin(subject.film.latent, subject.row), abs=1e-3)


@pytest.mark.parametrize("answer", [0, 1])
def test_the_network_with_gradients_gives_the_answer_that_judges(
    answer: int, planted_bundle: Bundle, tiny_folder: Path, film: Planted
) -> None:
    """Of two answers that exclude each other, and of a head with a silent edge."""
    tiny = open_bundle(str(tiny_folder), "cpu")
    small = np.random.default_rng(0).random((32, 32), np.float32)
    cases = [
        (planted_bundle, planted_bundle.row(0, answer), film.subject.film.network),
        (tiny, tiny.row(answer, 0), small),
    ]
    for bundle, row, image in cases:
        wanted = margin(bundle.encode(image[None])[0], row)
        with torch.no_grad():
            found = margin_network(bundle, row)(torch.from_numpy(image)[None, None])
        assert float(found) == pytest.approx(wanted, abs=1e-3)


def test_grad_cam_refuses_weights_that_changed_since(
    planted_folder: Path, tmp_path: Path, film: Planted
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(planted_folder, folder)
    bundle = open_bundle(str(folder), "cpu")
    donors = folder / "models" / "donors.npz"
    donors.write_bytes(donors.read_bytes() + b"\0")
    write_checksums(folder)
    with pytest.raises(WeightsCorrupt, match="changed"):
        gradcam.map_of(replace(film.subject, bundle=bundle))


def test_naming_the_methods_loads_none_of_their_packages() -> None:
    heavy = ("torch", "monai", "lime", "shap", "sklearn", "pandas", "matplotlib", "numba")
    question = f"import sys, processors.explain; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
