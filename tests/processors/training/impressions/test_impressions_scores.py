"""ROUGE by hand, the bootstrap by group, the baselines, the judges: tables of cases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_reports import rows, write

from processors.impressions.corpus import Pair
from processors.training.impressions import baselines, judging, scores
from processors.training.impressions.cases import UnusableCases, bare, load
from processors.training.impressions.judge_program import by_program

EIGHT = np.arange(8, dtype=np.float64)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("XXXX opacity, XXXX.", "opacity"),
        ("Seen on xxxx .", "Seen on."),
        ("Clear lungs. . XXXX", "Clear lungs."),
        ("Nodule of 4.5 mm.", "Nodule of 4.5 mm."),
        ("", ""),
    ],
)
def test_masks_go_with_what_they_leave_hanging(text: str, left: str) -> None:
    assert scores.unmask(text) == left


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1. Effusion. 2. Nodule of 4.5 mm.", ["Effusion.", "Nodule of 4.5 mm."]),
        ("Effusion; no nodule.", ["Effusion; no nodule."]),
        ("Effusion; No nodule.", ["Effusion;", "No nodule."]),
        ("1. Ángulo romo. 2. Índice alto.", ["Ángulo romo.", "Índice alto."]),
        ("...", []),
    ],
)
def test_sentences_have_no_list_numbers(text: str, parts: list[str]) -> None:
    assert scores.sentences(text) == parts


@pytest.mark.parametrize(
    ("draft", "reference", "language", "expected"),
    [
        ("small left effusion", "small right effusion", "en", (2 / 3, 0, 2 / 3)),
        ("opacities", "opacity", "en", (1, 0, 1)),  # one stem; one word has no pair
        ("1. A nodule. 2. No effusion.", "A nodule. No effusion.", "en", (1, 1, 1)),
        ("XXXX nodule", "nodule", "en", (1, 0, 1)),
        ("", "nodule", "en", (0, 0, 0)),
        ("derrames izquierdos", "derrame izquierdo", "es", (1, 1, 1)),
        ("neumotórax pequeño", "neumotórax grande", "es", (1 / 2, 0, 1 / 2)),
        ("área", "cara", "es", (0, 0, 0)),  # accents are letters, not gaps
    ],
)
def test_rouge_is_what_counting_by_hand_says(
    draft: str, reference: str, language: str, expected: tuple[float, ...]
) -> None:
    assert scores.rouge(draft, reference, language)[:3] == pytest.approx(expected)


def test_the_distribution_counts_what_it_names() -> None:
    drawn = scores.draws([str(n) for n in range(8)], np.random.default_rng(0), 500)
    told = scores.distribution(EIGHT, drawn)
    names = ("n", "mean", "min", "q1", "median", "q3", "max")
    assert [told[name] for name in names] == [8, 3.5, 0, 1.75, 3.5, 5.25, 7]
    assert told["std"] == pytest.approx(np.sqrt(5.25))
    assert told["low"] < 3.5 < told["high"]


def test_copies_of_one_text_are_one_witness() -> None:
    """Eight copies of four values are as uncertain as the four; eight singles are not."""
    values = np.repeat([0.0, 0.2, 0.9, 1.0], 8)
    generator = np.random.default_rng(0)
    grouped = scores.draws([f"g{n // 8}" for n in range(32)], generator, 2000)
    single = scores.draws([str(n) for n in range(32)], generator, 2000)
    wide, narrow = ((low, high) for low, high in (d.interval(values) for d in (grouped, single)))
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_a_system_paired_with_itself_differs_by_nothing() -> None:
    drawn = scores.draws(["a", "b"] * 4, np.random.default_rng(0), 200)
    assert scores.difference(EIGHT, EIGHT, drawn) == {"mean": 0, "low": 0, "high": 0}


@pytest.mark.parametrize(
    ("count", "said"), [(1, "One."), (2, "One. Two."), (9, "One. Two. Three.")]
)
def test_lead_takes_the_first_sentences(count: int, said: str) -> None:
    assert baselines.lead("1. One. 2. Two. XXXX Three.", count) == said


def test_a_report_is_not_its_own_neighbour() -> None:
    train = [Pair("a", "Left effusion.", "Of a."), Pair("b", "Left effusion. Clear.", "Of b.")]
    near = baselines.Neighbours(train)
    assert near.impression("Left effusion.", 1) == "Of a."
    assert near.impression("Left effusion.", 1, "a") == "Of b."


def test_seven_neighbours_vote() -> None:
    """Six of seven say one thing; the nearest says another."""
    train = [Pair(f"t{n}", "Small effusion on the left.", "Effusion.") for n in range(6)]
    train.append(Pair("odd", "Tiny effusion on the left.", "Something else."))
    near = baselines.Neighbours(train)
    asked = "Tiny effusion on the left."
    assert near.impression(asked, 1) == "Something else."
    assert near.impression(asked, 7) == "Effusion."


CASE = Pair("1", "Small left effusion. No pneumothorax.", "Left effusion and nodule.")


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        # right, added, missed, beyond the section, in neither, ill, false normal, said, nowhere
        ("Left effusion and nodule.", (2, 0, 0, 1, 0, 1, 0, 2, 1)),
        ("Left effusion.", (1, 0, 1, 0, 0, 1, 0, 2, 1)),
        ("No acute disease.", (0, 0, 2, 0, 0, 1, 1, 2, 1)),
        ("Pneumothorax.", (0, 1, 2, 1, 1, 1, 0, 2, 1)),
        ("Possible effusion.", (1, 0, 1, 0, 0, 1, 0, 2, 1)),
    ],
)
def test_findings_are_counted(draft: str, expected: tuple[int, ...]) -> None:
    assert tuple(judging.counts(judging.OWN, [CASE], [draft])[0]) == expected


def test_shares_are_of_what_they_say() -> None:
    found = judging.counts(judging.OWN, [CASE] * 2, ["Left effusion.", "Pneumothorax."])
    drawn = scores.draws(["a", "b"], np.random.default_rng(0), 200)
    told = judging.shares(found, drawn)
    assert told["f1"] == pytest.approx(2 / (2 + 1 + 3))
    assert (told["omitted"], told["invented"]) == (3 / 4, 1 / 2)
    assert (told["unsupported"], told["unfounded"], told["false_normal"]) == (1 / 2, 1 / 2, 0)
    assert judging.ceiling(found) == {"nowhere": 0.5, "f1": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("findings", "draft", "due", "missed"),
    [
        ("Large right pneumothorax.", "Right pneumothorax.", 1, 0),
        ("Large right pneumothorax.", "No acute disease.", 1, 1),
        ("Large right pneumothorax.", "No pneumothorax.", 1, 1),
        ("Possible pneumothorax.", "No acute disease.", 0, 0),  # not certain
        ("Old rib fracture.", "No acute disease.", 0, 0),
        ("Pneumothorax. Acute rib fracture.", "Possible pneumothorax.", 2, 1),
        ("Clear lungs.", "", 0, 0),
    ],
)
def test_certain_critical_findings_left_out(
    findings: str, draft: str, due: int, missed: int
) -> None:
    assert tuple(judging.critical([Pair("1", findings)], [draft])[0]) == (due, missed)


def test_labels_judge_only_what_they_know(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("uid,effusion,nodule_or_mass,normal\n1,1,1,0\n")
    judge = judging.labelled(file)
    assert (judge.labels, judge.knows) == (
        {"1": frozenset({"pleural_effusion"})}, frozenset({"pleural_effusion"})
    )  # fmt: skip
    strange = Pair("2", "Effusion.", "Effusion.")
    found = judging.counts(judge, [CASE, strange], ["Nodule, no effusion.", "Effusion."])
    assert tuple(found[0][:3]) == (0, 0, 1)  # the nodule is none of its business
    assert not found[1].any()  # a report without labels


def test_labels_without_a_known_column_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("uid,happy\n1,1\n")
    with pytest.raises(UnusableCases, match="pleural_effusion"):
        judging.labelled(file)


PROGRAM = """
import json, sys
for line in sys.stdin:
    text = json.loads(line)["text"]
    print(json.dumps({"findings": [w for w in ("effusion", "nodule") if w in text.lower()]}))
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('no licence')", "no licence"),
        ("print('{}')", "answers no findings"),
        ("print('nonsense')", "answers no findings"),
        ("", "answers 0 of 1 texts"),
    ],
)
def test_a_program_that_does_not_judge_is_refused(
    program: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(program)
    judge = by_program(f"{sys.executable} {tmp_path / 'judge.py'}")
    with pytest.raises(UnusableCases, match=reason):
        judge.reads([("Effusion.", "en")])


def test_a_program_judges(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PROGRAM)
    judge = by_program(f"{sys.executable} {tmp_path / 'mine.py'}")
    told = judge.reads([("Effusion.", "en"), ("Clear.", "en"), ("Effusion.", "en")])
    assert told == [{"effusion"}, set(), {"effusion"}]
    assert (judge.name, judge.own) == ("mine", False)


def test_a_program_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnusableCases, match="No such file"):
        by_program("/no/such/judge").reads([("Effusion.", "en")])


