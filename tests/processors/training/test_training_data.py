"""Reading labelled films: who belongs where, and what is unknown."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from processors.training.data import Question, Sample, is_tuning, load, read_images, read_table
from processors.training.places import box_mask, place_of
from processors.training.plan import PlanError
from processors.training.trivial import trivial_statistics

ILL = ("pneumonia",), (("pneumonia",),)
CHILDREN = Question("children", 1, 5, *ILL, negative=("normal",))
ADULTS = Question("adults", 18, 120, *ILL, negative=("no_finding",))
BOTH = (CHILDREN, ADULTS)
TUMOURS = Question(
    "tumour", 0, 120, ("glioma", "other"), (("glioma",), ("meningioma", "pituitary"))
)
COLUMNS = ("path", "split", "patient", "labels", "sex", "age", "view", "note", "boxes")


def _table(folder: Path, rows: list[dict[str, str]]) -> Path:
    file = folder / "films.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.mark.parametrize(
    ("labels", "age", "group", "targets"),
    [
        pytest.param("pneumonia|viral", "3", 0, (0, -1), id="child, ill"),
        pytest.param("normal", "5.5", 0, (1, -1), id="still five"),
        pytest.param("pneumonia", "6", -1, (-1, -1), id="six: nobody's"),
        pytest.param("no_finding", "17", -1, (-1, -1), id="minor"),
        pytest.param("infiltration|pneumonia", "18", 1, (-1, 0), id="adult, ill"),
        pytest.param("no_finding", "80", 1, (-1, 1), id="adult, well"),
        pytest.param("effusion", "80", 1, (-1, -1), id="other finding: unknown"),
        pytest.param("", "80", 1, (-1, -1), id="no label"),
        pytest.param("Pneumonia", "80", 1, (-1, 0), id="in capitals"),
        pytest.param("No_Finding", "", 1, (-1, 1), id="in capitals, without an age"),
        pytest.param("no_finding", "early 40", 1, (-1, 1), id="words for an age: as without one"),
    ],
)
def test_labels(
    tmp_path: Path, labels: str, age: str, group: int, targets: tuple[int, ...]
) -> None:
    row = {"path": "a.png", "split": "train", "patient": "P", "labels": labels, "age": age}
    (sample,) = read_table(_table(tmp_path, [row]), BOTH)
    assert (sample.group, sample.targets) == (group, targets)


@pytest.mark.parametrize(
    ("labels", "target"),
    [
        pytest.param("glioma", 0, id="first answer"),
        pytest.param("pituitary", 1, id="one of two labels of the second"),
        pytest.param("no_tumour", -1, id="no such answer: unknown"),
    ],
)
def test_a_question_without_no_finding(labels: str, target: int) -> None:
    assert TUMOURS.target(labels.split("|")) == target
    assert (TUMOURS.none, TUMOURS.classes) == (False, 2)
    assert (CHILDREN.none, CHILDREN.classes) == (True, 2)


def test_boxes_become_a_mask_on_the_network_s_grid(tmp_path: Path) -> None:
    row = {"path": "a.png", "split": "train", "labels": "glioma", "boxes": "10,20,5,10;0,0,1,1"}
    (sample,) = read_table(_table(tmp_path, [row]), (TUMOURS,))
    found = box_mask(sample, (40, 20), 20)  # rows, columns: twice, once the grid
    assert found[10:15, 10:15].all()
    assert found[0, 0]
    assert found.sum() == 26


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        pytest.param((10, 20, 10, 20), True, id="to the edge"),
        pytest.param((10, 20, 10.6, 20), True, id="rounded beyond it"),
        pytest.param((50, 100, 10, 20), False, id="of the picture before it was made smaller"),
        pytest.param((0, 0, 30, 10), False, id="too wide"),
    ],
)
def test_a_box_of_another_picture_is_named(box: tuple[float, ...], fits: bool) -> None:
    sample = Sample("a.png", "train", "P", (0,), boxes=(box,))
    if fits:
        assert box_mask(sample, (40, 20), 20).any()
        return
    with pytest.raises(ValueError, match=r"a\.png has 20 x 40 pixels.*as it is shown"):
        box_mask(sample, (40, 20), 20)


@pytest.mark.parametrize("drawn", [1, 255])
def test_a_mask_is_what_is_not_black_in_it(drawn: int, tmp_path: Path) -> None:
    """Many are saved as 0 and 1, which is black to the eye."""
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = drawn
    for name in ("a.png", "m.png"):
        Image.fromarray(mask).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("path,split,labels,mask\na.png,train,glioma,m.png\n")
    images = load(tmp_path / "t.csv", tmp_path, (TUMOURS,), 40, place=place_of({"boxes": 1.0}, 40))
    np.testing.assert_array_equal(images.places[0], mask > 0)


@pytest.mark.parametrize(("share", "used"), [(0.0, 0), (0.2, 20), (1.0, 100)])
def test_a_share_of_the_boxes_is_used_and_always_the_same(share: float, used: int) -> None:
    place = place_of({"boxes": share}, 8)
    assert place is not None
    seen = np.zeros((8, 8), np.float32)
    samples = [Sample(f"{i}.png", "train", "P", (0,), boxes=((0, 0, 4, 4),)) for i in range(100)]
    counts = [sum(place(s, (8, 8), None, seen).any() for s in samples) for _ in range(2)]
    assert counts[0] == counts[1]
    assert abs(counts[0] - used) <= 8


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(PlanError, match="lungs"):
        place_of({"field": "lungs"}, 8)


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("path,split\na.png,train\n")
    with pytest.raises(ValueError, match="labels"):
        read_table(tmp_path / "films.csv", BOTH)


def test_a_table_without_ages_belongs_to_whose_normal_it_names(tmp_path: Path) -> None:
    rows = [
        {"path": "a.png", "split": "train", "patient": "P", "labels": "normal"},
        {"path": "b.png", "split": "train", "patient": "Q", "labels": "pneumonia"},
    ]
    assert [s.group for s in read_table(_table(tmp_path, rows), BOTH)] == [0, 0]


def test_one_patient_is_on_one_side() -> None:
    sides = {is_tuning("P17") for _ in range(3)}
    assert len(sides) == 1
    assert 0.1 < np.mean([is_tuning(f"P{i}") for i in range(2000)]) < 0.19


def _png(seed: int) -> bytes:
    out = io.BytesIO()
    grey = np.random.default_rng(seed).integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(grey).save(out, "PNG")
    return out.getvalue()


def test_tar_and_folder_read_the_same(tmp_path: Path) -> None:
    names = ["set/b.png", "set/a.png"]
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "films.tar", "w") as tar:
        for seed, name in enumerate(names):
            (tmp_path / name).write_bytes(_png(seed))
            tar.add(tmp_path / name, name)
    from_tar = list(read_images(tmp_path / "films.tar", names))
    from_folder = list(read_images(tmp_path, names))
    for one, other in zip(from_tar, from_folder, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_path_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(_png(0))
    with pytest.raises(ValueError, match="outside"):
        list(read_images(tmp_path / "in", ["../secret.png"]))


def test_a_tar_of_a_whole_folder_is_read(tmp_path: Path) -> None:
    """`tar -C films -cf films.tar .` names its members ./a.png."""
    (tmp_path / "a.png").write_bytes(_png(0))
    with tarfile.open(tmp_path / "films.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "./a.png")
    (picture,) = read_images(tmp_path / "films.tar", ["a.png"])
    assert picture.shape == (40, 30)


@pytest.mark.parametrize(("kind", "end"), [("films.tar", 700), ("films.tar.gz", 60), ("a.png", -1)])
def test_what_is_no_whole_tar_is_named(tmp_path: Path, kind: str, end: int) -> None:
    (tmp_path / "a.png").write_bytes(_png(0))
    if kind != "a.png":
        with tarfile.open(tmp_path / kind, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(tmp_path / "a.png", "a.png")
        (tmp_path / kind).write_bytes((tmp_path / kind).read_bytes()[:end])
    with pytest.raises(ValueError, match=kind):
        list(read_images(tmp_path / kind, ["a.png"]))


@pytest.mark.parametrize("name", ["b.png", "set"])
def test_a_path_that_the_folder_lacks_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=f"{name} is not a file of"):
        list(read_images(tmp_path, [name]))


@pytest.mark.parametrize(
    ("kind", "most"), [("png", 4095), ("png", 65535), ("tiff", 0.3), ("tiff", 2e4)]
)
def test_more_than_eight_bits_are_shown_whole(tmp_path: Path, kind: str, most: float) -> None:
    """Twelve bits in a PNG of sixteen, as a site exports its films: neither white nor black."""
    shown = np.linspace(0, 1, 1200, dtype=np.float32).reshape(40, 30)
    deep = np.rint(shown * most).astype(np.uint16) if kind == "png" else shown * np.float32(most)
    Image.fromarray(deep).save(tmp_path / f"a.{kind}")
    (picture,) = read_images(tmp_path, [f"a.{kind}"])
    np.testing.assert_allclose(picture, shown, atol=1e-3)


def test_a_path_that_the_tar_lacks_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "films.tar", "w"):
        pass
    with pytest.raises(ValueError, match=r"a\.png"):
        list(read_images(tmp_path / "films.tar", ["a.png"]))


def test_load(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(0))
    row = {"path": "a.png", "split": "val", "patient": "P", "labels": "normal", "age": "2"}
    images = load(_table(tmp_path, [row]), tmp_path, BOTH, 32)
    assert images.inputs.shape == (1, 32, 32)
    assert images.trivial.shape == (1, 15)
    assert np.isfinite(images.trivial).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_the_smallest_pictures_have_statistics(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert np.isfinite(trivial_statistics(picture)).all()


def _dicom(file: Path, pixels: np.ndarray) -> None:
    """MONOCHROME1: what is dark in the file is bright on a screen."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3"
    made.Modality, made.PhotometricInterpretation = "DX", "MONOCHROME1"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PixelRepresentation = 1, 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelData = (255 - pixels).tobytes()
    made.save_as(file, enforce_file_format=True)


def test_dicom_files_are_read_as_the_node_reads_them(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    _dicom(tmp_path / "a.dcm", pixels)
    picture, film = read_images(tmp_path, ["a.png", "a.dcm"])
    np.testing.assert_allclose(film, picture, atol=0.01)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no picture", id="words"),
        pytest.param(bytes(128) + b"DICM" + bytes(40), id="a DICOM file of zeros"),
        pytest.param(_png(0)[:20] + b"\xff\xff\xff\xff" + _png(0)[24:], id="a giant by its word"),
        pytest.param(_png(0)[:60], id="cut"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), id="a PNG of zeros"),
    ],
)
def test_an_unreadable_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.dcm").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.dcm"):
        list(read_images(tmp_path, ["bad.dcm"]))
