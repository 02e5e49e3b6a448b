"""Turns a picture or a volume into the network's input, and a map of answers back onto its grid.

The steps are MONAI's transforms by name, those of a list that only compute on the one image;
readers and type conversions of a bundle's configuration are passed over, because the node reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai import transforms
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform
from numpy.typing import NDArray
from torch import Tensor

from processors.adapters import plain
from processors.adapters.card import Card
from processors.adapters.network import Input
from processors.adapters.orientation import Turn, turn, ways
from processors.runtime import UnsafeBundle, WeightsShape

PASSED_OVER = frozenset(
    ("LoadImage", "EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "Identity")
)
KNOWN = frozenset(
    (
        *("Spacing", "Resize", "ResizeWithPadOrCrop", "CenterSpatialCrop"),
        *("SpatialPad", "ScaleIntensity", "ScaleIntensityRange", "ScaleIntensityRangePercentiles"),
        *("NormalizeIntensity", "HistogramNormalize", "RepeatChannel"),
    )
)
TURNING = ("reverse_indexing", "swap_ij")  # of a reader
OF_DICTIONARIES = ("keys", "allow_missing_keys")
WHITE = 255.0  # a picture is given as an 8-bit file would hold it


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image on its way into the network, and how it got there."""

    image: MetaTensor
    turned: Turn | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """The steps in order. letters: how a volume's axes shall run before them; empty: as they do."""

    steps: tuple[Callable[..., Any], ...]
    letters: str = ""

    @property
    def measures(self) -> bool:
        """Whether a step asks how large the pixels are."""
        return any(isinstance(step, transforms.Spacing) for step in self.steps)

    def there(self, image: NDArray[np.float32], affine: NDArray[np.float64]) -> Prepared:
        """(1, a, b[, c]) -> the network's input without the batch."""
        turned = turn(affine, self.letters) if self.letters and image.ndim == 4 else None
        if turned:
            affine = turned.affine(affine, image.shape[1:])
            image = turned.there(image)
        found = MetaTensor(torch.from_numpy(np.ascontiguousarray(image)), affine=affine)
        for step in self.steps:
            found = step(found)
        return Prepared(found, turned)

    def back(self, values: Tensor, prepared: Prepared) -> NDArray[np.float32]:
        """(channels, ...) on the network's grid -> the same on the grid before `there`."""
        source = prepared.image
        done = deepcopy(source.applied_operations)
        found = MetaTensor(values, affine=source.affine, applied_operations=done)
        for step in reversed(self.steps):
            if isinstance(step, InvertibleTransform):
                found = step.inverse(found)
        plain_values = np.asarray(found.as_tensor().numpy(), dtype=np.float32)
        return prepared.turned.undone(plain_values) if prepared.turned else plain_values


def preparation(card: Card, config: Mapping[str, Any], given: Input, measured: bool) -> Preparation:
    """The card's steps, else the configuration's, else resize and scale. Raises BundleError.

    measured: whether the image holds measured values, of which no range may be assumed.
    """
    listed: Sequence[Any] | None = card.block.preprocessing
    if listed is None:
        listed = _configured(config)
    _axes_are_known(card, listed or ())
    wanted = [one for one in listed or () if _name(one) not in PASSED_OVER]
    letters = ""
    if wanted and _name(wanted[0]) == "Orientation":
        _, turning = plain.component(wanted.pop(0), config)
        if strange := [key for key in ("labels", "as_closest_canonical") if turning.get(key)]:
            raise UnsafeBundle(
                f"The bundle's Orientation has {strange[0]}, which is not done here."
            )
        letters = ways(turning.get("axcodes"))
        if len(given.shape) == 2:  # passed over, it would be asked of mirrored slices
            raise WeightsShape(
                f"The bundle turns volumes to {letters}; its network takes slices as they come.",
                then="Write dictamen.preprocessing without Orientation, and its axes.",
            )
    steps = [_step(one, config) for one in wanted]
    if not steps and measured:
        raise WeightsShape(
            "The bundle says nothing of how CT or MR values become the network's input.",
            then="Write dictamen.preprocessing in configs/metadata.json.",
        )
    if not steps:
        steps = [
            transforms.Resize(given.shape, mode="area"),
            transforms.ScaleIntensityRange(0.0, WHITE, given.low, given.high),
        ]
    return Preparation(tuple(steps), letters)


def _axes_are_known(card: Card, listed: Sequence[Any]) -> None:
    """A reader that is told in which order axes come means one thing by it or the other: MONAI's
    for PNG and for DICOM are contrary to each other. The card has to say which.
    """
    told = [key for one in listed if isinstance(one, Mapping) for key in TURNING if key in one]
    if told and "axes" not in card.block.model_fields_set:
        raise WeightsShape(
            f"The bundle tells its reader the order of axes ({told[0]}), and images are read here.",
            then="Say in dictamen.axes which comes first.",
        )


def _configured(config: Mapping[str, Any]) -> list[Any] | None:
    found = config.get("preprocessing")
    if isinstance(found, Mapping):
        found = found.get("transforms")
    if isinstance(found, str) and found.startswith("$Compose(@"):
        found = config.get(found[len("$Compose(@") :].rstrip(")"))
    if found is None or isinstance(found, list):
        return found
    raise UnsafeBundle(
        "The preprocessing of configs/inference.json is computed, and code is not run.",
        then="Write dictamen.preprocessing in configs/metadata.json.",
    )


def _step(listed: Any, config: Mapping[str, Any]) -> Callable[..., Any]:
    """The transform of an entry."""
    name = _name(listed)
    if name not in KNOWN:
        raise UnsafeBundle(
            f"The bundle prepares images with {name!r}, which is not run here.",
            then=f"Known are {', '.join(sorted(KNOWN))}, and Orientation as the first of them; or "
            "write dictamen.preprocessing.",
        )
    _, arguments = plain.component(listed, config)
    given = {k: _single(v, k) for k, v in arguments.items() if k not in OF_DICTIONARIES}
    try:
        made: Callable[..., Any] = getattr(transforms, name)(**given)
    except Exception as error:  # whatever a constructor thinks of its arguments
        raise WeightsShape(f"{name} cannot be built: {error}") from error
    return made


def _name(listed: Any) -> str:
    """Spacing of monai.transforms.Spacingd; the dictionary forms do the same."""
    target = str(listed.get("_target_") if isinstance(listed, Mapping) else listed)
    module, _, name = target.rpartition(".")
    if module and not module.startswith("monai.transforms"):
        return target
    for ending in ("Dict", "D", "d"):
        short = name.removesuffix(ending)
        if short != name and short in KNOWN | PASSED_OVER | {"Orientation"}:
            return short
    return name


def _single(value: Any, name: str) -> Any:
    """Modes of the dictionary forms are listed by key; here there is one image."""
    return value[0] if name in ("mode", "padding_mode") and isinstance(value, list) else value
