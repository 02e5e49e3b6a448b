"""Reads labelled images: a CSV and a tar or a folder of PNG, JPEG or DICOM files.

Columns used: path, split, patient, labels (joined by |), sex, age, view, boxes, mask, note,
source, licence, geometry. A
question that a source cannot answer is -1 and is masked in the loss. Patients never cross from
fitting to tuning.
Never: the network; a file outside the given tar or folder; a row whose picture cannot be read and
of which nobody hears.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageOps
from pydicom import dcmread

from processors.pixels import render
from processors.training.table import NEEDED, Line, read_lines
from processors.training.trivial import trivial_statistics
from processors.training.twins import erased, twins
from processors.vae.normalise import Image, network_input

TUNE_PART = 7  # one patient in seven of `train` is kept for choosing and calibrating

UNKNOWN = -1
DEEP = ("I", "F")  # modes of Pillow with more than 8 bits


def _plain(labels: Iterable[str]) -> frozenset[str]:
    return frozenset(label.casefold() for label in labels)


@dataclass(frozen=True, slots=True)
class Question:
    """What one softmax answers, and for whom: ages in whole years, both ends included.

    answers: of each the labels that mean it. negative: the labels that all mean "no finding";
    without any the question has no such answer.
    """

    name: str
    low: int
    high: int
    labels: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    negative: tuple[str, ...] = ()

    @property
    def none(self) -> bool:
        return bool(self.negative)

    @property
    def classes(self) -> int:
        return len(self.answers) + self.none

    def fits(self, age: float | None) -> bool:
        return age is None or self.low <= age < self.high + 1

    def target(self, labels: Sequence[str]) -> int:
        """The number of the answer, that of "no finding" after the last, or UNKNOWN. Capitals make
        no other label."""
        found = _plain(labels)
        for number, meant in enumerate(self.answers):
            if found & _plain(meant):
                return number
        return len(self.answers) if found and found <= _plain(self.negative) else UNKNOWN


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a table; targets: per question. group: the first question that fits its age."""

    path: str
    split: str
    patient: str
    targets: tuple[int, ...]
    group: int = 0
    labels: tuple[str, ...] = ()
    sex: str = ""
    age: float | None = None
    view: str = ""
    note: str = ""
    source: str = ""
    licence: str = ""
    boxes: tuple[tuple[float, ...], ...] = ()
    mask: str = ""
    geometry: str = ""

    @property
    def nameless(self) -> bool:
        """Whether the table names no patient: the image counts as a patient of its own."""
        return self.patient == self.path.partition("#")[0]  # a twin has a word behind it


class Unreadable(ValueError):
    """The picture of one row is not there, or is none."""


