"""Turns a volume so that its axes run as a network was taught, and an answer back.

Only whole axes are exchanged and reversed, nothing is resampled. What MONAI's `Orientation` does,
which asks for a further package to do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from processors.runtime import UnsafeBundle

WAYS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, slots=True)
class Turn:
    """order: which axis comes first, second, third; back: which of them then run backwards."""

    order: tuple[int, int, int]
    back: tuple[bool, bool, bool]

    def there(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(channels, a, b, c) in the new order."""
        moved = image.transpose(0, *(axis + 1 for axis in self.order))
        return np.ascontiguousarray(moved[(slice(None), *self._steps)])

    def undone(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        plain = image[(slice(None), *self._steps)]
        places = np.argsort(self.order)
        return np.ascontiguousarray(plain.transpose(0, *(int(axis) + 1 for axis in places)))

    def affine(self, old: NDArray[np.float64], sides: tuple[int, ...]) -> NDArray[np.float64]:
        """Where the turned voxels lie; sides: of the volume before."""
        new = old.copy()
        for place, (axis, backwards) in enumerate(zip(self.order, self.back, strict=True)):
            new[:3, place] = -old[:3, axis] if backwards else old[:3, axis]
            if backwards:
                new[:3, 3] += old[:3, axis] * (sides[axis] - 1)
        return new

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if one else slice(None) for one in self.back)


def ways(codes: object) -> str:
    """The letters of an orientation (RAS), checked. Raises UnsafeBundle."""
    letters = "".join(codes) if isinstance(codes, list | tuple) else str(codes)
    if len(letters) != 3 or sorted(WAYS.get(one, (9, 0))[0] for one in letters) != [0, 1, 2]:
        raise UnsafeBundle(f"The bundle turns volumes to {letters!r}, which names no orientation.")
    return letters


def turn(affine: NDArray[np.float64], letters: str) -> Turn:
    """The turn from axes as an affine (to RAS mm) has them to those of the letters."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    _, axes = linear_sum_assignment(-np.abs(directions))  # by world axis, which array axis
    first, second, third = (int(axes[WAYS[one][0]]) for one in letters)
    order = (first, second, third)
    signs = [
        bool(np.sign(directions[WAYS[one][0], axis]) != WAYS[one][1])
        for one, axis in zip(letters, order, strict=True)
    ]
    return Turn(order, (signs[0], signs[1], signs[2]))
