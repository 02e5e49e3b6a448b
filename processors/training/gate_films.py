"""Films for the gate: what is read, what becomes of it in training, and what must be refused.

In: the shared sets of images (`<set>.tar` with `<set>.csv`). Out: 96-pixel squares with a class.
Every class goes through the same changes (blur, coarse pixels, gamma, windows, noise, margins,
marks, small turns and crops), so that sharpness, border, exposure and shape tell nothing. What no
set holds is made from accepted films: turned, inverted, cut out, put together wrongly.
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from processors.gate._picture import SIDE, resized, without_margins
from processors.training.gate_lessons import Lesson
from processors.training.gate_phantoms import STORED, cut_out, junk, limb, shuffled


@dataclass(frozen=True, slots=True)
class Film:
    """One image of a set, brought to (STORED, STORED) float32 in 0..1."""

    pixels: NDArray[np.float32]
    kind: str  # accepted | lateral | other | unjudged
    source: str
    patient: str
    split: str
    licence: str


def read_films(images: Path, lesson: Lesson) -> list[Film]:
    """All films of the sets that the gate of an organ learns from."""
    return [
        Film(
            pixels=resized(without_margins(grey), STORED),
            kind=kind_of(lesson, name, row["labels"]),
            source=source_of(lesson, name, row["labels"]),
            patient=patient_of(name, row),
            split=row["split"],
            licence=row["licence"],
        )
        for name, row, grey in pictures(images, lesson.sets)
    ]


def pictures(
    images: Path, sets: Iterable[str], split: str | None = None
) -> Iterator[tuple[str, dict[str, str], NDArray[np.float32]]]:
    """Set, row of its listing and picture in 0..1 at its stored size, one after the other."""
    for name in sets:
        with (images / f"{name}.csv").open(newline="", encoding="utf-8") as listing:
            rows = [r for r in csv.DictReader(listing) if split in (None, r["split"])]
        with tarfile.open(images / f"{name}.tar") as tar:
            for row in rows:
                member = tar.extractfile(row["path"])
                if member is None:
                    raise FileNotFoundError(row["path"])
                image = Image.open(io.BytesIO(member.read())).convert("L")
                yield name, row, np.asarray(image, dtype=np.float32) / np.float32(255)


def kind_of(lesson: Lesson, name: str, labels: str) -> str:
    if name in lesson.lateral_sets:
        return "lateral"
    if name in lesson.accepted_sets:
        return "unjudged" if labels in lesson.unjudged else "accepted"
    return "accepted" if labels in lesson.accepted_labels else "other"


def source_of(lesson: Lesson, name: str, labels: str) -> str:
    """The set; with the label where a set holds several kinds of pictures."""
    return f"{name}/{labels}" if name == "modality" or labels in lesson.unjudged else name


def patient_of(name: str, row: dict[str, str]) -> str:
    """What must not be parted: a patient, or the smallest group of patients that is known.

    Brain: a fold of the authors' patient-wise index. Breast: five neighbours in the numbering of
    the source, where pictures of a patient follow each other.
    """
    note = row.get("note", "")
    if name == "brain" and note:
        return note
    numbered = re.search(r"id (\w+) \((\d+)\)", note) if name == "breast" else None
    if numbered:
        return f"{numbered[1]} {int(numbered[2]) // 5}"
    return row["patient"] or row["path"]


class Mixer:
    """Draws batches of changed films with their classes; the same seed gives the same batches."""

    def __init__(self, films: Sequence[Film], lesson: Lesson, seed: int) -> None:
        self._lesson = lesson
        self._random = np.random.default_rng(seed)
        self._torch = torch.Generator().manual_seed(seed)
        self._accepted = _by_source([f for f in films if f.kind == "accepted"])
        self._lateral = _by_source([f for f in films if f.kind == "lateral"])
        self._other = _by_source([f for f in films if f.kind == "other"])

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """((size, 1, SIDE, SIDE) in -0.5..0.5, (size,) class numbers)."""
        names, shares = self._lesson.classes, tuple(self._lesson.shares.values())
        classes = self._random.choice(len(names), size=size, p=shares)
        squares = torch.from_numpy(np.stack([self._draw(names[one]) for one in classes]))
        changed = self._change(squares[:, None])
        return changed - 0.5, torch.from_numpy(classes.astype(np.int64))

    def _draw(self, name: str) -> NDArray[np.float32]:
        if name == "lateral":
            film = self._pick(self._lateral)
            return film[:, ::-1].copy() if self._random.random() < 0.5 else film
        if name == "other":
            return self._draw_other()
        film = self._pick_accepted()
        if self._random.random() < self._lesson.mirrored:
            film = film[:, ::-1]
        if name == "inverted":
            turns = int(self._random.choice((0, 0, 0, 1, 2, 3)))
            return np.ascontiguousarray(np.rot90(1.0 - film, turns))
        turns = {"rotated_90": 1, "rotated_180": 2, "rotated_270": 3}.get(name, 0)
        return np.ascontiguousarray(np.rot90(film, turns))

    def _pick_accepted(self) -> NDArray[np.float32]:
        if self._random.random() >= self._lesson.averaged:
            return self._pick(self._accepted)
        several = [self._pick(self._accepted) for _ in range(int(self._random.integers(2, 9)))]
        mean: NDArray[np.float32] = np.mean(several, axis=0, dtype=np.float32)
        return mean

    def _pick(self, sources: list[list[Film]]) -> NDArray[np.float32]:
        weights = np.sqrt([len(films) for films in sources])
        films = sources[self._random.choice(len(sources), p=weights / weights.sum())]
        return films[self._random.integers(len(films))].pixels

    def _draw_other(self) -> NDArray[np.float32]:
        kinds, shares = zip(*self._lesson.others.items(), strict=True)
        kind = kinds[int(np.searchsorted(np.cumsum(shares)[:-1], self._random.random(), "right"))]
        if kind == "set":
            film = self._pick(self._other)
            if self._random.random() < 0.25:
                film = np.ascontiguousarray(np.rot90(film, int(self._random.integers(4))))
            return 1.0 - film if self._random.random() < 0.15 else film
        if kind == "cut_out":
            return cut_out(self._pick(self._accepted), self._random)
        if kind == "shuffled":
            return shuffled(self._pick(self._accepted), self._random)
        if kind == "turned_lateral":
            film = self._pick(self._lateral)
            turned = np.rot90(film, int(self._random.integers(1, 4)))
            return np.ascontiguousarray(turned if self._random.random() < 0.6 else 1.0 - film)
        return limb(self._random) if kind == "limb" else junk(self._random)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=self._torch)

    def _sometimes(self, count: int, share: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=self._torch) < share).float()

    def _change(self, squares: Tensor) -> Tensor:
        count = len(squares)
        squares = self._turned(squares)
        squares = self._marked(squares)
        for sigma, share in ((0.8, 0.4), (1.6, 0.25)):
            use = self._sometimes(count, share)
            squares = use * _blur(squares, sigma) + (1 - use) * squares
        use = self._sometimes(count, 0.15)
        coarse = functional.interpolate(
            functional.avg_pool2d(squares, 2), size=SIDE, mode="bilinear", align_corners=False
        )
        squares = use * coarse + (1 - use) * squares
        squares = squares.clamp(0, 1) ** torch.exp(self._uniform(count, -0.7, 0.7))
        low, high = self._uniform(count, -0.25, 0.2), self._uniform(count, 0.75, 1.25)
        squares = ((squares - low) / (high - low)).clamp(0, 1)
        noise = torch.randn(squares.shape, generator=self._torch) * self._uniform(count, 0, 0.05)
        squares = self._bordered((squares + noise).clamp(0, 1))
        return _stretched(squares)

    def _turned(self, squares: Tensor) -> Tensor:
        """Small turns, crops, stretches and shifts; what comes in from outside is a margin."""
        count = len(squares)
        angle = self._uniform(count, -0.2, 0.2).flatten()
        wide = self._uniform(count, 0.78, 1.12).flatten()
        high = self._uniform(count, 0.78, 1.12).flatten()
        move = (torch.rand(count, 2, generator=self._torch) - 0.5) * 0.2
        matrix = torch.zeros(count, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = wide * angle.cos(), -high * angle.sin()
        matrix[:, 1, 0], matrix[:, 1, 1] = wide * angle.sin(), high * angle.cos()
        matrix[:, :, 2] = move
        grid = functional.affine_grid(matrix, [count, 1, SIDE, SIDE], align_corners=False)
        edge = "border" if self._random.random() < 0.5 else "zeros"
        return functional.grid_sample(squares, grid, padding_mode=edge, align_corners=False)

    def _marked(self, squares: Tensor) -> Tensor:
        """Burned-in letters and plates as small bright or dark rectangles."""
        for square in squares:
            for _ in range(int(self._random.integers(0, 3))):
                top, left = self._random.integers(0, SIDE - 8, size=2)
                high, wide = self._random.integers(2, 9, size=2)
                bright = 1.0 if self._random.random() < 0.7 else 0.0
                square[0, top : top + high, left : left + wide] = bright
        return squares

    def _bordered(self, squares: Tensor) -> Tensor:
        """Collimator edges: black, white or grey bars at some sides."""
        for square in squares:
            if self._random.random() < 0.7:
                continue
            level = float(self._random.choice((0.0, 0.0, 1.0, self._random.random())))
            bars = self._random.integers(0, 7, size=4) * (self._random.random(4) < 0.5)
            square[0, : bars[0]] = level
            square[0, SIDE - bars[1] :] = level
            square[0, :, : bars[2]] = level
            square[0, :, SIDE - bars[3] :] = level
        return squares


def _by_source(films: list[Film]) -> list[list[Film]]:
    sources: dict[str, list[Film]] = {}
    for film in films:
        sources.setdefault(film.source, []).append(film)
    return list(sources.values())


def _blur(squares: Tensor, sigma: float) -> Tensor:
    reach = int(3 * sigma + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    padded = functional.pad(squares, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, taps[None, None, None, :])
    return functional.conv2d(across, taps[None, None, :, None])


def _stretched(squares: Tensor) -> Tensor:
    flat = squares.flatten(1)
    count = flat.shape[1]
    low, high = (
        flat.kthvalue(max(int(share * count), 1), dim=1).values[:, None, None, None]
        for share in (0.01, 0.99)
    )
    return ((squares - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
