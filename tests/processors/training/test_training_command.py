"""Train, stop, go on, measure, write the card: the whole way on a handful of films."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_bundle import tiny_images, tiny_plan, write_tiny

from processors.analysis import BundleError
from processors.explain.subject import read_film
from processors.runtime import SHIPPED, open_bundle
from processors.training import fit
from processors.training.appraise import Asked, evaluate_bundle
from processors.training.card import _readme, alarms, judged
from processors.training.command import Wanted, train_bundle
from processors.training.data import ImageSet, read_images, read_table
from processors.training.explained import explained
from processors.training.make import load_training, recipe_of, shape_of
from processors.training.plan import PlanError, read_plan
from processors.training.witness import Witness
from processors.vae.latent import probability


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films with a bright square where ill; two populations, both splits."""
    folder = tmp_path_factory.mktemp("films")
    images = tiny_images(160, size=40)
    with (folder / "films.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels", "age", "sex", "source", "licence"])
        for i, (sample, pixels) in enumerate(zip(images.samples, images.inputs, strict=True)):
            Image.fromarray(pixels).save(folder / sample.path)
            well = "normal" if sample.group == 0 else "no_finding"
            label = "pneumonia" if sample.targets[sample.group] == 0 else well
            split = "val" if (i % 4 > 1 and i > 80) or (i % 4 < 2 and i > 120) else "train"
            row = [sample.path, split, sample.patient, label, sample.age, "F", "made", "CC0"]
            writer.writerow(row)
    return folder / "films.csv"


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plan") / "tiny.json"
    file.write_text(json.dumps({**tiny_plan().raw, "name": "tiny"}))
    return file


@pytest.fixture(scope="module")
def trained(table: Path, plan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    wanted = Wanted(str(plan_file), steps=6, seed=1, board=place / "board")
    made = train_bundle([(table, table.parent)], place / "bundle", place / "work", wanted)
    assert list((place / "board").glob("events.*"))  # what TensorBoard reads
    return made


def _planned(folder: Path, gate: dict[str, object]) -> Wanted:
    file = folder / "plan.json"
    file.write_text(json.dumps({**tiny_plan().raw, "gate": gate}))
    return Wanted(str(file), steps=2, seed=1)


def test_a_trained_bundle_has_the_shipped_gate_of_its_organ(table: Path, tmp_path: Path) -> None:
    wanted, sources = _planned(tmp_path, {"shortest_side": 16}), [(table, table.parent)]
    made = train_bundle(sources, tmp_path / "bundle", tmp_path / "work", wanted)
    shipped = SHIPPED / "chest" / "models"
    for name in ("gate.npz", "gate_metrics.json"):
        assert (made / "models" / name).read_bytes() == (shipped / name).read_bytes()
    scores = tmp_path / "scores.csv"
    evaluate_bundle(str(made), Asked(sources, sources, None, scores))
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert rows
    assert all(row["gate"] for row in rows)


def test_a_gate_that_was_trained_for_a_bundle_stays(table: Path, tmp_path: Path) -> None:
    own = tmp_path / "bundle" / "models" / "gate.npz"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"of the site")
    wanted, sources = _planned(tmp_path, {"shortest_side": 16}), [(table, table.parent)]
    train_bundle(sources, tmp_path / "bundle", tmp_path / "work", wanted)
    assert own.read_bytes() == b"of the site"
    assert not own.with_name("gate_metrics.json").exists()


@pytest.mark.parametrize(
    ("gate", "error", "said"),
    [
        ({"organ": "any"}, PlanError, "No gate of pixels ships for the organ 'any'"),
        ({"organ": "knee"}, BundleError, "knows these organs"),
        ({"eyes": 2}, BundleError, "unknown keys: eyes"),
    ],
)
def test_a_gate_that_cannot_be_had_is_said_before_training(
    gate: dict[str, object], error: type[Exception], said: str, table: Path, tmp_path: Path
) -> None:
    wanted = _planned(tmp_path, gate)
    with pytest.raises(error, match=said):
        train_bundle([(table, table.parent)], tmp_path / "bundle", tmp_path / "work", wanted)
    assert not (tmp_path / "work").exists()


def _stop_at(step: int):
    return lambda run, _: run.step < step


