"""A MONAI bundle as a model: classification of pictures, segmentation of pictures and of volumes.

A picture's segments become outlines; those of CT and MR become masks as well, of one series. A
network of three dimensions gets the volume, one of two its slices one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from processors.adapters import card, plain, weights, words
from processors.adapters.judging import Answer, SiteProcessor, finding_of
from processors.adapters.network import (
    Input,
    Network,
    open_network,
    same_channels,
    stated_channels,
    stated_input,
)
from processors.adapters.outlines import outlines
from processors.adapters.preparation import WHITE, Preparation, preparation
from processors.adapters.series import Series, is_in_hounsfield, longest, pixel_size, volume
from processors.analysis import (
    Finding,
    Mask,
    ModelOutputNotFinite,
    ProcessorError,
    Refusal,
    State,
    Study,
    TryLater,
)
from processors.runtime import WeightsCorrupt, WeightsShape, weights_digest

INFERENCE = "configs/inference.json"
ROUNDING = 1e-3  # by which a number of 0..1 may miss its range
Values = NDArray[np.float32]


class OutputOutOfRange(ProcessorError):
    """The network's numbers are none of 0..1, as its card says they are."""


@dataclass(frozen=True, slots=True)
class Window:
    """Patches of a sliding window; overlap: share of a patch, by side where they differ."""

    size: tuple[int, ...]
    overlap: float | tuple[float, ...]


def open_monai_bundle(name: str, bundle: str, language: str, device: str) -> SiteProcessor:
    """A ready processor of a bundle folder. Raises BundleError."""
    torch.set_num_threads(1)  # as many workers as cores do the rest
    folder, files = weights.opened(bundle)
    read = card.read(files, folder, "monai_bundle")
    model = MonaiModel(read, *_parts(files, read, device), language)
    notes = [] if read.block.calibrated else ["score"]
    notes = ["mask"] if model.network.segments else notes
    return SiteProcessor(name, read, model, weights_digest(files), language, notes)


def _parts(
    files: Mapping[str, bytes], read: card.Card, device: str
) -> tuple[Network, Preparation, Window | None]:
    config = _config(files)
    given = stated_input(read.metadata)
    network = open_network(files, config, given, device)
    highest = max(label.channel for label in read.block.labels)
    if highest >= network.outputs:
        raise WeightsShape(
            f"The card names channel {highest} and the network has {network.outputs}."
        )
    if read.block.activation == "softmax" and network.outputs == 1:
        raise WeightsShape(
            "The softmax of one channel is always 1.",
            then="Say sigmoid or none as dictamen.activation, as the network was taught.",
        )
    same_channels(read, stated_channels(read.metadata), network.outputs)
    _reachable(read, network)
    if len(given.shape) == 3 and not (network.segments and read.is_volume):
        raise WeightsShape("A network of volumes is taken only for segmentation of CT or MR.")
    prepared = preparation(read, config, given, _is_measured(read))
    return network, prepared, _window(config, given)


def _reachable(read: card.Card, network: Network) -> None:
    """Refuse what a report would say and the network does not do: of channels under softmax a place
    belongs to the highest, so that a lower threshold would call absent what lies above it; and a
    segmented thing is undetermined by its amount (`least`), never by a band.
    """
    if not network.segments:
        return
    for label in read.block.labels:
        if read.block.activation == "softmax" and network.outputs > 1 and label.threshold < 0.5:
            raise WeightsShape(
                f"{label.label} has threshold {label.threshold:g}, and of several channels under "
                "softmax a place belongs to the highest.",
                then="Say 0.5 or more.",
            )
        if label.band is not None:
            raise WeightsShape(
                f"{label.label} has a band, and a segmented thing is undetermined by its amount.",
                then="Say `least` instead.",
            )


