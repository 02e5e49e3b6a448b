"""Measures and calibration against cases whose answer is known."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from processors.explain.subject import scale_of
from processors.training.calibrate import Calibration, Operating, calibrate
from processors.training.card import _per_series, judged
from processors.training.data import ImageSet, Sample
from processors.training.donors import average, grouped
from processors.training.evaluate import Scores, Task, _macro, by_label, other_labels
from processors.training.make import calibrated, telling
from processors.training.measure import (
    area,
    auc,
    auc_gain,
    calibration_error,
    estimate,
    fair_calibration_error,
    share,
)
from processors.training.privacy import harmless
from processors.vae.latent import Row
from processors.vae.processor import RANK, _Answer


def _scored(shift: float, count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return labels, generator.standard_normal(count) + shift * labels


@pytest.mark.parametrize(
    ("shift", "low", "high"),
    [
        pytest.param(0.0, 0.42, 0.58, id="chance"),
        pytest.param(1.35, 0.78, 0.88, id="d' 1.35 is .83"),
        pytest.param(9.0, 0.999, 1.0, id="perfect"),
    ],
)
def test_auc(shift: float, low: float, high: float) -> None:
    labels, scores = _scored(shift)
    found = auc(labels, scores, [str(i) for i in range(len(labels))])
    assert low <= found.value <= high
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("so", "of", "patients", "low", "high"),
    [
        pytest.param(5, 5, 5, 0.478, 1.0, id="all five: no word of five patients is sure"),
        pytest.param(0, 5, 5, 0.0, 0.522, id="none of five"),
        pytest.param(20, 20, 4, 0.398, 1.0, id="twenty films of four patients are four"),
        pytest.param(300, 300, 300, 0.988, 1.0, id="all of many"),
    ],
)
def test_a_share_of_all_or_none_has_an_interval(
    so: int, of: int, patients: int, low: float, high: float
) -> None:
    found = share(np.arange(of) < so, [str(i % patients) for i in range(of)])
    assert (found.low, found.value, found.high) == pytest.approx((low, so / of, high), abs=1e-3)


def test_a_share_between_is_drawn_by_patient() -> None:
    values, names = np.arange(40) % 4 > 0, [str(i // 2) for i in range(40)]
    assert share(values, names) == estimate(lambda i: float(values[i].mean()), names)


def test_a_share_needs_no_classes() -> None:
    """One image has an interval without width; labels of one class would leave no draw."""
    found = estimate(lambda i: float(np.ones(1)[i].mean()), ["P"])
    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_a_rare_answer_does_not_end_the_mean() -> None:
    """Of three images, so many draws hold none."""
    labels = np.arange(60) % 2
    rare = (np.arange(60) < 3).astype(np.int64)
    keep = np.ones(60, bool)
    ours = [Task(n, keep, of, of + 0.0) for n, of in (("often", labels), ("rare", rare))]
    found = _macro(ours, [str(i) for i in range(60)])
    assert found["auc"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_other_labels_are_counted_by_the_questions_of_their_age() -> None:
    """Children with effusion whom the adults' question alone calls present are not called."""
    answer = {"label": "pneumonia", "band": [0.4, 0.6]}
    card = {
        "questions": [
            {"low": 1, "high": 5, "answers": [answer]},
            {"low": 18, "high": 120, "answers": [answer]},
        ]
    }
    ages = [3.0] * 20 + [50.0] * 20
    samples = tuple(
        Sample(f"{i}", "val", f"P{i}", (-1, -1), labels=("effusion",), age=age)
        for i, age in enumerate(ages)
    )
    nothing = np.zeros((40, 1), np.float32)
    images = ImageSet(samples, nothing.astype(np.uint8), nothing, nothing.astype(bool))
    p = np.tile([0.1, 0.9], (40, 1))
    assert other_labels(Scores(images, p, p), card)["effusion"]["value"] == 0.5


@pytest.mark.parametrize(
    ("age", "p", "said"),
    [
        pytest.param(None, (0.70, 0.67), 0.67, id="present before a higher undetermined"),
        pytest.param(None, (0.40, 0.41), 0.40, id="nearer to its own threshold"),
        pytest.param(None, (0.90, 0.80), 0.90, id="both present: further above"),
        pytest.param(None, (0.00001, 0.2), 0.2, id="both absent"),
        pytest.param(3.0, (0.70, 0.67), 0.70, id="a child: the children's alone"),
        pytest.param(12.0, (0.70, 0.67), 0.67, id="between: as without an age"),
    ],
)
def test_a_label_of_several_questions_gets_the_node_s_probability(
    age: float | None, p: tuple[float, float], said: float
) -> None:
    points = ({"band": [0.28, 0.72], "threshold": 0.4}, {"band": [0.41, 0.66], "threshold": 0.54})
    card = {
        "questions": [
            {"low": low, "high": high, "answers": [{"label": "pneumonia", **point}]}
            for (low, high), point in zip(((1, 5), (18, 120)), points, strict=True)
        ]
    }
    nothing = np.zeros((1, 1), np.float32)
    sample = Sample("a", "val", "P", (-1, -1), age=age)
    images = ImageSet((sample,), nothing.astype(np.uint8), nothing, nothing.astype(bool))
    found = by_label(Scores(images, np.zeros((1, 2)), np.array([p])), card)
    assert found["pneumonia"].tolist() == [said]
    if age is None:
        row = cast(Row, None)
        ours = [_Answer(0, 0, row, scale_of(a), q, None) for a, q in zip(points, p, strict=True)]
        gravest = max(ours, key=lambda answer: (RANK[answer.state], answer.excess))
        assert gravest.probability == said


