"""The sheet for the eye: which images stand on it, what is said of them, how it is drawn."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import tiny_images

from processors.analysis import Explanation
from processors.runtime import Bundle, open_bundle
from processors.training.data import ImageSet
from processors.training.studies import command, sheet, sheet_drawing
from reports.lettering import font


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    return open_bundle(str(tiny_folder), "cpu")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return tiny_images(24)


def _called(bundle: Bundle, low: float, high: float) -> Bundle:
    """The bundle with this undetermined band for all answers."""
    changed = {"band": [low, high], "threshold": high}
    questions = [
        {**q, "answers": [{**a, **changed} for a in q["answers"]]} for q in bundle.card["questions"]
    ]
    card = {**bundle.card, "questions": questions}
    return replace(bundle, metadata={**bundle.metadata, "dictamen": card})


def _table(folder: Path, images: ImageSet) -> tuple[Path, Path]:
    """The tiny images as files with their table; the last one has a label that nothing means."""
    table, known = folder / "films.csv", {(0, -1): 3, (1, -1): 3, (-1, 0): 50, (-1, 1): 50}
    with table.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "labels", "age", "boxes"])
        for i, (sample, pixels) in enumerate(zip(images.samples, images.inputs, strict=True)):
            Image.fromarray(pixels).save(folder / f"{i}.png")
            negative = "normal" if known[sample.targets] == 3 else "no_finding"
            label = "pneumonia" if 0 in sample.targets else negative
            last = i == len(images.samples) - 1
            named = "hernia" if last else label
            boxes = "8,10,8,12" if label == "pneumonia" else ""
            writer.writerow([f"{i}.png", "val", named, known[sample.targets], boxes])
    return table, folder


def _drawn(
    bundle: Bundle, place: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> list[sheet_drawing.Group]:
    """The groups of the sheet that would be drawn of two images of each answer."""
    seen: list[sheet_drawing.Group] = []
    draw: Callable[..., Image.Image] = sheet_drawing.draw

    def kept(title: str, legend: Any, groups: Any, letters: Any) -> Image.Image:
        seen.extend(groups)
        return draw(title, legend, groups, letters)

    monkeypatch.setattr(sheet, "draw", kept)
    rows = sheet.sheet(bundle, [_table(place, images)], "val", 2, place / "out.png", font)
    assert rows == sum(len(group.rows) for group in seen)
    return seen


def test_the_sheet_has_every_answer_and_every_frame(
    bundle: Bundle, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = _drawn(_called(bundle, 0, 0), tmp_path, images, monkeypatch)
    assert [(g.heading.split(",")[0], len(g.rows)) for g in groups] == [
        ("adults: pneumonia", 2),
        ("adults: none", 2),
        ("children: pneumonia", 2),
        ("children: none", 2),
        ("no question is asked (age or label)", 1),
    ]
    assert all(len(row.panels) == 9 for group in groups for row in group.rows)
    marked = [len(row.panels[0].outlines) for row in groups[0].rows + groups[1].rows]
    assert marked == [1, 1, 0, 0]  # the tables' boxes; the tiny card names no organ
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width == sheet_drawing.SAID + 9 * sheet_drawing.STEP


def test_what_the_node_withholds_is_said_and_framed(
    bundle: Bundle, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A band at 0: no last frame can be called absent, so that no strip may be shown."""
    groups = _drawn(_called(bundle, 0, 0), tmp_path, images, monkeypatch)
    row = groups[0].rows[0]
    assert any("strip withheld: the last frame" in text for text, _ in row.said)
    assert [panel.withheld for panel in row.panels] == [False] * 2 + [True] * 7


