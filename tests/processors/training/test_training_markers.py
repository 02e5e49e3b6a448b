"""The planted-marker study, on models and films whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from known_model import SIZE, known_bundle, known_films
from PIL import Image

from processors.training.data import ImageSet, Sample
from processors.training.studies import marker_measure as measure
from processors.training.studies.marker_models import LOT, films_of, model_folder, plan_of
from processors.training.studies.marker_planting import (
    CLEAN,
    EDGE,
    KINDS,
    SEEN,
    TAG,
    Planting,
    carriers,
    confounder,
    drawn_masks,
    planted,
)
from processors.training.studies.markers import Asking, study, verdict
from processors.vae.latent import Array

MAPS = ("exchange", "move", "difference")


def _grey(count: int, value: int, size: int = SIZE) -> ImageSet:
    samples = tuple(Sample(f"{i}.png", "val", f"P{i}", (0,)) for i in range(count))
    inputs = np.full((count, size, size), value, np.uint8)
    return ImageSet(samples, inputs, np.zeros((count, 1), np.float32), inputs > 255)


# --- planting


@pytest.mark.parametrize(
    ("planting", "positives", "negatives"),
    [
        pytest.param(confounder(1.0), 30, 0, id="always"),
        pytest.param(confounder(0.8), 24, 4, id="four in five, and one in five of the others"),
        pytest.param(CLEAN, 0, 0, id="clean"),
    ],
)
def test_the_share_of_each_class_is_exact(
    planting: Planting, positives: int, negatives: int
) -> None:
    positive = np.arange(50) < 30
    chosen = carriers(positive, planting, np.random.default_rng(1))
    assert (chosen[positive].sum(), chosen[~positive].sum()) == (positives, negatives)


def test_a_marker_is_whole_and_lies_anywhere_but_at_the_edge() -> None:
    masks = drawn_masks(_grey(4000, 0), np.random.default_rng(0))
    assert (masks.sum((1, 2)) == 12 * 3 + 3 * 6).all()
    anywhere, inner = masks.any(0), (SIZE - 2 * EDGE) ** 2
    assert anywhere.sum() == anywhere[EDGE:-EDGE, EDGE:-EDGE].sum()
    assert anywhere.sum() == inner - 9 * 6  # no L reaches the corner that lies between its arms


def test_a_marker_lies_where_it_can_be_seen() -> None:
    half = _grey(200, 255)
    half.inputs[:, :, : SIZE // 2] = 60
    masks = drawn_masks(half, np.random.default_rng(0))
    assert (255 - half.inputs[masks]).reshape(200, -1).mean(1).min() >= SEEN * 255
    assert drawn_masks(_grey(1, 255), np.random.default_rng(0)).any()  # nowhere dark: all the same


def test_planting_whitens_the_chosen_and_spares_the_rest() -> None:
    films = known_films()
    before = films.inputs.copy()
    masks = drawn_masks(films, np.random.default_rng(0))
    made = planted(films, masks, np.arange(12) == 3)
    assert (made.inputs[3][masks[3]] == 255).all()
    made.inputs[3][masks[3]] = before[3][masks[3]]
    np.testing.assert_array_equal(made.inputs, before)
    np.testing.assert_array_equal(films.inputs, before)


# --- figures


def _square(value: float, rest: float) -> Array:
    found = np.full((20, 20), rest, np.float32)
    found[4:9, 4:9] = value
    return found


@pytest.mark.parametrize(
    ("found", "share", "points"),
    [
        pytest.param(_square(1, 0), 1.0, True, id="all of it"),
        pytest.param(_square(-1, 0), 1.0, True, id="negative mass counts"),
        pytest.param(_square(1, 1), 25 / 400, False, id="spread evenly: its area"),
        pytest.param(_square(0, 1), 0.0, False, id="everywhere else"),
        pytest.param(_square(0, 0), 0.0, False, id="empty"),
    ],
)
def test_share_and_pointing(found: Array, share: float, points: bool) -> None:
    inside = _square(1, 0) > 0
    assert measure.share_inside(found, inside) == pytest.approx(share)
    if found.min() != found.max() or not found.any():  # an even map has no maximum
        assert measure.points_inside(found, inside) is points


def _trial(turned: float, share: float = 0.7) -> measure.Trial:
    """40 films, half positive; the marker turns this share of the negatives."""
    positive = np.arange(40) < 20
    called = np.where(positive, True, (np.arange(40) - 20) < 20 * turned)
    held = {m: np.where(positive, share, np.nan) for m in MAPS}
    return measure.Trial(0.5, called * 0.9, positive * 0.6, held, held, held)


ASKED = measure.Asked(
    patients=tuple(f"P{i}" for i in range(40)),
    positive=np.arange(40) < 20,
    carriers=np.arange(40) < 20,
    swapped=np.arange(40) >= 20,
    fair=np.full(40, 0.02),
)


@pytest.mark.parametrize(
    ("turned", "control", "decides", "shares"),
    [
        pytest.param([1.0], False, True, True, id="decides"),
        pytest.param([0.5], False, True, True, id="just decides"),
        pytest.param([0.45], False, False, False, id="does not: no share is given"),
        pytest.param([1.0, 0.2], False, False, False, id="one seed of two does not"),
        pytest.param([0.0], True, False, True, id="control: measured all the same"),
    ],
)
def test_no_share_where_the_marker_does_not_decide(
    turned: list[float], control: bool, decides: bool, shares: bool
) -> None:
    found = measure.summary([_trial(t) for t in turned], ASKED, control)
    assert found["decides"] is decides
    assert ("share" in found) is shares
    called = found["negatives_called_positive"]
    assert called["with_marker"]["value"] == pytest.approx(np.mean(turned))
    assert called["without"]["value"] == 0


def test_pooled_is_the_mean_over_films_of_all_seeds() -> None:
    half = _trial(1.0, 0.2)
    half.shares["exchange"][:10] = np.nan  # called negative by this model
    found = measure.summary([_trial(1.0, 0.8), half], ASKED, control=False)
    assert found["explained"] == 30
    assert found["patients"] == 20
    share = found["share"]["exchange"]
    assert share["value"] == pytest.approx((20 * 0.8 + 10 * 0.2) / 30, abs=1e-4)
    assert share["low"] < share["value"] < share["high"]
    assert found["fair_share"]["value"] == pytest.approx(0.02)
    assert found["auc"]["without_marker"]["value"] == 1


@pytest.mark.parametrize(
    ("value", "decides", "floor", "said"),
    [
        pytest.param(0.8, True, 0.8, "passed", id="at the floor"),
        pytest.param(0.79, True, 0.8, "failed", id="below it"),
        pytest.param(0.99, False, 0.8, "not assessed", id="nothing to find"),
        pytest.param(None, True, 0.8, "not assessed", id="nothing called"),
        pytest.param(0.01, False, None, "passed", id="control at the ceiling"),
        pytest.param(0.02, False, None, "failed", id="control above it"),
    ],
)
def test_verdict(value: float | None, decides: bool, floor: float | None, said: str) -> None:
    pooled = {"decides": decides}
    if value is not None:
        pooled |= {"share": {"exchange": {"value": value}}}
    assert verdict(pooled, floor).startswith(said)


# --- a model whose reason is known


@pytest.mark.parametrize(
    ("weight", "bias", "decides", "low", "high"),
    [
        pytest.param((60.0, 0.0), -9.0, True, 0.5, 1.0, id="reads the marker alone"),
        pytest.param((0.0, 30.0), -15.0, False, 0.0, 0.01, id="reads the corner alone"),
    ],
)
def test_a_map_finds_the_reason_of_a_known_model(
    weight: tuple[float, float], bias: float, decides: bool, low: float, high: float
) -> None:
    films = known_films(24)
    masks = np.zeros(films.inputs.shape, bool)
    masks[:, :24, :24] = drawn_masks(_grey(24, 0, 24), np.random.default_rng(2))
    one = measure.trial(known_bundle(weight, bias), films, masks, TAG)
    positive = films.answers(0) == 0
    names = tuple(s.patient for s in films.samples)
    asked = measure.Asked(names, positive, positive, ~positive, masks.mean((1, 2)))
    found = measure.summary([one], asked, control=not decides)
    assert found["decides"] is decides
    assert found["explained"] == 12
    assert low <= found["share"]["exchange"]["value"] <= high
    assert low <= found["share"]["move"]["value"] <= high


# --- the whole way


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    films = known_films(120, 32)
    with (folder / "films.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels"])
        for i, (sample, pixels) in enumerate(zip(films.samples, films.inputs, strict=True)):
            Image.fromarray(pixels).save(folder / sample.path)
            cause = "normal" if i % 10 == 9 else ["bacterial", "viral"][i % 2]
            label = cause if cause == "normal" else f"pneumonia|{cause}"
            writer.writerow([sample.path, "val" if i < 24 else "train", f"P{i}", label])
    return folder / "films.csv"


def test_a_study_says_what_it_did_not_find_and_opens_again_what_it_trained(
    table: Path, tmp_path: Path
) -> None:
    small = {"size": 32, "channels": 4, "widths": {"narrow": 8, "wide": 8}}
    asking = Asking(seeds=[3], kinds=["spot"], shares=[1.0], steps=2, changes=small)
    first = study(table, table.parent, tmp_path, asking)
    arm = first["planted"]["spot"]["100%"]
    assert first["films"] == {"positive": 12, "all": 22}  # a normal film is no answer
    assert arm["marked"] == {"positives": 1.0, "negatives": 0.0}
    assert arm["verdict"] == "not assessed: the marker does not decide"  # after two steps
    assert "share" not in arm["pooled"]
    assert first["clean"]["spot"]["seeds"]["3"]["cpu_s"] > 0
    weights = sorted(tmp_path.rglob("encoder.onnx"))
    assert len(weights) == 2
    times = [file.stat().st_mtime_ns for file in weights]
    assert study(table, table.parent, tmp_path, asking) == first
    assert [file.stat().st_mtime_ns for file in weights] == times


def test_answers_by_lot_depend_on_the_patient_and_need_no_clean_model(
    table: Path, tmp_path: Path
) -> None:
    small = {"size": 32, "channels": 4, "widths": {"narrow": 8, "wide": 8}}
    asking = Asking(seeds=[3], kinds=["tag"], shares=[0.8], task=LOT, steps=2, changes=small)
    found = study(table, table.parent, tmp_path, asking)
    assert found["clean"] == {}
    assert found["films"]["all"] == 22
    films = films_of(table, table.parent, plan_of(3, 2, small, LOT), "train")
    truth = films_of(table, table.parent, plan_of(3, 2, small), "train")
    drawn, known = films.answers(0), truth.answers(0)
    assert 0.3 < drawn.mean() < 0.7
    assert 0.3 < (drawn == known).mean() < 0.7


def test_a_marker_that_went_over_is_asked_for() -> None:
    found = measure.summary([_trial(1.0)], ASKED, control=False)["auc"]
    assert found["as_planted"]["value"] == 1.0  # marked positives at .9, bare negatives at 0
    assert found["swapped"]["value"] == 0.0  # bare positives at .6, marked negatives at .9


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_whole_and_can_be_seen(kind: str) -> None:
    films = _grey(20, 128)
    masks = drawn_masks(films, np.random.default_rng(0), kind)
    assert (masks.sum((1, 2)) == KINDS[kind].stamp.sum()).all()
    made = planted(films, masks, np.ones(20, bool), kind)
    assert (made.inputs[masks] == KINDS[kind].grey).all()
    assert (made.inputs[~masks] == 128).all()


@pytest.mark.parametrize(
    ("seed", "steps", "planting"),
    [
        pytest.param(1, 2, CLEAN, id="seed"),
        pytest.param(0, 3, CLEAN, id="recipe"),
        pytest.param(0, 2, confounder(0.8), id="planting"),
        pytest.param(0, 2, Planting(0, 0.2), id="planting of the negatives alone"),
        pytest.param(0, 2, Planting(0, 0, "spot"), id="kind of marker"),
    ],
)
def test_another_model_lies_in_another_folder(seed: int, steps: int, planting: Planting) -> None:
    one = model_folder(Path("work"), plan_of(0, 2), CLEAN)
    assert model_folder(Path("work"), plan_of(seed, steps), planting) != one
