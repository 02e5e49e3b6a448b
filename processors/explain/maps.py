"""What every method shares that gives one map of the film and no frames.

In: a Subject and what a method found of it: its map, the same map made with other settings, its own
checks, and how it was made. Out: an Explanation, withheld where a check fails. Never: a map that
points nowhere, a map without the words that say how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import slic
from skimage.transform import resize

from processors.analysis import Check, Explanation
from processors.explain import faithfulness
from processors.explain.subject import Subject
from processors.vae.latent import Array

COMPACT = 0.1  # SLIC: weight of nearness beside likeness of greys of 0..1


@dataclass(frozen=True, slots=True)
class Drawn:
    """A method's map (size, size), larger where more speaks for the finding.

    others: the same by other settings; how: in a language, how it was made; checks: the method's
    own, beside those of every map.
    """

    method: str
    found: Array
    others: Sequence[Array]
    how: Mapping[str, str]
    checks: tuple[Check, ...] = ()


def explained(subject: Subject, drawn: Drawn, language: str) -> Explanation:
    """The map on the grid of the film's picture with its checks."""
    empty = not (drawn.found > 0).any()
    known = () if empty else faithfulness.of_map(subject, drawn.found, drawn.others)
    checks = (*drawn.checks, *known)
    nowhere = faithfulness.nowhere(language) if empty else ""
    reason = "; ".join(filter(None, (faithfulness.failure(checks, language), nowhere)))
    return Explanation(
        finding=subject.label,
        instance_uid=subject.film.instance_uid,
        method=drawn.method,
        frames=(),
        difference=enlarged(drawn.found, subject.film.picture.shape),
        faithfulness=checks,
        shown=not reason,
        reason=reason,
        how=drawn.how.get(language, drawn.how["en"]),
    )


def told(said: Mapping[str, str], **values: float | str) -> dict[str, str]:
    """How a map was made, in each language, with its numbers as that language writes them."""
    found = {}
    for language, text in said.items():
        point = "," if language == "es" else "."
        shown = {
            k: v if isinstance(v, str) else f"{v:g}".replace(".", point) for k, v in values.items()
        }
        found[language] = text.format(**shown)
    return found


def enlarged(maps: Array, shape: tuple[int, ...]) -> Array:
    """Maps (..., size, size) on a picture's grid (rows, columns), linearly between pixel centres:
    `skimage.transform.resize(order=1, mode="edge")`. Pillow does the same faster, but blurs where
    it reduces."""
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, *maps.shape[-2:])
    if min(shape) < maps.shape[-1]:
        made = [resize(one, shape, order=1, mode="edge", anti_aliasing=False) for one in flat]
    else:
        size = (shape[1], shape[0])
        drawn = (Image.fromarray(one).resize(size, Image.Resampling.BILINEAR) for one in flat)
        made = [np.asarray(one) for one in drawn]
    return np.stack(made).reshape(*maps.shape[:-2], *shape)


def superpixels(image: Array, count: int) -> NDArray[np.intp]:
    """About `count` connected parts of like greys, numbered from 0, (size, size).

    SLIC (Achanta et al., IEEE TPAMI 34:2274, 2012), after smoothing by one pixel.
    """
    parts = slic(image, count, COMPACT, sigma=1.0, start_label=0, channel_axis=None)
    return np.asarray(np.unique(parts, return_inverse=True)[1].reshape(image.shape), dtype=np.intp)