def test_nothing_is_drawn_of_what_is_absent(
    bundle: Bundle, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A band at 1: no ill image is called present, so that none is on the sheet."""
    groups = _drawn(_called(bundle, 1, 1), tmp_path, images, monkeypatch)
    assert [len(group.rows) for group in groups] == [0, 2, 0, 2, 1]
    row = groups[1].rows[0]
    assert len(row.panels) == 2
    assert not row.panels[1].outlines
    assert any("no outline and no strip" in text for text, _ in row.said)


@pytest.mark.parametrize(
    ("shown", "said"), [(True, "strip shown"), (False, "strip withheld: too far")]
)
def test_the_fate_of_a_strip_is_named(shown: bool, said: str) -> None:
    reason = "" if shown else "too far"
    strip = Explanation("x", "1", "traversal", (), None, (), shown, reason)
    assert sheet._fate(strip)[0] == said


def test_a_framed_picture_differs_from_a_shown_one_at_its_border_alone() -> None:
    pixels = np.full((64, 48), 128, np.uint8)
    plain, framed = (
        np.asarray(sheet_drawing._picture(sheet_drawing.Panel(pixels, withheld=held)))
        for held in (False, True)
    )
    assert plain.shape == (168, 126, 3)
    differs = (plain != framed).any(-1)
    assert differs[0].all()
    assert not differs[4:-4, 4:-4].any()


def test_contours_are_where_the_mask_is() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:4, 10:15] = True
    (line,) = sheet.contours(mask)
    np.testing.assert_allclose(line.min(0), [10 / 20, 2 / 10])
    np.testing.assert_allclose(line.max(0), [15 / 20, 4 / 10])


def test_a_split_that_no_row_has_is_an_error(
    bundle: Bundle, images: ImageSet, tmp_path: Path
) -> None:
    table, folder = _table(tmp_path, images)
    with pytest.raises(ValueError, match="no row of the split"):
        sheet.sheet(bundle, [(table, folder)], "other", 2, tmp_path / "out.png", font)


def test_several_tables_stand_on_one_sheet(
    bundle: Bundle, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children in one table, adults in another, their files under the same names."""
    group = np.array([s.targets[0] >= 0 for s in images.samples])
    sources = []
    for name, keep in (("children", group), ("adults", ~group)):
        (tmp_path / name).mkdir()
        sources.append(_table(tmp_path / name, images.where(keep)))
    seen: list[sheet_drawing.Group] = []
    drawn = sheet_drawing.draw

    def kept(title: str, legend: Any, groups: Any, letters: Any) -> Image.Image:
        seen.extend(groups)
        assert "films.csv, films.csv, split val" in title
        return drawn(title, legend, groups, letters)

    monkeypatch.setattr(sheet, "draw", kept)
    told: list[str] = []
    asked = (_called(bundle, 0, 0), sources, "val", 2, tmp_path / "out.png", font, told.append)
    assert sheet.sheet(*asked) == 2 * (2 + 2) + 2
    assert [group.heading.split(",")[0] for group in seen] == [
        "adults: pneumonia",
        "adults: none",
        "children: pneumonia",
        "children: none",
        "no question is asked (age or label)",
    ]
    by_hand = {0: images.where(group), 1: images.where(~group)}
    tables = sheet._Tables(bundle, sources)
    entries = [sheet._Entry(replace(images.samples[0], path=f"{i}.png"), t)
               for i, t in ((3, 1), (0, 0), (1, 1))]  # fmt: skip
    for entry, pixels in zip(entries, tables.pixels(entries), strict=True):
        own = by_hand[entry.source].inputs[int(entry.sample.path[:-4])]
        np.testing.assert_array_equal(np.rint(pixels * 255), own)
    assert told
    assert all(one.startswith("films: ") for one in told)


def test_the_commands_open_read_and_say_what_was_judged(
    tiny_folder: Path, images: ImageSet, tmp_path: Path
) -> None:
    source = _table(tmp_path, images)
    found = command.study_erased(str(tiny_folder), [source], "val", 4)
    assert (found["split"], len(found["sha256"])) == ("val", 64)
    assert found["n"] == 4 * 4
    rows = command.write_sheet(str(tiny_folder), [source], "val", 1, tmp_path / "out.png", font)
    assert rows >= 5  # two without a finding of each question, one whose label nothing means
    assert (tmp_path / "out.png").is_file()