@pytest.mark.parametrize(
    ("impression", "same"),
    [("1. No acute DISEASE", "no acute disease"), ("No XXXX. acute, disease.", "no acute disease")],
)
def test_impressions_are_compared_bare(impression: str, same: str) -> None:
    assert bare(impression) == same


def test_cases_say_which_are_hard(tmp_path: Path) -> None:
    reports = [dict(row) for row in rows()]
    named = load(write(tmp_path / "named.csv", reports), "val")
    assert {k: int(v.sum()) for k, v in named.masks().items()} == {
        "all": 12, "normal": 4, "abnormal": 8
    }  # fmt: skip
    for row in reports:
        del row["unseen"]
        if row["split"] == "train" and row["impression"].startswith("Small"):
            row["impression"] = "Something else."
    told = load(write(tmp_path / "told.csv", reports), "val")
    hard = told.masks()["unseen-and-abnormal"]
    assert [c.impression for c, h in zip(told.cases, hard, strict=True) if h] == [
        row["impression"]
        for row in reports
        if row["split"] == "val" and row["impression"].startswith("Small")
    ]


@pytest.mark.parametrize(
    ("change", "split", "reason"),
    [({}, "test", "has no report of the split 'test'.*train, val"),
     ({"abnormal": "perhaps"}, "val", "abnormal holds 'perhaps'")],
)  # fmt: skip
def test_cases_that_cannot_be_used_are_refused(
    change: dict[str, str], split: str, reason: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "reports.csv", [row | change for row in rows()])
    with pytest.raises(UnusableCases, match=reason):
        load(file, split)