def test_interval_widens_when_films_share_patients() -> None:
    labels, scores = _scored(1.0)
    alone = auc(labels, scores, [str(i) for i in range(400)])
    crowd = auc(np.repeat(labels[:50], 8), np.repeat(scores[:50], 8), np.repeat(np.arange(50), 8))
    assert crowd.high - crowd.low > 1.5 * (alone.high - alone.low)


def test_gain_of_a_score_over_itself_is_nothing() -> None:
    labels, scores = _scored(1.0)
    gain = auc_gain(labels, scores, scores, [str(i) for i in range(400)])
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("count", "least", "most"),
    [pytest.param(100, 0.06, 0.14, id="few"), pytest.param(20000, 0.0, 0.01, id="many")],
)
def test_even_a_perfect_model_shows_an_error_on_few_films(
    count: int, least: float, most: float
) -> None:
    found = fair_calibration_error(np.random.default_rng(0).random(count))
    assert least <= found.value <= most
    assert found.low < found.value < found.high


def test_calibration_error() -> None:
    labels = np.array([0, 1] * 50)
    assert calibration_error(labels, np.full(100, 0.5), bins=1) == pytest.approx(0)
    assert calibration_error(labels, np.full(100, 0.9), bins=1) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("ill", "well", "patients", "is_red"),
    [
        pytest.param(3, 3, 6, True, id="six that are told apart"),
        pytest.param(14, 200, 200, True, id="few ill"),
        pytest.param(200, 14, 200, True, id="few well"),
        pytest.param(200, 200, 1, True, id="all under one name: no draw differs from another"),
        pytest.param(15, 15, 15, False, id="enough"),
    ],
)
@pytest.mark.parametrize("goal", [None, 0.9])
def test_an_answer_measured_on_few_images_is_red(
    ill: int, well: int, patients: int, is_red: bool, goal: float | None
) -> None:
    spoken = {"en": "pneumonia", "es": "neumonía"}
    perfect = {"value": 1.0, "low": 1.0, "high": 1.0}
    figures = {"auc": perfect, "trivial": perfect, "gain": perfect}
    found = {"n": ill + well, "positive": ill, "patients": patients, **figures}
    card = {
        "labels": [{"label": "pneumonia", "name": spoken}],
        "limits": {"goals": {"children/pneumonia": goal}} if goal else {},
        "questions": [{"name": "children", "words": spoken, "answers": [{"label": "pneumonia"}]}],
    }
    told = judged(card, {"answers": {"children/pneumonia": found}})["questions"][0]["answers"][0]
    assert told["red"] is is_red
    assert bool(told["note"]) is is_red
    if is_red:
        assert f"too few images or patients ({ill} images with" in told["note"]["en"]


def test_calibrate_mends_overconfidence() -> None:
    labels, scores = _scored(2.0, 4000)
    margins = 5 * (2 * scores - 2)  # true log-odds are 2 x - 2
    found = calibrate(margins[:, None], 1 - labels, none=True)  # answer 0 is the finding
    assert found.temperature == pytest.approx(5, rel=0.15)
    assert calibration_error(labels, found.probabilities(margins[:, None])[:, 0]) < 0.03
    (point,) = found.operating
    assert point.band[0] < point.threshold < point.band[1]


def test_calibrate_answers_that_exclude_each_other() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(3000) % 3
    totals = 4 * (generator.standard_normal((3000, 3)) + 2 * np.eye(3)[labels])
    found = calibrate(totals, labels, none=False)
    p = found.probabilities(totals)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert max(calibration_error((labels == k).astype(int), p[:, k]) for k in range(3)) < 0.03


def test_a_card_holds_no_end_of_a_band_that_no_answer_reaches() -> None:
    """Tuning images 40 log-odds apart: rounded to 0 and 1, the band would hold every image."""
    labels = np.arange(40) % 2
    totals = np.where(labels == 0, 20.0, -20.0)[:, None]
    found = calibrate(totals, labels, none=True)
    entry = {"name": "children", "answers": [{"label": "pneumonia"}]}
    (answer,) = calibrated(entry, found)["answers"]
    low, high = answer["band"]
    p = found.probabilities(totals)[:, 0]
    assert (p[labels == 0] >= high).all()
    assert (p[labels == 1] < low).all()


