"""What the command `models export` does: chooses the images, writes the copy.

In: tables with images, of which `train` teaches ranges and another split is compared on. Out: what
`processors.training.export` found. Reads only the images that it uses.
Never: an image of `train` that is also compared on, be it under another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.runtime import open_bundle
from processors.training.data import Question, read_images, read_table
from processors.training.export import export_bundle
from processors.training.plan import questions_of
from processors.vae.normalise import network_input

Sources = Sequence[tuple[Path, Path]]
KNOWN = 160  # images of `train`, drawn with a fixed seed, evenly from all tables
_Drawn = tuple[list[NDArray[np.uint8]], NDArray[np.int64]]


def _drawn(
    sources: Sources, questions: Sequence[Question], split: str, size: int, count: int
) -> _Drawn:
    """Inputs uint8 (size, size) and targets (n, questions) of at most `count` images."""
    generator = np.random.default_rng(0)
    inputs: list[NDArray[np.uint8]] = []
    targets: list[tuple[int, ...]] = []
    for table, images in sources:
        rows = [sample for sample in read_table(table, questions) if sample.split == split]
        order = generator.permutation(len(rows))[: -(-count // len(sources))]
        chosen = [rows[i] for i in order]
        for sample, pixels in zip(
            chosen, read_images(images, [s.path for s in chosen]), strict=True
        ):
            inputs.append(np.rint(network_input(pixels, size)[0] * 255).astype(np.uint8))
            targets.append(sample.targets)
    return inputs, np.array(targets, dtype=np.int64).reshape(-1, len(questions))


def export_from_tables(
    path_or_name: str, target: Path, sources: Sources, int8: bool, split: str, most: int
) -> dict[str, Any]:
    """Export by tables: at most `most` images of `split` are compared on.

    Raises: as `processors.training.export.export_bundle`.
    """
    card = open_bundle(path_or_name, "cpu").card
    questions, size = questions_of(card["questions"]), int(card["size"])
    known, _ = _drawn(sources, questions, "train", size, KNOWN if int8 else 0)
    inputs, targets = _drawn(sources, questions, split, size, most)
    seen = {image.tobytes() for image in known}
    kept = [i for i, image in enumerate(inputs) if image.tobytes() not in seen]
    others = [inputs[i] for i in kept]
    return export_bundle(path_or_name, target, known, int8, others, targets[kept])
