"""Learning from reports: folds without leaks, a bundle without words, a corpus that drafts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from processors.analysis import BundleError
from processors.impressions.corpus import Pair
from processors.impressions.drafter import RankedDrafter, open_drafter
from processors.impressions.drafting import Request
from processors.impressions.scoring import open_shipped
from processors.impressions.statements import case
from processors.training.impressions import corpus_folder, shipped
from processors.training.impressions.duplicates import grouped
from processors.training.impressions.examples import examples, folds, likeness, taken
from processors.training.impressions.figures import by_group, figures
from processors.training.impressions.recipe import weights
from tests.report_pairs import pairs


def silent(_step: str, _done: int, _total: int) -> None:
    """Nobody watches a test."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    corpus_folder.make(pairs(), folder, silent)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    learned, held = pairs("train"), pairs("val")[::7]
    return shipped.train(learned, held, tmp_path_factory.mktemp("bundle"), silent)


def test_near_duplicates_are_one_group_and_a_named_group_stays() -> None:
    alike = "The lungs are clear and the heart is normal in size without any effusion today"
    found = grouped(
        [
            Pair("a", alike, "x"),
            Pair("b", alike + ".", "x"),
            Pair("c", "Something else entirely.", "x"),
            Pair("d", alike, "x", group="own"),
        ]
    )
    groups = [p.group for p in found]
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == "own"


def test_a_group_never_crosses_folds() -> None:
    made = pairs()
    by_group: dict[str, set[int]] = {}
    for pair, fold in zip(made, folds(made), strict=True):
        by_group.setdefault(pair.group, set()).add(int(fold))
    assert all(len(found) == 1 for found in by_group.values())
    assert len(set(folds(made))) > 1


@pytest.mark.parametrize(
    ("impression", "expected"),
    [
        ("Mild cardiomegaly.", [1, 0, 0]),
        ("Small left pleural effusion.", [0, 1, 0]),
        ("No fracture.", [0, 0, 1]),
        ("Normal chest.", [0, 0, 0]),
    ],
)
def test_which_statements_an_impression_takes_up(impression: str, expected: list[int]) -> None:
    text = "The heart is mildly enlarged. There is a small left pleural effusion. No fracture."
    (example,) = examples([Pair("a", text, impression)])
    assert taken(example).tolist() == expected


@pytest.mark.parametrize(
    ("draft", "worth"), [("Mild cardiomegaly.", 1), ("Normal chest.", 0), ("Mild.", 2 / 9 + 2 / 9)]
)
def test_what_a_candidate_is_worth(draft: str, worth: float) -> None:
    (example,) = examples([Pair("a", "The heart is mildly enlarged.", "Mild cardiomegaly.")])
    assert likeness(example, draft) == pytest.approx(worth)


def test_boilerplate_is_one_lesson_and_a_new_impression_counts_more() -> None:
    usual = [
        Pair(f"u{i}", "Clear lungs.", "No acute disease.", group="boilerplate") for i in range(16)
    ]
    new = Pair("n", "Left pleural effusion.", "Left effusion.")
    assert weights(examples([*usual, new]), 4.0).tolist() == [0.5] * 16 + [4.0]


def test_a_neighbour_out_of_its_own_group_is_never_asked(corpus: Path) -> None:
    site = open_drafter(corpus)._judge.site  # type: ignore[attr-defined]
    found = case(Request(pairs()[0].findings, "en"))
    every = site.known(found)
    left_out = np.zeros(len(site.impressions), bool)
    left_out[0] = True
    assert every.near[0][1] == pytest.approx(1.0)
    assert site.known(found, left_out).near[0][1] < 0.999


def test_a_corpus_drafts_in_the_words_of_its_house(corpus: Path) -> None:
    drafter = open_drafter(corpus)
    calm = drafter.draft(Request("Heart size is normal. Lungs are clear. No fracture.", "en"))
    assert (calm.impression.text, calm.origin) == ("No acute change of the chest.", "nearest")
    ill = drafter.draft(Request("Small left pleural effusion. Heart size is normal.", "en"))
    assert "effusion" in ill.impression.text.lower()


def test_the_bundle_holds_no_word_of_a_report(bundle: Path) -> None:
    text = "".join(f.read_text() for f in bundle.rglob("*") if f.is_file())
    for word in ("Streaky", "Preoperative", "Two views", "No acute change of the"):
        assert word not in text
        assert any(word in p.findings + p.impression + p.indication for p in pairs())
    assert open_shipped(str(bundle)).worth  # opens: digests and columns agree


def test_the_card_is_written_from_what_was_measured(bundle: Path) -> None:
    content = json.loads((bundle / "configs" / "impressions.json").read_text())
    card = (bundle / "docs" / "README.md").read_text()
    assert content["reports"] == {"learnt from": 160, "held out": 23}
    for groups in content["figures"].values():
        for found in groups.values():
            for figure in found["values"].values():
                assert "{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure) in card
    assert content["licence"] in card


def test_the_same_reports_make_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    again = shipped.train(pairs("train"), pairs("val")[::7], tmp_path, silent)
    sums = [(folder / "checksums.sha256").read_text() for folder in (bundle, again)]
    assert sums[0] == sums[1]


@pytest.mark.parametrize("name", ["models/worth.txt", "configs/impressions.json"])
def test_an_altered_file_is_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    for file in bundle.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(bundle)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    with pytest.raises(BundleError, match="digest"):
        open_shipped(str(tmp_path))


def test_figures_count_what_is_left_out_and_what_is_invented() -> None:
    made = [
        Pair("a", "Left pneumothorax.", "Left pneumothorax."),
        Pair("b", "Clear lungs.", "No acute disease."),
        Pair("c", "Mild cardiomegaly.", "Mild cardiomegaly."),
    ]
    drafts = ["No acute disease.", "Right pneumothorax.", "Mild cardiomegaly."]
    values = {n: f.value for n, f in figures(made, drafts).values.items()}
    assert values["certain critical finding left out"] == 1.0
    assert values["false normals"] == 0.5
    assert values["unsupported findings"] == 0.5
    assert values["finding F1"] == 0.5
    hard = by_group([*made, replace(made[2], uid="d")], [*drafts, ""])
    assert [found["reports"] for found in hard.values()] == [4, 1]
    assert list(by_group(made[1:2], drafts[1:2])) == ["all"]


def test_the_shipped_bundle_is_small_and_holds_columns_of_this_version() -> None:
    folder = Path(shipped.__file__).parents[2] / "bundles" / "impressions"
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) <= 5 * 2**20
    assert isinstance(RankedDrafter(open_shipped()), RankedDrafter)
