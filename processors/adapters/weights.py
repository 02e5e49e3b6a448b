"""Tensors out of the bytes of a weights file, and nothing else out of it.

safetensors cannot hold code. A state dict saved by torch is a pickle; torch reads it with
`weights_only`, which makes tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from processors.runtime import (
    LARGEST_FOREIGN,
    STATE_DICTS,
    PickleWeights,
    WeightsCorrupt,
    WeightsMissing,
    WeightsShape,
    read_verified,
)

SAFETENSORS = "models/model.safetensors"
ONNX = "models/model.onnx"
WRAPPERS = ("state_dict", "model", "network", "net")  # under which trainers store a state dict


def opened(bundle: str) -> tuple[str, dict[str, bytes]]:
    """The folder's name and its files, verified; a state dict may be among them."""
    folder, files = read_verified(bundle, weights_only=STATE_DICTS, largest=LARGEST_FOREIGN)
    return folder.name, files


def chosen(files: Mapping[str, bytes]) -> str:
    """Which of the files has the weights. Raises WeightsMissing."""
    for name in (SAFETENSORS, ONNX, *STATE_DICTS):
        if name in files:
            return name
    wanted = ", ".join((SAFETENSORS, ONNX, *STATE_DICTS))
    raise WeightsMissing("The bundle has no weights.", then=f"It needs one of {wanted}.")


def tensors(name: str, data: bytes) -> dict[str, Tensor]:
    """The state dict of a file. Raises PickleWeights, WeightsCorrupt."""
    if name == SAFETENSORS:
        try:
            return dict(load(data))
        except (SafetensorError, ValueError) as error:
            raise WeightsCorrupt(f"{name} cannot be read: {error}") from error
    return _state_dict(name, _unpickled(name, data))


def _unpickled(name: str, data: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles before it refuses them
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PickleWeights(
            f"{name} is a pickle that needs more than tensors: {_reason(error)}",
            then="Save model.state_dict() as safetensors, where the model was made.",
        ) from error
    except Exception as error:  # a damaged archive raises many kinds
        raise WeightsCorrupt(f"{name} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What torch says, without its advice to switch the check off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("WeightsUnpickler error", "Unsupported"))]
    return (said or lines or [type(error).__name__])[0].partition(" Please use ")[0][:200]


def _state_dict(name: str, found: Any) -> dict[str, Tensor]:
    candidates = [found]
    if isinstance(found, Mapping):
        candidates += [found[key] for key in WRAPPERS if key in found]
    for one in candidates:
        if isinstance(one, Mapping) and one and all(isinstance(v, Tensor) for v in one.values()):
            return {str(key).removeprefix("module."): value for key, value in one.items()}
    raise WeightsShape(f"{name} holds no state dict (a mapping of names to tensors).")


def fill(network: torch.nn.Module, state: Mapping[str, Tensor], name: str) -> torch.nn.Module:
    """The network with these weights, ready to answer. Raises WeightsShape."""
    try:
        network.load_state_dict(dict(state), strict=True)
    except (RuntimeError, ValueError) as error:
        first = [line.strip() for line in str(error).splitlines()][1:2]
        raise WeightsShape(
            f"{name} is of another architecture than the network: {' '.join(first)[:200]}"
        ) from error
    return network.eval()
