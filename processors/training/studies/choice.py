"""Which images a study looks at: some of every mix of answers, chosen by their names alone.

In: a bundle, tables with images. Out: the chosen part, in the tables' order. Never: a look at what
the model says of an image before it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processors.runtime import Bundle
from processors.training.data import UNKNOWN, ImageSet, Sample, join, load
from processors.training.places import lot, place_of
from processors.training.plan import questions_of

Sources = Sequence[tuple[Path, Path]]


def mixes(samples: Sequence[Sample]) -> dict[tuple[int, ...], list[int]]:
    """Each mix of answers, in order, with its images (indices) by the digest of their paths.

    Samples that no question asks for are left out.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for i in sorted(range(len(samples)), key=lambda i: lot(samples[i].path)):
        if any(target != UNKNOWN for target in samples[i].targets):
            found.setdefault(samples[i].targets, []).append(i)
    return dict(sorted(found.items()))


def chosen(samples: Sequence[Sample], most: int) -> NDArray[np.intp]:
    """Of each mix of answers at most `most`; ascending indices."""
    found = (held[:most] for held in mixes(samples).values())
    return np.array(sorted(i for held in found for i in held), dtype=np.intp)


def judged(bundle: Bundle, sources: Sources, split: str, most: int) -> ImageSet:
    """The images of a study, with their boxes or masks as places.

    Raises ValueError for a table without the columns, without the split, or without an image that
    the bundle's questions ask for.
    """
    questions, place = questions_of(bundle.card["questions"]), place_of({"boxes": 1.0}, bundle.size)
    parts = [load(t, i, questions, bundle.size, split, place) for t, i in sources]
    whole = join(parts)
    keep = np.zeros(len(whole.samples), bool)
    keep[chosen(whole.samples, most)] = True
    if not keep.any():
        raise ValueError(f"no image of the split {split!r} has an answer that {bundle.name} knows")
    return whole.where(keep)
