"""What a bundle's card says about the studies its model may judge; the chest model's if silent.

`card["gate"]` may set each key; an unknown key is a mistake of the bundle's author and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from processors.analysis import BundleError


@dataclass(frozen=True, slots=True)
class Terms:
    """modalities: Modality values. populations: ages in completed years, both ends included.

    body_parts: words of which one must stand in a stated body part. file: the gate file, relative
    to the bundle; empty means no gate of pixels. least_frontal, farthest: thresholds in place of
    those stored with the weights. shortest_side: pixels.
    """

    modalities: tuple[str, ...] = ("CR", "DX")
    populations: tuple[tuple[int, int], ...] = ((1, 5), (18, 120))
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "TORAX", "LUNG", "LUNGS", "PULMON")
    file: str = "models/gate.npz"
    least_frontal: float | None = None
    farthest: float | None = None
    shortest_side: int = 96


def terms(card: Mapping[str, Any]) -> Terms:
    """The terms of a card. Raises BundleError on an unknown key."""
    stated = dict(card.get("gate") or {})
    unknown = sorted(set(stated) - {field.name for field in fields(Terms)})
    if unknown:
        raise BundleError(f"The bundle's gate has unknown keys: {', '.join(unknown)}.")
    for name in ("modalities", "body_parts"):
        if name in stated:
            stated[name] = tuple(str(one).upper() for one in stated[name])
    if "populations" in stated:
        stated["populations"] = tuple((int(low), int(high)) for low, high in stated["populations"])
    return replace(Terms(), **stated)