def _start() -> tuple[fit.Run, fit.Recipe]:
    recipe = recipe_of(tiny_plan())
    return fit.start(shape_of(tiny_plan()), recipe), recipe


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_a_seed_repeats_a_run() -> None:
    models = []
    for _ in range(2):
        run, recipe = _start()
        fit.train(run, tiny_images(), recipe, _stop_at(99))
        models.append(run.mean)
    assert _same(*models)


def test_a_stopped_run_goes_on_as_if_nothing_happened(tmp_path: Path) -> None:
    whole, recipe = _start()
    fit.train(whole, tiny_images(), recipe, _stop_at(99))
    first, _ = _start()
    fit.train(first, tiny_images(), recipe, _stop_at(2))
    fit.save(first, tmp_path / "checkpoint.pt")
    second, _ = _start()
    fit.resume(second, tmp_path / "checkpoint.pt")
    assert second.step == 2
    fit.train(second, tiny_images(), recipe, _stop_at(99))
    assert _same(whole.mean, second.mean)


def _of_another(what: str) -> tuple[ImageSet, fit.Recipe, dict[str, torch.Tensor]]:
    """The tiny training with one thing changed."""
    images, recipe = tiny_images(), recipe_of(tiny_plan())
    start = {"weight": torch.zeros(2)} if what != "start" else {"weight": torch.ones(2)}
    if what == "images":
        images = tiny_images(seed=1)
    if what == "labels":
        first, *rest = images.samples
        images = replace(images, samples=(replace(first, targets=(0, -1)), *rest))
    if what in ("steps", "seed"):
        recipe = replace(recipe, **{what: 5})
    return images, recipe, start


@pytest.mark.parametrize("what", ["images", "labels", "steps", "seed", "start"])
def test_a_checkpoint_of_another_training_is_not_gone_on_from(what: str, tmp_path: Path) -> None:
    """It would be written as the result of these images, and nothing of them was learnt."""
    first, _ = _start()
    first.lesson = fit.lesson(*_of_another(""))
    fit.save(first, tmp_path / "checkpoint.pt")
    second, _ = _start()
    second.lesson = fit.lesson(*_of_another(""))
    fit.resume(second, tmp_path / "checkpoint.pt")
    second.lesson = fit.lesson(*_of_another(what))
    with pytest.raises(ValueError, match="of another training"):
        fit.resume(second, tmp_path / "checkpoint.pt")


def test_a_second_table_does_not_get_the_first_one_s_network(
    table: Path, plan_file: Path, tmp_path: Path
) -> None:
    wanted = Wanted(str(plan_file), steps=2, seed=1)
    train_bundle([(table, table.parent)], tmp_path / "one", tmp_path / "work", wanted)
    rows = table.read_text().splitlines()
    other = tmp_path / "films.csv"
    other.write_text("\n".join([*rows[:40], *rows[41:]]))
    with pytest.raises(ValueError, match="of another training"):
        train_bundle([(other, table.parent)], tmp_path / "two", tmp_path / "work", wanted)
    assert not (tmp_path / "two").exists()


def test_a_film_without_label_teaches_reconstruction_alone() -> None:
    run, recipe = _start()
    images = tiny_images()
    blind = images.where(np.ones(len(images.samples), bool))
    samples = tuple(type(s)(**{**{f: getattr(s, f) for f in s.__slots__}, "targets": (-1, -1)})
                    for s in blind.samples)  # fmt: skip
    told: list[dict[str, float]] = []

    def each(_: fit.Run, terms: dict[str, float]) -> bool:
        told.append(terms)
        return True

    unlabelled = replace(images, samples=samples)
    fit.train(run, unlabelled, recipe, each)
    assert all(terms["ce"] == 0 and terms["l1"] > 0 for terms in told)


def test_a_class_without_patients_is_named_before_training(
    table: Path, plan_file: Path, tmp_path: Path
) -> None:
    rows = table.read_text().splitlines()
    ill = [row for row in rows if "no_finding" not in row]  # of the adults, nobody is well
    (tmp_path / "films.csv").write_text("\n".join(ill))
    with pytest.raises(PlanError, match="adults/none"):  # before a film is looked for
        load_training([(tmp_path / "films.csv", tmp_path / "no")], read_plan(str(plan_file)))


