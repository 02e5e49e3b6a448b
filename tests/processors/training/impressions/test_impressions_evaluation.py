"""The whole evaluation of made-up drafters, its page, and the floors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_language import flan_shaped
from tiny_reports import NORMAL, pairs, rows, write
from typer.testing import CliRunner

from dicom_node.cli.app import app
from processors.analysis import Impression, Sentence
from processors.impressions.drafting import Draft, Request
from processors.impressions.prompts import Asking
from processors.training.impressions import evaluation_page, floors, systems
from processors.training.impressions.cases import CaseSet, UnusableCases, load
from processors.training.impressions.evaluation import Measured, evaluate
from processors.training.impressions.evaluation_words import WORDS
from processors.training.impressions.language_options import Teaching
from processors.training.impressions.language_training import Places, teach
from processors.training.impressions.systems import Cut, System

VAL = [row for row in rows() if row["split"] == "val"]
BASELINES = ("constant", "lead-1", "lead-3", "knn-1", "knn-7")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> CaseSet:
    return load(write(tmp_path_factory.mktemp("pairs") / "made.csv"), "val")


def drafts(say: Callable[[dict[str, str]], str]) -> dict[str, str]:
    return {row["uid"]: say(row) for row in VAL}


@pytest.fixture(scope="module")
def measured(cases: CaseSet) -> Measured:
    entered = [
        System("perfect", drafts(lambda r: r["impression"]), drafts(lambda r: "Fracture.")),
        System("normal", drafts(lambda r: NORMAL), before="perfect", cut=Cut(3, 40, 1)),
    ]
    return evaluate(cases, entered, rounds=200)


def test_everything_stands_beside_the_baselines(measured: Measured) -> None:
    wanted = [*BASELINES, "perfect", "normal", "perfect, no guard"]
    for group in ("all", "normal", "abnormal"):
        assert list(measured.record["groups"][group]["systems"]) == wanted


@pytest.mark.parametrize(
    ("system", "group", "figure", "value"),
    [
        ("perfect", "all", "rouge1", 1),
        ("perfect", "all", "f1", 1),
        ("perfect", "all", "false_normal", 0),
        ("normal", "normal", "rouge1", 1),
        ("normal", "abnormal", "rouge1", 0),
        ("normal", "all", "false_normal", 1),
        ("normal", "all", "f1", 0),
        ("perfect, no guard", "all", "unsupported", 1),
    ],
)
def test_figures_are_those_of_the_drafts(
    measured: Measured, system: str, group: str, figure: str, value: float
) -> None:
    told = measured.record["groups"][group]["systems"][system]
    found = told["findings"]["labeller"] | {"rouge1": told["rouge1"]["mean"]}
    assert found[figure] == pytest.approx(value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("perfect", "knn-7"), ("perfect", "perfect, no guard"), ("normal", "perfect"),
     ("lead-1", "knn-7")],
)  # fmt: skip
def test_differences_are_paired(measured: Measured, ours: str, theirs: str) -> None:
    group = measured.record["groups"]["all"]
    told = group["against"][ours][theirs]["rouge1"]
    gap = (group["systems"][name]["rouge1"]["mean"] for name in (ours, theirs))
    assert told["mean"] == pytest.approx(next(gap) - next(gap))
    assert told["low"] <= told["mean"] <= told["high"]


def test_two_systems_of_one_name_are_refused(cases: CaseSet) -> None:
    with pytest.raises(ValueError, match="called knn-7"):
        evaluate(cases, [System("knn-7", {})], rounds=100)


def test_a_drafter_is_asked_with_and_without_its_guard(cases: CaseSet) -> None:
    class Echo:
        def draft(self, request: Request, *, guard: bool = True) -> Draft:
            text = request.findings if guard else "Unguarded."
            return Draft(Impression("en", (Sentence(text, (), "rule"),)), "rule")

    told: list[int] = []
    found = systems.from_drafter("echo", Echo(), cases.cases, told.append)
    assert found.drafts == {case.uid: case.findings for case in cases.cases}
    assert set((found.unguarded or {}).values()) == {"Unguarded."}
    assert told == list(range(1, len(cases.cases) + 1))


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{", "line 2"), ('{"impression": "x"}', "KeyError"), ("[]", "AttributeError")],
)
def test_drafts_that_cannot_be_read_are_refused(
    line: str, reason: str, cases: CaseSet, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"uid": "r2", "impression": "x"}\n' + line)
    with pytest.raises(UnusableCases, match=reason):
        systems.from_file(file, cases.cases)


def record_of(value: float) -> dict[str, Any]:
    figures = {"f1": value, "false_normal": value, "unsupported": value}
    told = {
        **{kind: {"mean": value} for kind in ("rouge1", "rouge2", "rougeL")},
        "findings": {"own": figures, "theirs": figures, "labels": figures},
        "critical": {"left_out": value},
    }
    judges = {
        "own": {"own": True, "labels": False},
        "theirs": {"own": False, "labels": False},
        "labels": {"own": False, "labels": True},
    }
    groups = {name: {"systems": {"mine": told}} for name in ("all", "unseen-and-abnormal")}
    return {"groups": groups, "judges": judges}


@pytest.mark.parametrize("name", floors.floors())
@pytest.mark.parametrize(
    ("value", "passes"), [(0.0, "≤"), (1.0, "≥")], ids=["nothing", "everything"]
)
def test_floors_hold(name: str, value: float, passes: str) -> None:
    held = floors.hold(record_of(value), "mine", name)
    assert {each.sign for each in held if each.passed} == {passes}
    assert {each.judge for each in held if each.figure == "f1"} == {"theirs", "labels"}
    assert {each.judge for each in held if each.figure == "unsupported"} == {"theirs"}


@pytest.mark.parametrize("gone", ["group", "judges"])
def test_what_nobody_measured_is_not_passed(gone: str) -> None:
    record = record_of(0.0)
    if gone == "group":
        del record["groups"]["all"]
    else:
        record["judges"] = {"own": {"own": True, "labels": False}}
    unmeasured = [h for h in floors.hold(record, "mine", "shipped") if h.value is None]
    assert unmeasured
    assert not any(h.passed for h in unmeasured)


@pytest.mark.parametrize("language", WORDS)
def test_the_page_shows_the_record_and_no_report(measured: Measured, language: str) -> None:
    held = [("made", h) for h in floors.hold(measured.record, "perfect", "shipped")]
    text = evaluation_page.page([measured], held, language, "dictamen 0")
    assert text.startswith(f'<!doctype html><html lang="{language}">')
    assert text.count("<svg") == 2 * 3  # boxes and differences of each group
    assert WORDS[language]["unmeasured"] in text
    assert WORDS[language]["cut"] in text
    links = re.findall(r'(?:src|href)="(?!#)([^"]+)', text)
    assert links == []
    assert not any(row["findings"] in text or "effusion." in text for row in VAL)


def test_the_words_of_both_languages_are_the_same() -> None:
    assert set(WORDS["en"]) == set(WORDS["es"])


def invoke(tmp_path: Path, *more: str) -> Any:
    data = write(tmp_path / "made.csv")
    mine = tmp_path / "mine.jsonl"
    said = [json.dumps({"uid": r["uid"], "impression": r["impression"]}) for r in VAL[1:]]
    mine.write_text("\n".join(said))
    told = ["impressions", "evaluate", "--data", str(data), "--predictions", str(mine)]
    return CliRunner().invoke(app, [*told, "--rounds", "100", *more])


def test_the_command_writes_page_and_record(tmp_path: Path) -> None:
    done = invoke(tmp_path, "--out", str(tmp_path / "out"), "--page-language", "es", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert json.loads(done.stdout) == record
    assert record["data"][0]["lacking"] == {"mine": 1}
    assert 'lang="es"' in (tmp_path / "out" / "evaluation.html").read_text()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 0, "knn-7"),
        (("--check", "mine=shipped"), 1, "not measured"),
        (("--check", "mine=mine"), 1, "There are no floors 'mine'"),
        (("--check", "yours=shipped"), 1, "asked of 'yours'"),
        (("--predictions", "nowhere.jsonl"), 1, "does not exist"),
        (("--page-language", "fr"), 1, "en or es"),
        (("--split", "test"), 1, "no report of the split"),
    ],
)
def test_the_command_ends_as_it_should(
    more: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = invoke(tmp_path, *more)
    assert (done.exit_code, said in done.output) == (code, True), done.output


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A FLAN-T5-shaped model with random weights, and what training made of it."""
    place = tmp_path_factory.mktemp("models")
    start = flan_shaped(place / "flan")
    asking = Asking(beams=2, longest_input=56, longest_output=12)
    teaching = Teaching("lora", epochs=1, validation=0.2, batch=8, asking=asking)
    taught = teach(pairs(), teaching, Places(place / "taught", place / "work", start), cpu=True)
    return {"before": start, "after": taught}


