"""`dictamen models` as a person types it: cards, pre-training, training from it, clear errors."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import tiny_plan, write_tiny
from typer.testing import CliRunner

from dicom_node.cli import app
from processors.runtime import open_bundle

RUN = CliRunner()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Children and adults, ill and well, enough of each to fit and to calibrate."""
    folder = tmp_path_factory.mktemp("films")
    generator = np.random.default_rng(0)
    with (folder / "films.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels", "age"])
        for i in range(160):
            pixels = generator.integers(0, 120, (40, 40)).astype(np.uint8)
            pixels[10:22, 8:16] += 120 * (i % 2)
            Image.fromarray(pixels).save(folder / f"{i}.png")
            well, age = ("normal", 3) if i % 4 < 2 else ("no_finding", 50)
            writer.writerow([f"{i}.png", "train", f"P{i}", "pneumonia" if i % 2 else well, age])
    return folder / "films.csv"


def _models(*words: str | Path) -> tuple[int, str]:
    done = RUN.invoke(app, ["models", *map(str, words)])
    return done.exit_code, done.output


@pytest.mark.parametrize("name", ["chest", "brain", "breast"])
def test_a_card_is_printed(name: str) -> None:
    code, text = _models("card", name)
    assert code == 0
    assert text.startswith(f"# {name} ")
    code, text = _models("card", name, "--json")
    assert json.loads(text)["evaluation"]["split"] == "val"


def test_a_bundle_without_a_card_says_how_to_get_one(tmp_path: Path) -> None:
    code, text = _models("card", write_tiny(tmp_path / "tiny"))
    assert code == 1
    assert "--write-card" in text


def test_pretrained_then_trained(films: Path, tmp_path: Path) -> None:
    plan, start, made = (tmp_path / n for n in ("plan.json", "start.safetensors", "bundle-1.3"))
    plan.write_text(json.dumps({**tiny_plan().raw, "name": "tiny", "widths": "S"}))
    table = ("--table", films, "--images", films.parent)
    code, text = _models("pretrain", "--out", start, *table, "--unlabelled", "films",
                         "--size", "32", "--channels", "4", "--steps", "2")  # fmt: skip
    assert code == 0, text
    code, text = _models("train", "--out", made, *table, "--plan", plan, "--start", start)
    assert code == 0, text
    assert open_bundle(str(made), "cpu").card["channels"] == 4
    assert (tmp_path / "bundle-1.3.work" / "checkpoint.pt").is_file()  # bundle-1.4 has its own
    other = ("--plan", plan, "--start", made / "models" / "donors.npz")
    code, text = _models("train", "--out", tmp_path / "again", *table, *other)
    assert code == 1
    assert "no weights to start from" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["pretrain", "--out", "x"], "at least one", id="nothing to learn from"),
        pytest.param(["card", "chset"], "brain, breast, chest", id="no such bundle"),
        pytest.param(["card", "impressions", "--json"], "no card", id="no model of images"),
        pytest.param(
            ["train", "{}", "--out", "x", "--plan", "chset"],
            "brain, breast, chest",
            id="no such plan",
        ),
        pytest.param(
            ["pretrain", "{}", "--out", "x", "--size", "50"], "no multiple of 8", id="size"
        ),
        pytest.param(
            ["pretrain", "--out", "x", "--layout", "{films}"], "neither a MedMNIST", id="no layout"
        ),
        pytest.param(["time", "chest", "{}", "--core", "9999"], "none of those", id="no such core"),
        pytest.param(
            ["study", "markers", "{}", "{}", "--work", "x"],
            "takes one --table",
            id="one table alone",
        ),
        pytest.param(
            ["study", "audits", "{}", "{}", "--work", "x"],
            "takes one --table",
            id="one table alone here too",
        ),
    ],
)
def test_errors_name_the_way_out(words: list[str], said: str, site: Path, films: Path) -> None:
    both = ["--table", str(site), "--images", str(films.parent)]
    typed = [one for word in words for one in (both if word == "{}" else [word])]
    code, text = _models(*(word.format(films=films) for word in typed))
    assert code in (1, 2)
    assert said in " ".join(text.replace("│", " ").split())


def test_a_plan_without_a_key_is_named(site: Path, films: Path, tmp_path: Path) -> None:
    raw = json.loads(json.dumps(tiny_plan().raw))
    del raw["questions"][0]["answers"][0]["positive"]
    plan = tmp_path / "plan.json"
    plan.write_text("\ufeff" + json.dumps(raw), encoding="utf-8")
    words = ("--plan", plan, "--table", site, "--images", films.parent)
    code, text = _models("train", "--out", tmp_path / "made", *words)
    assert code == 1
    assert "has no key 'positive'" in text