def test_a_class_that_twins_alone_give_is_not_missed_in_the_table(
    table: Path, plan_file: Path, tmp_path: Path
) -> None:
    rows = table.read_text().splitlines()
    ill = [row for row in rows if "no_finding" not in row and "normal" not in row]
    (tmp_path / "films.csv").write_text("\n".join(ill))
    plan = read_plan(str(plan_file))
    with pytest.raises(ValueError, match="is not a file of"):
        load_training(
            [(tmp_path / "films.csv", tmp_path)], replace(plan, raw={**plan.raw, "twins": True})
        )


def test_the_bundle_opens(trained: Path) -> None:
    bundle = open_bundle(str(trained), "cpu")
    assert [q["name"] for q in bundle.card["questions"]] == ["children", "adults"]
    for name, counts in bundle.donors.items():
        if name.startswith("patients_"):
            assert (counts >= 5).all()
    assert bundle.card["licences"] == ["made: CC0"]


def test_evaluate_writes_scores_and_card(trained: Path, table: Path, tmp_path: Path) -> None:
    sources = [(table, table.parent)]
    asked = Asked(sources, sources, "val", tmp_path / "scores.csv", 2, 3, 1, True)
    found = evaluate_bundle(str(trained), asked)
    for name in ("children", "adults"):
        figures = found["answers"][f"{name}/pneumonia"]
        assert figures["auc"]["low"] <= figures["auc"]["value"] <= figures["auc"]["high"]
        assert {"trivial", "gain", "ece", "sensitivity", "undetermined"} <= set(figures)
        assert {"trivial_equalised", "gain_equalised"} <= set(figures)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert set(rows[0]) == {"path", "pneumonia", "gate"}
    assert {row["gate"].split()[0] for row in rows} == {"accepted", "Not"}  # some are mere noise
    assert all(0 <= float(row["pneumonia"]) <= 1 for row in rows)
    bundle = open_bundle(str(trained), "cpu")  # the checksums were written anew
    for question in bundle.card["questions"]:
        for answer in question["answers"]:
            assert answer["red"] == bool(answer["note"])
            told = found["explanations"].get(f"{question['name']}/pneumonia", {}).get("witness")
            assert bool(answer["witness"]) is bool(told)
    readme = (trained / "docs" / "README.md").read_text()
    for name in ("children", "adults"):
        auc = found["answers"][f"{name}/pneumonia"]["auc"]
        assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in readme


def test_a_bundle_trained_anew_has_not_the_old_one_s_card(tmp_path: Path) -> None:
    made = write_tiny(tmp_path / "bundle")
    (made / "docs" / "README.md").write_text("AUC 0.999")
    write_tiny(made, seed=1)
    open_bundle(str(made), "cpu")
    assert not (made / "docs" / "README.md").exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_card_says_where_no_patient_is_named(
    trained: Path, table: Path, named: bool, tmp_path: Path
) -> None:
    """Six images that look alike may then be of one patient, and so may both sides of a split."""
    bundle = open_bundle(str(trained), "cpu")
    assert (bundle.card["nameless"], bundle.card["images"] > 0) == (0, True)
    counts = {"images": 40, "nameless": 0 if named else 30}
    block = {
        **judged(bundle.card, {"answers": {}, "split": "val", "ms": {"encoder": 1, "decoder": 1},
                               "parameters": 1, **counts}),
        **counts,
    }  # fmt: skip
    text = _readme({**bundle.metadata, "dictamen": block})
    assert ("Patients never cross splits." in text) is named
    assert ("30 of 40 images" in text) is not named
    assert ("may be of fewer than five" in text) is not named
    assert ("too narrow where images share a patient" in text) is not named


def test_the_scores_are_the_node_s_to_the_last_digit(
    tiny_folder: Path, table: Path, tmp_path: Path
) -> None:
    """A set of images keeps the network's inputs in 8 bits; the node rounds nothing."""
    sources, scores = [(table, table.parent)], tmp_path / "scores.csv"
    bundle = open_bundle(str(tiny_folder), "cpu")
    evaluate_bundle(str(tiny_folder), Asked(sources, sources, "val", scores))
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    samples = [s for s in read_table(table, read_plan("chest").questions) if s.split == "val"]
    pictures = read_images(table.parent, [s.path for s in samples])
    for row, sample, picture in zip(rows, samples, pictures, strict=True):
        latent = read_film("1.2", picture, bundle).latent
        told = probability(latent, bundle.row(sample.group, 0))
        assert float(row["pneumonia"]) == pytest.approx(told, abs=2e-6)


