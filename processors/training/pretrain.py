"""Pre-training: one network over many image sets together, before any task is learnt.

In: tables with images (their `train` rows), MedMNIST files, MedIMeta folders. Out: weights that
`models train --start` begins from. Every image teaches the autoencoder; a set whose labels are
allowed also asks one question of its own ("what is it called here"), which is thrown away with its
head. A set named in `unlabelled` gives images alone: what is later measured on it then owes nothing
to its labels.
Never: a val row, labelled or not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from processors.training.data import (
    UNKNOWN,
    ImageSet,
    Question,
    join,
    licences_of,
    load,
    read_table,
)
from processors.training.fit import Recipe
from processors.training.layouts import read_layout
from processors.vae.network import SIZES, Shape

LEAST = 30  # images of a label below which it teaches nothing
WELL = ("normal", "no_finding")  # own no cells: what has them is defined by what it lacks
RECIPE = Recipe(steps=2000, beta=0.001, decoded=0.6, likeness=1.0, gamma=0.4, mirror=0.5)
Sources = Sequence[tuple[Path, Path]]


@dataclass(frozen=True, slots=True)
class Lessons:
    """All sets as one; targets: a column per question."""

    images: ImageSet
    questions: tuple[Question, ...]

    def shape(self, size: int, channels: int, width: str) -> Shape:
        asked = tuple((len(q.answers), q.none) for q in self.questions)
        return Shape(asked or ((1, True),), size, channels, *SIZES[width], frame=1)


def question_of(table: Path) -> Question | None:
    """The question a table's own labels ask, the rarest label first, since an image may have two.

    None where fewer than two labels have LEAST training images.
    """
    rows = [s for s in read_table(table, ()) if s.split == "train"]
    counts = Counter(label for sample in rows for label in sample.labels)
    well = tuple(label for label in WELL if label in counts)
    often = [k for k, n in reversed(counts.most_common()) if n >= LEAST and k not in well]
    if len(often) + bool(well) < 2:
        return None
    return Question(table.stem, 0, 200, tuple(often), tuple((k,) for k in often), well)


def gather(
    sources: Sources, layouts: Sequence[Path], unlabelled: Collection[str], size: int
) -> Lessons:
    """Every training image of every set; unlabelled: stems of sets whose labels are not used.

    Raises ValueError for a name in `unlabelled` that no set has.
    """
    strange = set(unlabelled) - {s.stem for s in [*(t for t, _ in sources), *layouts]}
    if strange:
        raise ValueError(f"no set is called {sorted(strange)[0]!r}")
    sets: list[tuple[ImageSet, Question | None]] = []
    for table, images in sources:
        question = None if table.stem in unlabelled else question_of(table)
        sets.append((load(table, images, [question] if question else [], size, "train"), question))
    for layout in layouts:
        held, question = read_layout(layout, size)
        sets.append((held, None if layout.stem in unlabelled else question))
    asked = [question for _, question in sets if question]
    parts = [_widened(part, asked, question) for part, question in sets]
    return Lessons(join(parts), tuple(asked))


def _widened(part: ImageSet, asked: Sequence[Question], own: Question | None) -> ImageSet:
    """The same images with a target for every question: its own, and UNKNOWN for the others."""
    columns = max(1, len(asked))
    samples = []
    for sample in part.samples:
        targets = [UNKNOWN] * columns
        if own:
            targets[asked.index(own)] = sample.targets[0]
        samples.append(replace(sample, targets=tuple(targets), group=0))
    return replace(part, samples=tuple(samples))


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to begin with, and the licences of all that they have seen."""

    weights: Mapping[str, Tensor]
    licences: tuple[str, ...]


NOTHING = Start({}, ())  # a network that has seen nothing yet


def write_start(weights: Mapping[str, Tensor], file: Path, lessons: Lessons) -> Path:
    """Weights as safetensors, with what taught them: a card made from them must name it."""
    taught = ", ".join(question.name for question in lessons.questions)
    held = {name: value.contiguous() for name, value in weights.items()}
    licences = json.dumps(licences_of(lessons.images))
    said = {"images": str(len(lessons.images.samples)), "questions": taught, "licences": licences}
    save_file(held, str(file), metadata=said)
    return file


def read_start(file: Path) -> Start:
    """ValueError for what is no file of `models pretrain`."""
    try:
        with safe_open(str(file), framework="pt") as held:
            licences = json.loads(held.metadata()["licences"])
            weights = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no weights to start from: {error}") from error
    return Start(weights, tuple(licences))