def test_a_model_is_measured_before_and_after_on_two_sets(
    models: dict[str, Path], tmp_path: Path
) -> None:
    other = write(tmp_path / "other.csv", [row for row in rows() if row["split"] != "train"])
    told = [f"after={models['after']}", "--before", f"before={models['before']}"]
    done = invoke(
        tmp_path, *("--data", str(other), "--train", str(tmp_path / "made.csv"), "--json"),
        *("--device", "cpu", "--model", *told),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert [each["data"] for each in record["data"]] == ["made", "other"]
    for each in record["data"]:
        group = each["groups"]["all"]
        assert {"before", "after", "before, no guard", "after, no guard"} <= set(group["systems"])
        assert set(group["against"]["after"]) == {"knn-7", "before", "after, no guard"}
        assert each["cut"]["after"]["inputs"] > 0  # 56 tokens are few
        # what random weights say is nothing that the findings say
        assert group["systems"]["after"]["findings"]["labeller"]["unsupported"] == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--before", "pyproject.toml"), "needs the --model"),
        (("--model", "tests"), "no Hugging Face model folder"),
        (("--model", "tests", "--device", "tpu"), "auto, cpu or cuda"),
    ],
)
def test_models_that_cannot_be_measured_are_refused(
    more: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[4])
    done = invoke(tmp_path, *more)
    assert (done.exit_code, said in done.output) == (1, True), done.output


def test_a_model_drafts_through_the_same_command(models: dict[str, Path], tmp_path: Path) -> None:
    data, target = write(tmp_path / "made.csv"), tmp_path / "drafts.jsonl"
    told = ["impressions", "draft", "--in", str(data), "--out", str(target)]
    done = CliRunner().invoke(app, [*told, "--model", str(models["after"])])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["uid"] for line in lines] == [row["uid"] for row in rows()]
    ill = [line for line, row in zip(lines, rows(), strict=True) if row["abnormal"] == "1"]
    assert all(line["impression"] for line in ill)


def test_the_shipped_drafter_is_measured_with_and_without_its_guard(tmp_path: Path) -> None:
    done = invoke(tmp_path, "--shipped", "--json")
    assert done.exit_code == 0, done.output
    group = json.loads(done.stdout)["data"][0]["groups"]["all"]
    assert set(group["against"]["shipped"]) == {"knn-7", "shipped, no guard"}
    assert group["systems"]["shipped"]["critical"]["left_out"] == 0
