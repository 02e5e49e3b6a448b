"""Pictures that no set holds and a gate must refuse, drawn or made out of frontal films.

Pure: a random generator in, a (STORED, STORED) float32 picture in 0..1 out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.gate._picture import resized

STORED = 96  # pixels of the side kept for training: room to crop and turn


def cut_out(film: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A corner or a strip of a film, enlarged: a shoulder, a spine, half a lung."""
    high, wide = (int(STORED * random.uniform(0.25, 0.5)) for _ in range(2))
    if random.random() < 0.4:
        high, wide = (STORED, wide) if random.random() < 0.5 else (high, STORED)
    top, left = random.integers(0, STORED - high + 1), random.integers(0, STORED - wide + 1)
    return resized(film[top : top + high, left : left + wide], STORED)


def shuffled(film: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The quarters or ninths of a film in another order: the same texture, no anatomy."""
    parts = int(random.choice((2, 3)))
    side = STORED // parts
    tiles = [
        film[y * side : (y + 1) * side, x * side : (x + 1) * side]
        for y in range(parts)
        for x in range(parts)
    ]
    order = random.permutation(len(tiles))
    if (order == np.arange(len(tiles))).all():
        order = order[::-1]
    rows = [np.hstack([tiles[i] for i in order[y * parts : (y + 1) * parts]]) for y in range(parts)]
    return np.ascontiguousarray(np.vstack(rows))


def limb(random: np.random.Generator) -> NDArray[np.float32]:
    """A phantom of an arm, a leg or a joint: bright shafts in soft tissue on an empty field."""
    along = np.linspace(-1, 1, STORED, dtype=np.float32)
    y, x = np.meshgrid(along, along, indexing="ij")
    angle = random.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle) - random.uniform(-0.25, 0.25)
    length = -x * np.sin(angle) + y * np.cos(angle)
    half = random.uniform(0.25, 0.8) * (1 + random.uniform(-0.4, 0.4) * length)
    picture = 0.45 * np.sqrt(np.clip(1 - (across / half) ** 2, 0, None))
    for centre in random.uniform(-0.5, 0.5, size=random.integers(1, 4)):
        shaft = random.uniform(0.06, 0.22) * (1 + random.uniform(0, 0.8) * length**2)
        inside = np.clip(1 - ((across - centre * half) / shaft) ** 2, 0, None)
        picture += random.uniform(0.2, 0.5) * np.sqrt(inside) * (1 - 0.4 * inside)
    for _ in range(random.integers(0, 3)):  # heads of bones, plates, the field's edge
        cy, cx, r = random.uniform(-0.6, 0.6), random.uniform(-0.6, 0.6), random.uniform(0.1, 0.4)
        picture += 0.3 * (((y - cy) ** 2 + (x - cx) ** 2) < r**2)
    picture = picture + random.normal(0, 0.02, picture.shape)
    empty = random.random()
    if empty < 0.3:  # unexposed film around a collimated field shows white
        picture[np.abs(across) > random.uniform(0.5, 1.1)] = 1.0
    bright = max(float(picture.max()), 1e-3)
    return np.asarray(np.clip(picture / bright, 0, 1), dtype=np.float32)


def junk(random: np.random.Generator) -> NDArray[np.float32]:
    """Slopes, noise of any grain, pages, grids, small bright fields on black."""
    kind = random.integers(5)
    along = np.linspace(0, 1, STORED, dtype=np.float32)
    y, x = np.meshgrid(along, along, indexing="ij")
    if kind == 0:
        picture = (
            random.uniform(-1, 1) * x + random.uniform(-1, 1) * y + random.uniform(-1, 1) * x * y
        )
    elif kind == 1:
        grain = int(random.integers(3, STORED))
        picture = resized(random.random((grain, grain)).astype(np.float32), STORED)
    elif kind == 2:
        picture = np.ones((STORED, STORED), dtype=np.float32)
        for top in range(4, STORED - 4, int(random.integers(4, 9))):
            picture[top : top + 2, 6 : int(random.integers(20, STORED - 4))] = 0.1
    elif kind == 3:
        picture = np.zeros((STORED, STORED), dtype=np.float32)
        top, left = random.integers(0, STORED - 30, size=2)
        field = random.random((8, 8)).astype(np.float32)
        picture[top : top + 30, left : left + 30] = resized(field, 30)
    else:
        waves = random.uniform(2, 30)
        picture = np.sin(waves * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1)))
    low, high = float(picture.min()), float(picture.max())
    return np.asarray((picture - low) / max(high - low, 1e-6), dtype=np.float32)