@pytest.mark.shared
@pytest.mark.slow
def test_the_figures_are_those_of_the_shared_tool(shared: Path, tmp_path: Path) -> None:
    from processors.training.impressions.evaluation import evaluate

    data, told = shared / "data" / "reports" / "openi.csv", tmp_path / "told.json"
    tool = [sys.executable, str(shared / "tools" / "eval_impressions.py"), "--data", str(data)]
    tool += ["--baseline", "all", "--json", str(told)]
    subprocess.run(tool, check=True, capture_output=True)
    theirs = json.loads(told.read_text())
    ours = evaluate(load(data, "val"), []).record["groups"]
    names = {"constant": "constant", "lead1": "lead-1", "lead3": "lead-3", "knn1": "knn-1",
             "knn7": "knn-7"}  # fmt: skip
    parts = {"mean": "mean", "lo": "low", "hi": "high", "std": "std", "q25": "q1", "q50": "median",
             "q75": "q3"}  # fmt: skip
    assert set(theirs) == set(ours)
    for group, systems in theirs.items():
        assert set(systems) == set(names)
        for name, figures in systems.items():
            for kind in scores.KINDS:
                own = ours[group]["systems"][names[name]][kind]
                same = {part: own[mine] for part, mine in parts.items()}
                assert same == pytest.approx(figures[kind], abs=1e-9)