def _config(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """inference.json as it stands; an ONNX bundle needs none."""
    try:
        found = json.loads(files.get(INFERENCE, b"{}"))
    except ValueError as error:
        raise WeightsCorrupt(f"{INFERENCE} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise WeightsCorrupt(f"{INFERENCE} is no mapping.")
    return found


def _window(config: Mapping[str, Any], given: Input) -> Window | None:
    """That of the configuration; of the stated size for volumes; none for whole pictures."""
    inferer = config.get("inferer")
    if isinstance(inferer, Mapping) and str(inferer.get("_target_", "")).endswith(
        "SlidingWindowInferer"
    ):
        _, said = plain.component(inferer, config)
        size = said.get("roi_size", given.shape)
        sides = [size] * len(given.shape) if isinstance(size, int) else size
        overlap = said.get("overlap", 0.25)
        shares = tuple(map(float, overlap)) if isinstance(overlap, list) else float(overlap)
        return Window(tuple(int(one) for one in sides), shares)
    return Window(given.shape, 0.25) if len(given.shape) == 3 else None


def _is_measured(read: card.Card) -> bool:
    if read.block.pixels is not None:
        return read.block.pixels == "values"
    return read.is_volume


class MonaiModel:
    """Implements processors.adapters.judging.Model."""

    def __init__(
        self,
        read: card.Card,
        network: Network,
        prepared: Preparation,
        window: Window | None,
        language: str,
    ) -> None:
        self.network = network
        self._card, self._preparation, self._window = read, prepared, window
        self._language = language
        self._measured = _is_measured(read)

    def unfit(self, study: Study, accepted: Sequence[str]) -> Refusal | None:
        """A volume needs slices that say where they lie; a network of volumes, a straight one.

        Where pictures are brought to a size of pixels, each must say its own; where values of CT
        are asked, each must be in HU.
        """
        judged = longest(study, accepted)[0] if self._of_volume else accepted
        headers = [study.header(uid) for uid in judged]
        ct = [header for header in headers if header.get("Modality") == "CT"]
        if self._measured and not all(map(is_in_hounsfield, ct)):
            return words.refusal("units", self._language)
        if not self._of_volume:
            unknown = self._preparation.measures and None in map(pixel_size, headers)
            return words.refusal("pixel-size", self._language) if unknown else None
        found = volume(study, judged)
        if isinstance(found, str):
            return words.refusal(found, self._language)
        slanted = found.slanted and not self._slice_by_slice
        return words.refusal("tilted", self._language) if slanted else None

    def answer(self, study: Study, accepted: Sequence[str]) -> Answer:
        if not self.network.segments:
            return Answer(tuple(f for uid in accepted for f in self._classified(study, uid)))
        if not self._of_volume:
            return Answer(tuple(f for uid in accepted for f in self._outlined(study, uid)))
        return self._segmented(study, accepted)

    @property
    def _of_volume(self) -> bool:
        return self.network.segments and self._card.is_volume

    @property
    def _slice_by_slice(self) -> bool:
        return self._window is None or len(self._window.size) == 2

    def _read(self, study: Study, uid: str) -> Values:
        """(1, a, b): one image in the order of axes that the network was taught with."""
        image = study.values(uid, 1) if self._measured else study.pixels(uid, 1) * WHITE
        return np.asarray(self._turned(image)[None], dtype=np.float32)

    def _plane(self, study: Study, uid: str) -> NDArray[np.float64]:
        """The size of one image's pixels as an affine; where it lies does not matter."""
        down, across = pixel_size(study.header(uid)) or (1.0, 1.0)
        columns_first = self._card.block.axes == "columns_first"
        sides = (across, down) if columns_first else (down, across)
        return np.diag([*sides, 1.0, 1.0])

    def _turned(self, image: NDArray[Any]) -> NDArray[Any]:
        """Rows and columns exchanged where the network counts columns first; its own inverse."""
        columns_first = self._card.block.axes == "columns_first"
        return np.asarray(np.swapaxes(image, 0, 1) if columns_first else image)

    def _classified(self, study: Study, uid: str) -> list[Finding]:
        prepared = self._preparation.there(self._read(study, uid), self._plane(study, uid))
        values = self._run(prepared.image)[0]
        return [
            finding_of(label, uid, float(values[label.channel]))
            for label in self._card.block.labels
        ]

    def _map(self, image: Values, affine: NDArray[np.float64]) -> Values:
        """(1, a, b[, c]) -> (outputs, a, b[, c]), 0..1, on the same grid."""
        prepared = self._preparation.there(image, affine)
        answer = self._run(prepared.image)[0]
        if answer.shape[1:] != prepared.image.shape[1:]:
            raise WeightsShape(
                f"The network of {self._card.name} answers {tuple(answer.shape[1:])} to an image "
                f"of {tuple(prepared.image.shape[1:])}: its map would not lie on the image.",
                then="Bring images to a size that it keeps in dictamen.preprocessing.",
            )
        return self._preparation.back(answer, prepared)

    def _run(self, image: MetaTensor) -> Tensor:
        batch = image.as_tensor().float()[None]
        try:
            found = self._windowed(batch)
        except TryLater:
            raise
        except Exception as error:  # a network that does not fit an image raises many kinds
            raise WeightsShape(
                f"The network of {self._card.name} does not take an image of "
                f"{tuple(batch.shape[1:])}: {str(error).partition(chr(10))[0][:200]}",
                then="Bring images to its size in dictamen.preprocessing.",
            ) from error
        if not torch.isfinite(found).all():
            raise ModelOutputNotFinite(
                f"The output of model {self._card.name} is not finite.", then="No finding was made."
            )
        return self._activated(found)

    def _windowed(self, batch: Tensor) -> Tensor:
        if self._window is None:
            return self.network.run(batch)
        window = self._window
        found: Tensor = sliding_window_inference(
            batch, window.size, 1, self.network.run, overlap=window.overlap
        )
        return found

    def _activated(self, found: Tensor) -> Tensor:
        """0..1. Raises OutputOutOfRange where the card says that the network gives that by itself,
        and it does not: a score of 7 is no 100 %."""
        if self._card.block.activation == "softmax":
            return torch.softmax(found, 1)
        if self._card.block.activation == "sigmoid":
            return torch.sigmoid(found)
        low, high = float(found.min()), float(found.max())
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise OutputOutOfRange(
                f"The output of model {self._card.name} lies between {low:.3g} and {high:.3g}, and "
                "not between 0 and 1.",
                then="No finding was made. See dictamen.activation of its card.",
            )
        return found.clamp(0, 1)

    def _covered(self, values: Values, label: card.Label) -> NDArray[np.bool_]:
        own = values[label.channel]
        covered = own >= label.threshold
        if self._card.block.activation == "softmax":
            covered &= values.argmax(0) == label.channel
        return np.asarray(covered)

    def _outlined(self, study: Study, uid: str) -> list[Finding]:
        """Findings of a picture, with the outlines of what the network segments."""
        values = self._map(self._read(study, uid), self._plane(study, uid))
        found = []
        for label in self._card.block.labels:
            covered = self._covered(values, label)
            share = float(covered.mean())
            drawn = outlines(self._turned(covered), uid) if covered.any() else ()
            value = _value(values[label.channel], covered)
            found.append(finding_of(label, uid, value, _state(share, label), drawn))
        return found

    def _segmented(self, study: Study, accepted: Sequence[str]) -> Answer:
        """Findings and masks of the longest series."""
        uids, others = longest(study, accepted)
        series = volume(study, uids)
        if isinstance(series, str):
            raise WeightsShape("A series without geometry was not refused.")
        values = self._volume_map(study, series)
        pairs = [self._segment(values, label, series) for label in self._card.block.labels]
        pattern = words.NOTES["one-series"]
        said = words.say(pattern, self._language, count=len(uids), others=others)
        return Answer(
            findings=tuple(finding for finding, _ in pairs),
            masks=tuple(mask for _, mask in pairs if mask is not None),
            notes=(said,) if others else (),
        )

    def _volume_map(self, study: Study, series: Series) -> Values:
        """(outputs, a, b, slices), 0..1."""
        slices = [self._read(study, uid) for uid in series.uids]
        if self._slice_by_slice:
            places = [self._plane(study, uid) for uid in series.uids]
            maps = [self._map(*one) for one in zip(slices, places, strict=True)]
            return np.stack(maps, axis=-1)
        affine = series.affine
        if self._card.block.axes == "rows_first":
            affine = affine[:, [1, 0, 2, 3]]
        return self._map(np.stack(slices, axis=-1), affine)

    def _segment(
        self, values: Values, label: card.Label, series: Series
    ) -> tuple[Finding, Mask | None]:
        covered = self._covered(values, label)
        areas = covered.sum((0, 1))
        largest = int(areas.argmax()) if areas.any() else len(series.uids) // 2
        uid = series.uids[largest]
        drawn = outlines(self._turned(covered[..., largest]), uid) if areas.any() else ()
        amount = float(areas.sum()) * series.millilitres
        value = _value(values[label.channel], covered)
        finding = finding_of(label, uid, value, _state(amount, label), drawn)
        planes = {
            one: np.ascontiguousarray(self._turned(covered[..., k]))
            for k, one in enumerate(series.uids)
            if areas[k]
        }
        return finding, Mask(label.label, label.category, planes) if planes else None


def _value(values: Values, covered: NDArray[np.bool_]) -> float:
    """The mean inside what is covered; the highest value where nothing is."""
    return float(values[covered].mean()) if covered.any() else float(values.max())


def _state(amount: float, label: card.Label) -> State:
    """Absent: nothing; undetermined: less than the card asks for; present: that much or more."""
    if amount == 0:
        return State.ABSENT
    return State.PRESENT if amount >= label.least else State.UNDETERMINED