# sample, (rows, columns), its mask, the network's input -> bool (size, size)
Place = Callable[[Sample, tuple[int, ...], Image | None, Image], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Samples, their network inputs uint8 (n, size, size), trivial statistics (n, k), and places
    bool (n, size, size): where the evidence of a finding may lie; all False where unknown."""

    samples: tuple[Sample, ...]
    inputs: NDArray[np.uint8]
    trivial: NDArray[np.float32]
    places: NDArray[np.bool_]

    def where(self, keep: Sequence[bool] | NDArray[np.bool_]) -> ImageSet:
        index = np.flatnonzero(np.asarray(keep))
        chosen = tuple(self.samples[i] for i in index)
        arrays = (self.inputs[index], self.trivial[index], self.places[index])
        return ImageSet(chosen, *arrays)

    @property
    def targets(self) -> NDArray[np.int64]:
        """(n, questions)."""
        return np.array([s.targets for s in self.samples], dtype=np.int64)

    def answers(self, question: int) -> NDArray[np.int64]:
        """(n,): the target of one question."""
        return np.array([s.targets[question] for s in self.samples], dtype=np.int64)

    @property
    def groups(self) -> NDArray[np.int64]:
        return np.array([s.group for s in self.samples], dtype=np.int64)


def is_tuning(patient: str) -> bool:
    """Whether this patient's training films choose and calibrate instead of fitting."""
    digest = hashlib.sha256(patient.encode()).digest()
    return int.from_bytes(digest[:8]) % TUNE_PART == 0


def read_table(
    table: Path, questions: Sequence[Question], needed: Sequence[str] = NEEDED
) -> tuple[Sample, ...]:
    """The samples of a table with these columns. A row without age belongs to the questions whose
    labels its table knows; failing that to the first. Raises ValueError, as `read_lines` does."""
    lines = read_lines(table, needed)
    known = _plain(label for line in lines for label in line.labels)
    ageless = [q for q in questions if known & _plain(q.negative) and _has_ages(lines, q)]
    return tuple(_sample(line, questions, ageless or questions[:1]) for line in lines)


def _has_ages(lines: Sequence[Line], question: Question) -> bool:
    ages = [line.age for line in lines if line.age is not None]
    return not ages or any(question.fits(age) for age in ages)


def _sample(line: Line, questions: Sequence[Question], ageless: Sequence[Question]) -> Sample:
    age = line.age
    asked = [q.fits(age) if age is not None else q in ageless for q in questions]
    return Sample(
        path=line.get("path"),
        split=line.get("split"),
        patient=line.get("patient") or line.get("path"),
        targets=tuple(
            q.target(line.labels) if fits else UNKNOWN
            for q, fits in zip(questions, asked, strict=True)
        ),
        group=asked.index(True) if any(asked) else UNKNOWN,
        labels=line.labels,
        sex=line.get("sex"),
        age=age,
        view=line.get("view"),
        note=line.get("note"),
        source=line.get("source"),
        licence=line.get("licence"),
        boxes=line.boxes,
        mask=line.get("mask"),
        geometry=line.get("geometry"),
    )


def _open_folder(folder: Path, paths: Sequence[str]) -> Iterator[bytes | Unreadable]:
    root = folder.resolve()
    for path in paths:
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise ValueError(f"{path} lies outside {folder}")
        there = file.is_file()
        yield file.read_bytes() if there else Unreadable(f"{path} is not a file of {folder}")


def _open_tar(archive: Path, paths: Sequence[str]) -> Iterator[bytes | Unreadable]:
    try:
        with tarfile.open(archive) as tar:
            # `tar -C films -c .` writes ./a.png
            members = {one.name.removeprefix("./"): one for one in tar.getmembers()}
            for path in paths:
                held = members.get(path.removeprefix("./"))
                opened = tar.extractfile(held) if held else None
                missing = Unreadable(f"{path} is not a file of {archive}")
                yield opened.read() if opened else missing
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} is neither a folder nor a whole tar: {error}") from error


def read_images(source: Path, paths: Sequence[str]) -> Iterator[Image]:
    """Grey float images 0..1, one per path, in order; of DICOM files the first frame.

    Raises Unreadable, naming the file, for what is not there or no picture; ValueError for a
    source that is none.
    """
    for found in tried_images(source, paths):
        if isinstance(found, Unreadable):
            raise found
        yield found


def tried_images(source: Path, paths: Sequence[str]) -> Iterator[Image | Unreadable]:
    """As `read_images`, and what is wrong with a file in its place."""
    opened = _open_folder(source, paths) if source.is_dir() else _open_tar(source, paths)
    for path, data in zip(paths, opened, strict=True):
        yield data if isinstance(data, Unreadable) else _tried(path, source, data)


def _tried(path: str, source: Path, data: bytes) -> Image | Unreadable:
    try:
        return _rendered(data) if data[128:132] == b"DICM" else _picture(data)
    except Exception as error:  # noqa: BLE001 - damaged files raise many kinds
        return Unreadable(f"{path} of {source} is no readable picture: {error}")


def _ends(error: Unreadable) -> None:
    raise error