def test_a_weak_model_is_undetermined_more_often() -> None:
    shares = []
    for shift in (0.7, 4.0):
        labels, scores = _scored(shift, 2000)
        found = calibrate(scores[:, None], 1 - labels, none=True)
        p, (point,) = found.probabilities(scores[:, None])[:, 0], found.operating
        shares.append(float(((p >= point.band[0]) & (p < point.band[1])).mean()))
    assert shares[0] > 0.2
    assert shares[1] < 0.05


def test_donors_are_of_five_patients_or_more() -> None:
    features = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    patients = [f"P{i // 3}" for i in range(60)]
    groups = grouped(features, patients)
    assert groups
    used = np.concatenate(groups)
    assert len(set(used.tolist())) == len(used)  # no film in two donors
    for group in groups:
        assert len({patients[i] for i in group}) == len(group) >= 5


def test_too_few_patients_give_no_donor() -> None:
    features = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    assert grouped(features, [f"P{i % 4}" for i in range(60)]) == []


def test_average() -> None:
    latents = np.random.default_rng(0).standard_normal((30, 3, 4, 4)).astype(np.float32)
    weight = np.array([[1.0, 0.0, 0.0]], np.float32)
    means, counts = average(latents, [str(i) for i in range(30)], weight)
    assert means.shape == (5, 3, 4, 4)
    assert (counts >= 5).all()
    single = ((means[:, None] - latents[None]) ** 2).mean((2, 3, 4)).min()
    assert single > 0.3  # no donor is one film


def test_findings_in_one_place_are_averaged_together() -> None:
    """The mean of findings in different places has none: averaging must keep the places apart."""
    generator = np.random.default_rng(0)
    latents = 0.1 * generator.standard_normal((60, 3, 4, 4)).astype(np.float32)
    latents[::2, 0, 0, 0] += 8  # every second one has it in the first cell,
    latents[1::2, 0, 3, 3] += 8  # the others in the last
    weight = np.array([[1.0, 0.0, 0.0]], np.float32)
    names = [str(i) for i in range(60)]
    means, _ = average(latents, names, weight, answer=0)
    assert len(means) >= 8
    assert (means[:, 0].max((1, 2)) > 7).all()
    blind, _ = average(latents, names, weight)
    assert (blind[:, 0].max((1, 2)) < 7).any()


class _Said(torch.nn.Module):
    """A network whose images are its latents and whose head reads two answers from one cell."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images

    def cells(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.flatten(2)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        pytest.param(0, [True, False, False, False], id="the first answer's own"),
        pytest.param(1, [False, True, False, False], id="the second's"),
        pytest.param(2, [False, False, False, True], id="none: neither is said"),
    ],
)
def test_a_donor_says_what_it_is_called(target: int, kept: list[bool]) -> None:
    totals = np.array([[6, -6], [-6, 6], [6, 6], [-6, -6]], np.float32)  # of four donors
    band = Operating(0.5, (0.3, 0.7), -1.0)
    found = Calibration(1.0, (0.0, 0.0), True, (band, band))
    latents = totals[:, :, None, None]
    assert telling(_Said(), latents, found, slice(0, 2), target).tolist() == kept
    unclear = np.zeros_like(latents)
    assert telling(_Said(), unclear, found, slice(0, 2), target).all()  # better than no strip
    assert len(telling(_Said(), latents[:0], found, slice(0, 2), target)) == 0


def test_a_copy_is_not_harmless() -> None:
    generator = np.random.default_rng(0)
    films = generator.random((40, 64, 64)).astype(np.float32)
    strangers = generator.random((10, 64, 64)).astype(np.float32)
    asked = np.stack([films[3], 0.9 * films[5] + 0.05, generator.random((64, 64))])
    assert harmless(asked.astype(np.float32), films, strangers).tolist()[:2] == [False, False]


def test_area_equals_scikit_learn_with_ties() -> None:
    labels, scores = _scored(0.8)
    rounded = np.round(scores, 1)
    assert area(labels, rounded) == pytest.approx(roc_auc_score(labels, rounded))


@pytest.mark.parametrize(
    ("organ", "healthy", "said"),
    [
        pytest.param("brain", ["well"], "that is 17 [15, 19] on average", id="slices"),
        pytest.param("brain", [], "", id="nobody said that they are healthy"),
        pytest.param("chest", ["well"], "", id="films come one by one"),
    ],
)
def test_false_alarms_are_told_per_series(organ: str, healthy: list[str], said: str) -> None:
    card = {"gate": {"organ": organ}, "limits": {"healthy": healthy}}
    told = _per_series(card, "well", {"value": 0.857, "low": 0.762, "high": 0.952})
    assert said in told
    assert bool(told) is bool(said)
