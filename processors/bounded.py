"""Keeps a network's passes within memory, and goes on where a device fails.

In: networks, a spare (the same networks on the CPU) or none, the largest batch. Out: networks that
answer batches of any size, whole and in order. A pass that is too large for the device is halved,
down to one image; what fits nowhere on it goes to the spare; a device that is lost is not asked
again. Without a spare: `DeviceFull` or `DeviceLost`, after which the same study may be tried later.
Pure Python and numpy: what a device's own errors mean is said where that device is known
(`processors.vae.device`). Never: a changed answer, a silent change of device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from processors.analysis import TryLater

Array = NDArray[np.float32]
LIVE = 8  # of a network's largest map of activations that are held at once, with what a pass needs
MOST = 32  # images of one pass: beyond eight, nothing more was gained on a CPU


class DeviceFull(TryLater):
    """The device has no memory left for a pass."""


class DeviceLost(TryLater):
    """The device answers no more; only a new process can have it back."""


Trouble = Callable[[TryLater], None]


class Networks(Protocol):
    """Encoder and decoder on some device. Raises DeviceFull, DeviceLost."""

    def encode(self, images: Array) -> Array: ...

    def decode(self, latents: Array) -> Array: ...


def largest_batch(memory: int, size: int, narrow: int) -> int:
    """Images of one pass that fit into `memory` bytes, 1..MOST.

    The widest maps stand in the decoder: 64 channels, or `narrow` if that is more, on a quarter of
    `size`. What ONNX Runtime then takes for an image was measured to lie below LIVE such maps.
    """
    largest = 4 * max(64, narrow) * (size // 4) ** 2
    return max(1, min(MOST, memory // (LIVE * largest)))


class Bounded:
    """Networks that stay within their means. on_trouble hears of each change of device."""

    def __init__(
        self,
        networks: Networks,
        spare: Networks | None = None,
        largest: int = MOST,
        on_trouble: Trouble = lambda _: None,
    ) -> None:
        self._networks, self._spare = networks, spare
        self._largest, self._on_trouble = largest, on_trouble

    def encode(self, images: Array) -> Array:
        return self._all(images, lambda networks, part: networks.encode(part))

    def decode(self, latents: Array) -> Array:
        return self._all(latents, lambda networks, part: networks.decode(part))

    def _all(self, values: Array, one_pass: Callable[[Networks, Array], Array]) -> Array:
        starts = range(0, len(values), self._largest)
        parts = [values[start : start + self._largest] for start in starts]
        return np.concatenate([self._part(part, one_pass) for part in parts])

    def _part(self, part: Array, one_pass: Callable[[Networks, Array], Array]) -> Array:
        try:
            return one_pass(self._networks, part)
        except DeviceLost as lost:
            self._on_trouble(lost)
            if self._spare is None:
                raise
            self._networks, self._spare = self._spare, None
            return self._part(part, one_pass)
        except DeviceFull as full:
            if len(part) == 1:
                return self._elsewhere(part, one_pass, full)
        middle = len(part) // 2
        return np.concatenate([self._part(p, one_pass) for p in (part[:middle], part[middle:])])

    def _elsewhere(
        self, part: Array, one_pass: Callable[[Networks, Array], Array], full: DeviceFull
    ) -> Array:
        self._on_trouble(full)
        if self._spare is None:
            raise full
        return one_pass(self._spare, part)
