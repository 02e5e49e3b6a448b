"""Studies that train: what is compared with what, and that nothing is trained twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import tiny_images, tiny_network, tiny_plan

from processors.training.studies.folds import FOLDS, fold_of, folds
from processors.training.studies.joint import joint
from processors.training.studies.learning import Answers, Ground, figure, gain
from processors.training.studies.sweep import independence, plot, sweep
from processors.training.studies.transfer import FEWEST, drawn, transfer


@pytest.fixture
def here(tmp_path: Path) -> Ground:
    return Ground(tiny_plan(), tiny_images(48), tiny_images(32, seed=1), tmp_path)


class Told:
    """Counts the steps of each run."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int]] = []

    def __call__(self, name: str, step: int, steps: int) -> None:
        assert step <= steps
        self.steps.append((name, step))


def test_joint_and_alone_see_the_same(here: Ground) -> None:
    first, again = Told(), Told()
    found = joint(here, (0, 1), 2, first)
    assert joint(here, (0, 1), 2, again) == found
    assert again.steps == []  # kept, not trained twice
    assert [name for name, step in first.steps if step == 1] == ["joint", "alone"] * 2
    for name in ("children", "adults"):
        one = found["questions"][name]
        assert len(one["joint"]) == len(one["alone"]) == 2
        assert one["joint_minus_alone"]["low"] <= one["joint_minus_alone"]["high"]


@pytest.mark.parametrize(
    ("share", "expected"),
    [pytest.param(0.01, FEWEST, id="never none"), (0.5, 6), (1.0, 12)],
)
def test_a_share_is_of_each_class(share: float, expected: int) -> None:
    images = tiny_images(48)  # two questions, two answers, twelve patients each
    keep = drawn(images, share, seed=0)
    targets = [s.targets for s, k in zip(images.samples, keep, strict=True) if k]
    assert [targets.count(t) for t in sorted(set(targets))] == [expected] * 4
    if share < 1:
        assert not np.array_equal(keep, drawn(images, share, seed=1))


def test_a_patient_is_drawn_whole() -> None:
    images = tiny_images(48)
    both = [type(s)(**{**{f: getattr(s, f) for f in s.__slots__}, "patient": f"P{i // 8}"})
            for i, s in enumerate(images.samples)]  # fmt: skip
    held = type(images)(tuple(both), images.inputs, images.trivial, images.places)
    keep = drawn(held, 0.5, seed=0)
    for target in {s.targets for s in both}:
        owners = {s.patient: [] for s in both}  # type: dict[str, list[bool]]
        for sample, kept in zip(both, keep, strict=True):
            if sample.targets == target:
                owners[sample.patient].append(bool(kept))
        assert all(len(set(each)) == 1 for each in owners.values())


def test_transfer_compares_pairs(here: Ground) -> None:
    start = tiny_network(seed=3).state_dict()
    found = transfer(here, start, {0.1: (0, 1), 1.0: (0,)}, {0.1: 1, 1.0: 2}, Told())
    assert list(found) == ["10%", "100%"]
    assert found["10%"]["images"] == 4 * FEWEST
    assert found["100%"]["images"] == 48
    for entry, runs in zip(found.values(), (2, 1), strict=True):
        for one in entry["questions"].values():
            assert len(one["started"]) == len(one["from_nothing"]) == runs
            assert {"value", "low", "high"} == set(one["gain"])


def test_sweep_is_figures_and_a_picture(here: Ground, tmp_path: Path) -> None:
    found = sweep(here, (0.001, 0.1), 2, Told())
    assert list(found) == ["0.001", "0.1"]
    for one in found.values():
        assert set(one["auc"]) == {"children", "adults"}
        assert one["kl_nats_per_cell"] > 0
    picture = plot(found, tmp_path / "sweep.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_independence() -> None:
    generator = np.random.default_rng(0)
    free = generator.standard_normal((40, 3, 4, 4)).astype(np.float32)
    silent = np.zeros((40, 1, 4, 4), np.float32)
    active, low = independence(np.concatenate([free, silent], 1))
    assert (active, low < 0.1) == (3, True)
    _, high = independence(np.concatenate([free[:, :1], free[:, :1] * 2], 1))
    assert high == pytest.approx(1)


def test_a_gain_is_paired() -> None:
    """Of runs that order the images alike there is none, however uncertain each AUC."""
    targets = np.tile([0, 1], 20)
    score = np.random.default_rng(0).standard_normal((40, 1))
    names = [str(i) for i in range(40)]
    one, other = (Answers("q", targets, each, names) for each in (score, 2 * score))
    assert gain([one], [other]) == {"value": 0.0, "low": 0.0, "high": 0.0}
    right = Answers("q", targets, (targets == 0).astype(float)[:, None], names)
    assert figure(right)["value"] == 1
    assert gain([right], [one])["low"] > 0


def test_folds_judge_each_image_once_by_networks_that_never_saw_its_patient(here: Ground) -> None:
    images = tiny_images(200)
    told = Told()
    found = folds(here.plan, images, here, None, {"steps": 1}, told)
    assert found["images"] == 200
    assert len({name for name, _ in told.steps}) == FOLDS
    for name in ("children", "adults"):
        one = found["questions"][name]
        assert (one["n"], one["positive"]) == (100, 50)
        gain = one["gain_over_trivial"]
        assert gain["value"] == pytest.approx(
            one["auc"]["value"] - one["trivial"]["auc"]["value"], abs=2e-4
        )
        assert gain["low"] <= gain["value"] <= gain["high"]
    drawn_folds = [fold_of(s.patient) for s in images.samples]
    assert set(drawn_folds) == set(range(FOLDS))
    again = Told()
    assert folds(here.plan, images, here, None, {"steps": 1}, again) == found
    assert again.steps == []