def _picture(data: bytes) -> Image:
    """As a viewer shows it, turned as its file says (EXIF). More than 8 bits are shown from the
    darkest to the brightest that the picture has, as of a DICOM file without a window: how many of
    16 bits are used, no PNG says."""
    opened = ImageOps.exif_transpose(Picture.open(io.BytesIO(data)))
    if not opened.mode.startswith(DEEP):
        return np.asarray(opened.convert("L"), dtype=np.float32) / np.float32(255)
    values = np.array(opened, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("not every value is a number")
    values -= values.min()
    brightest = values.max()
    return np.asarray(values / (brightest if brightest > 0 else 1), dtype=np.float32)


def _rendered(data: bytes) -> Image:
    """As the node shows it: the same room reads the pixels."""
    return np.asarray(render(dcmread(io.BytesIO(data))), dtype=np.float32)


def load(
    table: Path,
    images: Path,
    questions: Sequence[Question],
    size: int,
    split: str | frozenset[str] = "",
    place: Place | None = None,
    twin: bool = False,
    needed: Sequence[str] = NEEDED,
    unreadable: Callable[[Unreadable], None] = _ends,
) -> ImageSet:
    """Everything of one table, or of one split or several of it, ready for the network.

    twin: boxed images of heads are followed by their twins, with and without a tumour. unreadable:
    hears of a row whose picture cannot be read; what does not raise leaves it out.
    """
    splits = frozenset({split}) if isinstance(split, str) else split
    rows = tuple(
        s for s in read_table(table, questions, needed) if split == "" or s.split in splits
    )
    masks = _masks(images, rows) if place else {}
    samples: list[Sample] = []
    inputs: list[NDArray[np.uint8]] = []
    trivial: list[NDArray[np.float32]] = []
    places: list[NDArray[np.bool_]] = []
    for row, picture in zip(rows, tried_images(images, [s.path for s in rows]), strict=True):
        if isinstance(picture, Unreadable):
            unreadable(picture)
            continue
        for sample, image in _with_twins(row, picture, questions) if twin else ((row, picture),):
            seen = network_input(image, size)[0]
            samples.append(sample)
            inputs.append(np.rint(seen * 255).astype(np.uint8))
            trivial.append(trivial_statistics(image))
            mask = masks.get(sample.mask)
            places.append(
                place(sample, image.shape, mask, seen) if place else np.zeros((size, size), bool)
            )
    if rows and not samples:
        raise ValueError(f"no picture that {table} names can be read from {images}")
    if not samples:
        raise ValueError(f"{table} has no row of the split {', '.join(map(repr, sorted(splits)))}")
    return ImageSet(tuple(samples), np.stack(inputs), np.stack(trivial), np.stack(places))


def _with_twins(
    sample: Sample, image: Image, questions: Sequence[Question]
) -> Iterator[tuple[Sample, Image]]:
    """The image; then, as far as they can be made, its twins: without the finding and with it
    twice; of images that fit also the finding erased and an equal place erased.

    A mask knows one of two findings alone: boxes say where they are.
    """
    yield sample, image
    none = tuple(
        len(q.answers) if q.none and target >= 0 else UNKNOWN
        for q, target in zip(questions, sample.targets, strict=True)
    )
    path = sample.path
    healthy = replace(sample, targets=none, boxes=(), mask="")
    if made := twins(image, sample.boxes):
        yield replace(healthy, path=f"{path}#without"), made.without
        yield replace(sample, path=f"{path}#two", boxes=made.boxes, mask=""), made.with_two
    if is_tuning(sample.patient):  # calibrated on so many synthetic ones, thresholds would rise
        return
    lots = np.random.default_rng(zlib.crc32(path.encode()))
    if filled := erased(image, sample.boxes, lots):
        yield replace(healthy, path=f"{path}#erased"), filled.without
        yield replace(sample, path=f"{path}#beside", mask=""), filled.beside


def _masks(images: Path, samples: Sequence[Sample]) -> dict[str, Image]:
    paths = sorted({s.mask for s in samples if s.mask})
    return dict(zip(paths, read_images(images, paths), strict=True))


def join(parts: Sequence[ImageSet]) -> ImageSet:
    """Several sets as one."""
    samples = tuple(s for part in parts for s in part.samples)
    inputs = np.concatenate([p.inputs for p in parts])
    trivial = np.concatenate([p.trivial for p in parts])
    return ImageSet(samples, inputs, trivial, np.concatenate([p.places for p in parts]))


def licences_of(images: ImageSet) -> list[str]:
    """Each source with its licence, once; what a card and every later bundle must name."""
    known = [s for s in images.samples if s.source or s.licence]
    return sorted({f"{s.source.split(' via ')[0]}: {s.licence}" for s in known})
