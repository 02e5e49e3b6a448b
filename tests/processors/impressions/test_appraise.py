"""The guard's figures: what they count, how the command tells them, and the planted errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from processors.impressions.appraise import Figure, Price, UnusablePairs, guard, price

PLANTED_ES = Path(__file__).with_name("planted_es.jsonl")


def pair(kind: str, corrupted: str, checkable: bool = True) -> dict[str, object]:
    original = "Right effusion."
    return {
        "kind": kind,
        "findings": "Right effusion. No pneumothorax.",
        "original": original,
        "corrupted": corrupted or original,
        "checkable": checkable,
        "split": "val",
    }


def test_figures_count_checkable_rows_and_supported_ones() -> None:
    rows = [
        pair("side", "Left effusion."),
        pair("side", "Right effusion."),
        pair("side", "Left effusion.", checkable=False),
        pair("none", "", checkable=False),
    ]
    figures = {figure.kind: figure for figure in guard(rows)}
    assert figures["side"] == Figure("side", 2, 0.5, 0.5, 0.95)
    assert figures["none"] == Figure("none", 1, 0.0, 0.0, 0.05)
    assert [figures[kind].passed for kind in ("side", "none")] == [False, True]
    with pytest.raises(UnusablePairs, match="Row 1 of the pairs has no 'kind'"):
        guard([{"findings": ""}])


@pytest.mark.parametrize(
    ("findings", "impression", "groups"),
    [
        ("Scoliosis.", "Scoliosis.", {"none": 0.0, "none, all": 0.0, "none, whole": 0.0}),
        # asserts what the findings do not
        ("Scoliosis.", "Edema.", {"none, all": 1.0}),
        # leaves a critical finding out: an alarm as it should be
        ("Effusion.", "No acute disease.", {"none": 1.0, "none, all": 1.0}),
        # a false alarm: "bibasilar" is of the findings' own
        (
            "Effusion, two views.",
            "Effusion, T4.",
            {"none": 1.0, "none, all": 1.0, "none, whole": 1.0},
        ),
    ],
)
def test_true_impressions_stand_in_three_groups(
    findings: str, impression: str, groups: dict[str, float]
) -> None:
    row = {"kind": "none", "findings": findings, "original": impression, "corrupted": impression}
    assert {f.kind: f.alarms for f in guard([{**row, "checkable": False}])} == groups


def test_omissions_that_the_findings_hold_by_name_stand_apart() -> None:
    row = {"kind": "dropped", "original": "Effusion.", "corrupted": "Scoliosis.", "checkable": True}
    held = guard([{**row, "findings": "Effusion. Scoliosis."}])
    assert {f.kind: f.alarms for f in held} == {"dropped": 1.0, "dropped, held": 1.0}
    assert [f.kind for f in guard([{**row, "findings": "Scoliosis."}])] == ["dropped"]


def test_omissions_that_are_the_radiologists_own_stand_apart() -> None:
    row = {"kind": "dropped", "findings": "Effusion. Scoliosis.", "checkable": True}
    row |= {"original": "Scoliosis. Effusion.", "corrupted": "Scoliosis."}
    for base, kinds in (
        ("impression+finding", ["dropped", "dropped, held", "dropped, own"]),
        ("impression", ["dropped", "dropped, held"]),
    ):
        assert [f.kind for f in guard([{**row, "base": base}])] == kinds
    other = {**row, "base": "impression+finding", "corrupted": "Effusion."}
    assert "dropped, own" not in [f.kind for f in guard([other])]


def test_the_price_of_mending_is_told_by_kind() -> None:
    def same(reference: str, draft: str) -> float:
        return float(reference == draft)

    rows = [pair("side", "Left effusion."), pair("none", ""), pair("none", "")]
    assert price(rows, same) == (Price("side", 1, 0.0, 1.0), Price("none", 2, 1.0, 1.0))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dicom_node.cli", "impressions", "guard", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_each_kind_and_fails_on_a_red_one(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    good = [pair("side", "Left effusion."), pair("none", "")]
    file.write_text("\n".join(map(json.dumps, good)), encoding="utf-8")
    done = run("--pairs", str(file), "--json", "--split", "val")
    told = json.loads(done.stdout)
    assert (done.returncode, told["side"]["alarms"], told["none"]["passed"]) == (0, 1.0, True)
    priced = run("--pairs", str(file), "--price")
    assert "ROUGE-1 as drafted" in priced.stdout
    file.write_text(json.dumps(pair("side", "Right effusion.")), encoding="utf-8")
    assert run("--pairs", str(file)).returncode == 1
    file.write_text("{", encoding="utf-8")
    assert "line 1: no JSON object" in run("--pairs", str(file)).stderr


RED = {
    "dropped": "what only the impression told, not the findings, cannot be missed in a draft",
    "none": "impressions that leave out a critical finding, or are surer than their findings",
}


@pytest.fixture(scope="module")
def planted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """Made anew each time and never kept: changed copies of licensed reports."""
    file = tmp_path_factory.mktemp("planted") / "planted.jsonl"
    tool = shared / "tools/make_planted_errors.py"
    data = shared / "data/reports/openi.csv"
    command = [sys.executable, str(tool), "--data", str(data), "--out", str(file)]
    subprocess.run([*command, "--per-kind", "400"], check=True, capture_output=True)
    lines = file.read_text(encoding="utf-8").splitlines()
    return {figure.kind: figure for figure in guard(map(json.loads, lines))}


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        *("side", "negation", "invented", "number", "degree", "hedge"),
        *(
            pytest.param(k, marks=pytest.mark.xfail(reason=why, strict=True))
            for k, why in RED.items()
        ),
    ],
)
def test_planted_errors_are_noticed(planted: dict[str, Figure], kind: str) -> None:
    figure = planted[kind]
    print(f"\n{kind}: {figure.alarms:.3f} of {figure.rows} ({figure.limit})")
    assert figure.passed


@pytest.mark.shared
@pytest.mark.slow
def test_what_the_findings_decide_is_decided(planted: dict[str, Figure]) -> None:
    assert planted["none, whole"].alarms <= 0.05
    assert planted["dropped, held"].alarms >= 0.95


RED_ES = {"none": "of 19: an old fracture left out, heart failure read from its signs"}


@pytest.mark.parametrize(
    "kind",
    [
        *("side", "negation", "invented", "number", "degree", "dropped", "hedge"),
        *(
            pytest.param(k, marks=pytest.mark.xfail(reason=why, strict=True))
            for k, why in RED_ES.items()
        ),
    ],
)
def test_planted_errors_in_spanish_are_noticed(kind: str) -> None:
    lines = PLANTED_ES.read_text(encoding="utf-8").splitlines()
    figures = {figure.kind: figure for figure in guard(map(json.loads, lines), "es")}
    assert figures[kind].rows >= 12
    assert figures[kind].passed