def test_the_json_of_a_study_with_a_picture_is_json_alone(films: Path, tmp_path: Path) -> None:
    header, *rows = films.read_text().splitlines()
    held = [row.replace("train", "val") if i >= 120 else row for i, row in enumerate(rows)]
    (tmp_path / "films.csv").write_text("\n".join([header, *held]) + "\n")
    plan, picture = tmp_path / "plan.json", tmp_path / "sweep.png"
    plan.write_text(json.dumps({**tiny_plan().raw, "name": "tiny"}))
    words = ("--plan", plan, "--table", tmp_path / "films.csv", "--images", films.parent)
    asked = (*words, "--work", tmp_path / "work", "--steps", 1, "--picture", picture, "--json")
    done = RUN.invoke(app, ["models", "study", "sweep", *map(str, asked)])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["betas"]) > 1
    assert picture.stat().st_size > 1000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.mark.parametrize(
    ("command", "most"), [("sheet", ["--count", "1"]), ("shap-summary", ["--most", "5"])]
)
def test_what_draws_says_so_to_a_script(
    command: str, most: list[str], tiny: Path, films: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    given = ["--table", films, "--images", films.parent, "--split", "train", *most]
    done = RUN.invoke(app, ["models", command, *map(str, [tiny, *given, "--out", made, "--json"])])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["file"] == str(made)
    assert made.stat().st_size > 0
    assert said["images"]


@pytest.fixture
def site(films: Path, tmp_path: Path) -> Path:
    """Some films of the table to be judged by a bundle; none teaches."""
    header, *rows = films.read_text().splitlines()
    table = tmp_path / "site.csv"
    table.write_text("\n".join([header, *(r.replace("train", "val") for r in rows[:24])]) + "\n")
    return table


def test_films_that_teach_nothing_are_judged_all_the_same(
    tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    """Whoever tests a model on its own films has no `train`: figures, and no trivial bar."""
    scores, found = tmp_path / "s.csv", tmp_path / "e.json"
    words = ("evaluate", tiny, "--table", site, "--images", films.parent)
    code, text = _models(*words, "--scores", scores, "--json", found)
    assert code == 0, text
    assert "children/pneumonia (6/12): AUC" in text
    assert "no trivial bar" in text
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert [row["path"] for row in rows] == [f"{i}.png" for i in range(24)]
    assert set(rows[0]) == {"path", "pneumonia", "gate"}
    evaluation = json.loads(found.read_text())
    assert "gain" not in evaluation["answers"]["adults/pneumonia"]
    code, text = _models(*words, "--strips", 2, "--write-card")
    assert code == 1
    assert "--train-table" in text


def test_a_picture_that_cannot_be_read_is_counted_and_the_others_are_judged(
    tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    shutil.copytree(films.parent, tmp_path / "films")
    (tmp_path / "films" / "1.png").write_bytes(b"no picture")
    (tmp_path / "films" / "6.png").unlink()
    found = {}
    for name, folder in (("whole", films.parent), ("spoilt", tmp_path / "films")):
        scores, file = tmp_path / f"{name}.csv", tmp_path / f"{name}.json"
        words = ("--table", site, "--images", folder, "--scores", scores, "--json", file)
        code, text = _models("evaluate", tiny, *words, "--strips", 2, "--witness-steps", 0)
        assert code == 0, text
        found[name] = (
            list(csv.DictReader(scores.read_text().splitlines())),
            json.loads(file.read_text()),
        )
    (whole, _), (rows, evaluation) = found["whole"], found["spoilt"]
    lost = {"1.png": "no readable picture", "6.png": "not a file of"}
    assert [row["path"] for row in rows] == [row["path"] for row in whole]
    for row, other in zip(rows, whole, strict=True):
        if row["path"] in lost:
            assert row["pneumonia"] == ""
            assert row["gate"].startswith("Not assessed because ")
            assert lost[row["path"]] in row["gate"]
        else:
            assert row == other
    assert evaluation["unreadable"] == 2
    assert evaluation["answers"]["children/pneumonia"]["n"] == 11
    assert evaluation["answers"]["adults/pneumonia"]["n"] == 11
    assert "cannot be read: 2 (they are in no figure above)" in text


def test_where_no_picture_can_be_read_the_folder_is_named(
    tiny: Path, site: Path, tmp_path: Path
) -> None:
    code, text = _models("evaluate", tiny, "--table", site, "--images", tmp_path)
    assert code == 1
    assert f"can be read from {tmp_path}" in " ".join(text.split())


@pytest.mark.parametrize(
    ("splits", "judged"),
    [
        pytest.param(["test"], "test", id="a name of its own"),
        pytest.param([""], "", id="none named"),
        pytest.param(["train", "val", "test"], "test, val", id="all that does not teach"),
        pytest.param(["train"], "train", id="all, where all teach"),
        pytest.param(None, "", id="no column of splits, none of labels"),
    ],
)
def test_which_rows_are_judged_without_a_split(
    splits: list[str] | None, judged: str, tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(site.read_text().splitlines()))
    for number, row in enumerate(rows):
        row["split"] = splits[number % len(splits)] if splits else ""
    with site.open("w", newline="") as out:
        columns = ["path", "split", "labels", "age"] if splits else ["path"]
        writer = csv.DictWriter(out, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    scores, found = tmp_path / "s.csv", tmp_path / "e.json"
    words = ("--table", site, "--images", films.parent, "--scores", scores, "--json", found)
    code, text = _models("evaluate", tiny, *words)
    assert code == 0, text
    assert json.loads(found.read_text())["split"] == judged
    asked = [row["path"] for row in rows if not splits or row["split"] in judged.split(", ")]
    assert [row["path"] for row in csv.DictReader(scores.read_text().splitlines())] == asked
    assert ("says too much" in text) == (judged == "train")


@pytest.mark.parametrize(
    ("where", "copies"),
    [
        pytest.param("one table", 3, id="under another name"),
        pytest.param("two tables", 24, id="in the table that teaches"),
        pytest.param("no train", None, id="nothing to compare with"),
    ],
)
def test_images_that_teach_and_judge_are_counted(
    where: str, copies: int | None, tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    shutil.copytree(films.parent, tmp_path / "films")
    header, *rows = films.read_text().splitlines()
    held = [row.replace("train", "val") for row in rows[120:]]
    for i in range(3):
        shutil.copy(tmp_path / "films" / f"{i}.png", tmp_path / "films" / f"copy{i}.png")
        held.append(f"copy{i}.png,val,Q{i},pneumonia,3")
    both = tmp_path / "both.csv"
    both.write_text("\n".join([header, *rows[:120], *held]))
    words = ["--table", both if where == "one table" else site]
    if where == "two tables":
        words += ["--train-table", films, "--train-images", films.parent]
    words += ["--images", tmp_path / "films", "--json", tmp_path / "e.json"]
    code, text = _models("evaluate", tiny, *words)
    assert code == 0, text
    assert json.loads((tmp_path / "e.json").read_text())["taught"] == copies
    assert ("stand in `train` as well" in text) is bool(copies)


@pytest.mark.parametrize("split", [[], ["--split", "train"]], ids=["all teach", "asked for"])
def test_no_card_is_written_of_rows_that_taught(
    split: list[str], tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    """Films known by heart, beside another table's trivial bar, would clear any."""
    other = tmp_path / "other.csv"
    other.write_text(films.read_text())
    words = ["--table", films, "--images", films.parent, "--train-table", other]
    words += ["--train-images", films.parent, "--strips", "2", "--write-card", *split]
    code, text = _models("evaluate", tiny, *words)
    assert code == 1
    assert "rows that taught nothing" in text


@pytest.mark.parametrize("named", [0, 10, 24])
def test_images_whose_patient_no_table_names_are_counted(
    named: int, tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    rows = list(csv.reader(site.read_text().splitlines()))
    for row in rows[1 + named :]:
        row[2] = ""
    site.write_text("\n".join(map(",".join, rows)))
    words = ("--table", site, "--images", films.parent, "--json", tmp_path / "e.json")
    code, text = _models("evaluate", tiny, *words)
    assert code == 0, text
    assert json.loads((tmp_path / "e.json").read_text())["nameless"] == 24 - named
    assert (f"of {24 - named} of 24 images the tables name no patient" in text) is (named < 24)


def test_labels_that_the_bundle_does_not_know_are_said(
    tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    site.write_text(site.read_text().replace("pneumonia", "Neumonía"), encoding="utf-8")
    words = ("--table", site, "--images", films.parent, "--scores", tmp_path / "s.csv")
    code, text = _models("evaluate", tiny, *words)
    assert code == 0, text
    assert "no figures" in text
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--scores", "{}/no/s.csv"], "does not exist"),
        (["evaluate", "--json", "{}/no/e.json"], "does not exist"),
        (["evaluate", "--json", "{}"], "is a folder"),
        (["sheet", "--out", "{}/no/sheet.png"], "does not exist"),
        (["shap-summary", "--out", "{}/no/page.html"], "does not exist"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_work(
    words: list[str], said: str, site: Path, films: Path, tmp_path: Path
) -> None:
    command, *rest = (word.format(tmp_path) for word in words)
    code, text = _models(command, "chest", "--table", site, "--images", films.parent, *rest)
    assert code == 2
    assert said in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "row", "said"),
    [
        *((command, "nofile.png,{split},X,pneumonia,3", "nofile.png is not a file of")
          for command in ("train", "pretrain", "probe", "sheet", "time")),
        *((command, "1.png,{split},X", ", has 3 cells and the header 5")
          for command in ("train", "pretrain", "evaluate", "probe", "sheet", "time")),
    ],
)  # fmt: skip
def test_a_wrong_table_is_said_in_one_line(
    command: str, row: str, said: str, tiny: Path, site: Path, films: Path, tmp_path: Path
) -> None:
    teaches = command in ("train", "pretrain")
    text = films.read_text() if teaches else site.read_text()
    site.write_text(text + row.format(split="train" if teaches else "val") + "\n")
    bundle = [] if teaches else [tiny]
    out = ["--out", tmp_path / "out.png"] if teaches or command == "sheet" else []
    code, text = _models(command, *bundle, "--table", site, "--images", films.parent, *out)
    assert code == 1
    assert said in text
    assert len(text.strip().splitlines()) == 1
