"""What a bundle's card says about the studies its model may judge; a chest model's if silent.

`card["gate"]` may set each key; an unknown key is a mistake of the bundle's author and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from processors.analysis import BundleError
from processors.gate._organs import CHEST, ORGANS, Organ


@dataclass(frozen=True, slots=True)
class Terms:
    """organ: what headers are asked. modalities, body_parts, populations: as in its record.

    file: the gate file, relative to the bundle; empty means no gate of pixels. least, farthest:
    thresholds in place of those stored with the weights. shortest_side: pixels. views: of which a
    stated View Position must be one; empty asks nothing. volume: images are slices of one volume,
    of which a blank one is no ground for refusal.
    """

    organ: Organ = CHEST
    modalities: tuple[str, ...] = CHEST.modalities
    populations: tuple[tuple[int, int], ...] = CHEST.populations
    body_parts: tuple[str, ...] = CHEST.body_parts
    file: str = "models/gate.npz"
    least: float | None = None
    farthest: float | None = None
    shortest_side: int = 96
    views: tuple[str, ...] = ()
    volume: bool = False


def terms(card: Mapping[str, Any]) -> Terms:
    """The terms of a card. Raises BundleError on an unknown key or organ."""
    stated = dict(card.get("gate") or {})
    unknown = sorted(set(stated) - {field.name for field in fields(Terms)})
    if unknown:
        raise BundleError(f"The bundle's gate has unknown keys: {', '.join(unknown)}.")
    organ = ORGANS.get(stated.pop("organ", CHEST.name))
    if organ is None:
        raise BundleError(f"The bundle's gate knows these organs: {', '.join(ORGANS)}.")
    for name in ("modalities", "body_parts", "views"):
        if name in stated:
            stated[name] = tuple(str(one).upper() for one in stated[name])
    if "populations" in stated:
        stated["populations"] = tuple((int(low), int(high)) for low, high in stated["populations"])
    usual = Terms(organ, organ.modalities, organ.populations, organ.body_parts)
    return replace(usual, **stated)