def test_a_card_says_on_how_many_images_its_thresholds_rest(trained: Path, table: Path) -> None:
    """One image with the finding is enough to train, and to put a threshold anywhere."""
    bundle = open_bundle(str(trained), "cpu")
    _, tuning = load_training([(table, table.parent)], tiny_plan())
    for number, question in enumerate(bundle.card["questions"]):
        answers, (answer,) = tuning.answers(number), question["answers"]
        assert answer["tuned"] == [int((answers == 0).sum()), int((answers == 1).sum())]
    ill, well = answer["tuned"]
    block = judged(bundle.card, {"answers": {}, "split": "val", "parameters": 1,
                                 "ms": {"encoder": 1, "decoder": 1}})  # fmt: skip
    assert f"adults/pneumonia | {ill} / {well} |" in _readme({**bundle.metadata, "dictamen": block})


def _witness(calls: Callable[[int], int]) -> Witness:
    """Calls the original (0), a strip's last frame (1) and a random change (2) as told: class 0 is
    the finding."""
    return lambda shown: np.eye(2, dtype=np.float32)[[calls(i) for i in range(len(shown))]]


@pytest.mark.parametrize(
    ("calls", "agreed", "withheld"),
    [
        pytest.param(lambda i: int(i == 1), 1.0, False, id="gives the answer up"),
        pytest.param(lambda i: int(i > 0), 1.0, True, id="and for a random change as well"),
        pytest.param(lambda _: 0, 0.0, True, id="stays with its answer"),
        pytest.param(lambda _: 1, None, False, id="never saw the finding: no word"),
    ],
)
def test_an_independent_network_decides_for_all_strips_of_an_answer(
    tiny_folder: Path, table: Path, calls: Callable[[int], int], agreed: float, withheld: bool
) -> None:
    bundle, sources = open_bundle(str(tiny_folder), "cpu"), [(table, table.parent)]
    for question in bundle.card["questions"]:
        question["answers"][0]["band"] = [0.0, 0.0]  # every film is called present
    alone = explained(bundle, sources, "val", 2)
    found = explained(bundle, sources, "val", 2, dict.fromkeys((0, 1), _witness(calls)))
    assert alone
    for name, summary in found.items():
        assert summary.get("witness", {}).get("value") == agreed
        assert summary["shown"] == (0.0 if withheld else alone[name]["shown"])
        told = summary["passed"].get("witness_gain")
        assert told == (None if agreed is None else float(not withheld))


def test_a_card_without_strips_is_refused(trained: Path, table: Path) -> None:
    sources = [(table, table.parent)]
    with pytest.raises(ValueError, match="--strips"):
        evaluate_bundle(str(trained), Asked(sources, sources, "val", write_card=True))


def test_false_alarms_stand_in_every_report() -> None:
    """Only of labels that the plan calls healthy, in both languages."""
    card = {"limits": {"healthy": ["no_tumour"]}}
    measured = {"n": 40, "value": 0.25, "low": 0.1, "high": 0.4}
    found = alarms(card, {"other_labels_called_present": {"no_tumour": measured, "x": measured}})
    assert [set(one) for one in found] == [{"es", "en"}]
    assert "40" in found[0]["en"]
    assert "25%" in found[0]["en"]
    assert alarms({"limits": {}}, {"other_labels_called_present": {"x": measured}}) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"questions": None}, "questions", id="no question"),
        pytest.param({"feild": "lung"}, "feild", id="a misspelt key would switch a check off"),
        pytest.param({"labels": []}, "pneumonia", id="an answer without a label"),
        pytest.param({"recipe": {"stepps": 3}}, "stepps", id="misspelt recipe"),
    ],
)
def test_a_bad_plan_is_named(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    raw = {**tiny_plan().raw, **changes}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))
    with pytest.raises(PlanError, match=named):
        recipe_of(read_plan(str(file)))


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing"):
        read_plan(str(tmp_path / "nothing.json"))
