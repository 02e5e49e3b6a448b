"""Reads labelled images: a CSV and a tar or a folder, as in the shared sets.

Columns used: path, split, patient, labels (joined by |), sex, age, view, note. A label a source
does not know is -1 and is masked in the loss. Patients never cross from fitting to tuning.
Never: the network; a file outside the given tar or folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from processors.training.trivial import TRIVIAL, trivial_statistics
from processors.vae.normalise import Image, network_input

TUNE_PART = 7  # one patient in seven of `train` is kept for choosing and calibrating


@dataclass(frozen=True, slots=True)
class Population:
    """For whom one row of the head speaks: ages in whole years, both ends included."""

    name: str
    low: int
    high: int
    positive: tuple[str, ...] = ("pneumonia",)
    negative: tuple[str, ...] = ("normal", "no_finding")

    def target(self, labels: Sequence[str], age: float | None) -> int:
        """1, 0, or -1 when the labels do not decide it or the age lies outside."""
        if age is not None and not self.low <= age < self.high + 1:
            return -1
        if any(label in self.positive for label in labels):
            return 1
        return 0 if labels and all(label in self.negative for label in labels) else -1


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a table; population: its index, or -1 when none fits."""

    path: str
    split: str
    patient: str
    population: int
    target: int
    sex: str = ""
    age: float | None = None
    view: str = ""
    note: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Samples, their network inputs uint8 (n, size, size) and trivial statistics (n, k)."""

    samples: tuple[Sample, ...]
    inputs: NDArray[np.uint8]
    trivial: NDArray[np.float32]

    def where(self, keep: Sequence[bool] | NDArray[np.bool_]) -> ImageSet:
        index = np.flatnonzero(np.asarray(keep))
        chosen = tuple(self.samples[i] for i in index)
        return replace(self, samples=chosen, inputs=self.inputs[index], trivial=self.trivial[index])

    @property
    def targets(self) -> NDArray[np.int64]:
        return np.array([s.target for s in self.samples])

    @property
    def populations(self) -> NDArray[np.int64]:
        return np.array([s.population for s in self.samples])


def is_tuning(patient: str) -> bool:
    """Whether this patient's training films choose and calibrate instead of fitting."""
    digest = hashlib.sha256(patient.encode()).digest()
    return int.from_bytes(digest[:8]) % TUNE_PART == 0


def _age(text: str) -> float | None:
    return float(text) if text.strip() else None


def read_table(table: Path, populations: Sequence[Population]) -> tuple[Sample, ...]:
    """The samples of a table. A row belongs to the population whose age range holds its age;
    without an age to the one that knows its negative label or, failing that, the first."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {label for row in rows for label in row["labels"].split("|")}
    guess = next(
        (i for i, p in enumerate(populations) if p.negative[0] in known and _ageless(rows, p)), 0
    )
    return tuple(_sample(row, populations, guess) for row in rows)


def _ageless(rows: Sequence[dict[str, str]], population: Population) -> bool:
    ages = [float(r["age"]) for r in rows if r.get("age", "").strip()]
    return not ages or any(population.low <= a < population.high + 1 for a in ages)


def _sample(row: dict[str, str], populations: Sequence[Population], guess: int) -> Sample:
    labels = tuple(label for label in row["labels"].split("|") if label)
    age = _age(row.get("age", ""))
    fits = [i for i, p in enumerate(populations) if age is None or p.low <= age < p.high + 1]
    own = guess if age is None else (fits[0] if fits else -1)
    return Sample(
        path=row["path"],
        split=row["split"],
        patient=row.get("patient") or row["path"],
        population=own,
        target=populations[own].target(labels, age) if own >= 0 else -1,
        sex=row.get("sex", ""),
        age=age,
        view=row.get("view", ""),
        note=row.get("note", ""),
        source=row.get("source", ""),
        licence=row.get("licence", ""),
    )


def _open_folder(folder: Path, paths: Sequence[str]) -> Iterator[bytes]:
    root = folder.resolve()
    for path in paths:
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise ValueError(f"{path} lies outside {folder}")
        yield file.read_bytes()


def _open_tar(archive: Path, paths: Sequence[str]) -> Iterator[bytes]:
    with tarfile.open(archive) as tar:
        for path in paths:
            member = tar.extractfile(path)
            if member is None:
                raise ValueError(f"{path} is not a file of {archive.name}")
            yield member.read()


def read_images(source: Path, paths: Sequence[str]) -> Iterator[Image]:
    """Grey float images 0..1, one per path, in order."""
    opened = _open_folder(source, paths) if source.is_dir() else _open_tar(source, paths)
    for data in opened:
        grey = Picture.open(io.BytesIO(data)).convert("L")
        yield np.asarray(grey, dtype=np.float32) / np.float32(255)


def load(
    table: Path, images: Path, populations: Sequence[Population], size: int, split: str = ""
) -> ImageSet:
    """Everything of one table, or of one split of it, ready for the network."""
    samples = tuple(s for s in read_table(table, populations) if split in ("", s.split))
    inputs = np.zeros((len(samples), size, size), np.uint8)
    trivial = np.zeros((len(samples), TRIVIAL), np.float32)
    for i, image in enumerate(read_images(images, [s.path for s in samples])):
        inputs[i] = np.rint(network_input(image, size)[0] * 255)
        trivial[i] = trivial_statistics(image)
    return ImageSet(samples, inputs, trivial)


def join(parts: Sequence[ImageSet]) -> ImageSet:
    """Several sets as one."""
    samples = tuple(s for part in parts for s in part.samples)
    inputs = np.concatenate([p.inputs for p in parts])
    return ImageSet(samples, inputs, np.concatenate([p.trivial for p in parts]))
