"""Builds the network of a MONAI bundle by name, or opens its ONNX graph; tries it once on zeros.

Only classes of `monai.networks.nets` (and its resnets by depth) are built, with plain arguments
and never with weights fetched from elsewhere. ONNX runs in ONNX Runtime on the CPU.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from monai.networks import nets
from torch import Tensor

from processors.adapters import card, plain, weights
from processors.analysis import TryLater
from processors.runtime import UnsafeBundle, WeightsCorrupt, WeightsShape
from processors.torch_trouble import told

HOME = "monai.networks.nets"
RESNETS = re.compile(r"resnet(10|18|34|50|101|152|200)")
USUAL_SIDE = 64  # pixels, where the metadata leaves a side open
Run = Callable[[Tensor], Tensor]


class NetworkRefused(UnsafeBundle):
    """The bundle asks for a network that is not one of MONAI's own."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the metadata says of the network's input."""

    channels: int
    shape: tuple[int, ...]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Network:
    """run: (1, channels, *spatial) float32 -> (1, outputs[, *spatial]), on the device it is on.

    segments: whether it answers for each place, and not once.
    """

    run: Run
    outputs: int
    segments: bool


def stated_input(metadata: Mapping[str, Any]) -> Input:
    """The first input of network_data_format. Raises WeightsShape."""
    try:
        first = next(iter(metadata["network_data_format"]["inputs"].values()))
        shape = tuple(_side(one) for one in first["spatial_shape"])
        low, high = (float(one) for one in first.get("value_range") or (0, 1))
        found = Input(int(first["num_channels"]), shape, low, high)
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError) as error:
        raise WeightsShape(
            "network_data_format of configs/metadata.json states no usable input.",
            then="It needs num_channels, spatial_shape and value_range.",
        ) from error
    if len(found.shape) not in (2, 3):
        raise WeightsShape(f"A network of {len(found.shape)} dimensions is not one of images.")
    return found


def stated_channels(metadata: Mapping[str, Any]) -> dict[int, str]:
    """channel_def of the first output, where the metadata have one."""
    try:
        first = next(iter(metadata["network_data_format"]["outputs"].values()))
        return {int(channel): str(name) for channel, name in first["channel_def"].items()}
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError):
        return {}


def same_channels(
    read: card.Card,
    stated: Mapping[int, str],
    outputs: int,
    where: str = "channel_def of configs/metadata.json",
) -> None:
    """What the network's makers call a channel, the site's card must not call another one.

    A number beyond the network's channels is a value of the mask that was made of them.
    Raises WeightsShape.
    """
    named = [(_plain(name), channel) for channel, name in stated.items() if channel < outputs]
    for label in read.block.labels:
        ours = {_plain(label.label), _plain(label.name.en)}
        theirs = sorted(channel for name, channel in named if name in ours)
        if theirs and label.channel not in theirs:
            raise WeightsShape(
                f"The card has {label.label} on channel {label.channel}, and {where} on channel "
                f"{theirs[0]}.",
                then="Correct the one that is wrong.",
            )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _side(stated: Any) -> int:
    """A side in pixels; 16*n and * stand for any, or any multiple."""
    if isinstance(stated, int):
        return stated
    number = re.match(r"(\d+)", str(stated))
    least = int(number[1]) if number else 1
    return -(-USUAL_SIDE // least) * least


def open_network(
    files: Mapping[str, bytes], config: Mapping[str, Any], given: Input, device: str
) -> Network:
    """The network of a bundle, tried. Raises BundleError."""
    name = weights.chosen(files)
    if name == weights.ONNX:
        return _onnx(files[name], given)
    network = weights.fill(build(config), weights.tensors(name, files[name]), name)
    place = torch.device(device)
    with told(place):
        network = network.to(place)

    @torch.no_grad()  # a sliding window writes into the answer, which inference mode forbids
    def run(images: Tensor) -> Tensor:
        with told(place):
            found = network(images.to(place))
            answer: Tensor = found[0] if isinstance(found, tuple | list) else found
            return answer.float().cpu()

    return _tried(run, given)


def build(config: Mapping[str, Any]) -> torch.nn.Module:
    """The network that inference.json names, untrained. Raises NetworkRefused, WeightsShape."""
    place = "network_def" if "network_def" in config else "network"
    target, arguments = plain.component(config.get(place), config)
    maker = _maker(target)
    if "pretrained" in inspect.signature(maker).parameters:
        arguments["pretrained"] = False  # nothing is fetched; the bundle has the weights
    try:
        made = maker(**arguments)
    except Exception as error:  # whatever a constructor thinks of its arguments
        raise WeightsShape(f"{target} cannot be built: {error}") from error
    if not isinstance(made, torch.nn.Module):
        raise NetworkRefused(f"{target} is no network.")
    return made


def _maker(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    found = getattr(nets, name, None)
    ours = module == "" or module == HOME or module.startswith(f"{HOME}.")
    known = inspect.isclass(found) or (inspect.isfunction(found) and RESNETS.fullmatch(name))
    if not (ours and known and found and found.__module__.startswith(f"{HOME}.")):
        raise NetworkRefused(
            f"The bundle asks for the network {target!r}, and code of a bundle is not run.",
            then=f"Only networks of {HOME} are built; or export it to models/model.onnx.",
        )
    maker: Callable[..., Any] = found
    return maker


def _tried(run: Run, given: Input) -> Network:
    """What comes out for zeros of the stated shape."""
    shape = (1, given.channels, *given.shape)
    try:
        answer = run(torch.zeros(shape))
    except TryLater:
        raise
    except Exception as error:  # a network that does not fit its input raises many kinds
        first = str(error).splitlines()[:1]
        raise WeightsShape(
            f"The network does not take the stated input {shape}: {' '.join(first)[:200]}"
        ) from error
    return _of(run, tuple(answer.shape), given)


def _of(run: Run, answer: Sequence[Any], given: Input) -> Network:
    segments = len(answer) == len(given.shape) + 2
    if not segments and len(answer) != 2:
        raise WeightsShape(f"The network answers {tuple(answer)}: neither classes nor a map.")
    if not isinstance(answer[1], int):
        raise WeightsShape("The network does not say how many channels it answers.")
    return Network(run, answer[1], segments)


def _onnx(data: bytes, given: Input) -> Network:
    """Not tried: a graph may loop, and only a running worker is killed from outside."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsCorrupt(f"{weights.ONNX} cannot be loaded: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or not outputs:
        raise WeightsShape(f"{weights.ONNX} has {len(inputs)} inputs, and one is expected.")
    wanted = (1, given.channels, *given.shape)
    taken = inputs[0].shape
    fits = len(taken) == len(wanted) and all(
        not isinstance(have, int) or have == want for have, want in zip(taken, wanted, strict=True)
    )
    if not fits:
        raise WeightsShape(f"{weights.ONNX} takes {taken}, the metadata says {list(wanted)}.")

    def run(images: Tensor) -> Tensor:
        found = session.run(None, {inputs[0].name: np.asarray(images, np.float32)})[0]
        return torch.from_numpy(np.asarray(found, np.float32))

    return _of(run, outputs[0].shape, given)
