"""`dictamen models` as a person types it: cards, pre-training, training from it, clear errors."""

from __future__ import annotations

import csv
import json
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
    plan, start, made = (tmp_path / n for n in ("plan.json", "start.safetensors", "bundle"))
    plan.write_text(json.dumps({**tiny_plan().raw, "name": "tiny", "widths": "S"}))
    table = ("--table", films, "--images", films.parent)
    code, text = _models("pretrain", "--out", start, *table, "--unlabelled", "films",
                         "--size", "32", "--channels", "4", "--steps", "2")  # fmt: skip
    assert code == 0, text
    code, text = _models("train", "--out", made, *table, "--plan", plan, "--start", start)
    assert code == 0, text
    assert open_bundle(str(made), "cpu").card["channels"] == 4
    other = ("--plan", plan, "--start", made / "models" / "donors.npz")
    code, text = _models("train", "--out", tmp_path / "again", *table, *other)
    assert code == 1
    assert "no weights to start from" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["pretrain", "--out", "x"], "at least one", id="nothing to learn from"),
        pytest.param(["card", "chset"], "chset", id="no such bundle"),
    ],
)
def test_errors_name_the_way_out(words: list[str], said: str) -> None:
    code, text = _models(*words)
    assert code in (1, 2)
    assert said in text


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
