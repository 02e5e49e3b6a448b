"""Writes a bundle: networks as ONNX and safetensors, donors, configuration, checksums.

In: a trained network and what was measured on its tuning films. Out: a folder in MONAI bundle
layout that `processors.runtime.open_bundle` accepts. The ONNX files are compared with the network
they came from before anything is called written. Never: a single patient's film or latent.
Source of the layout: MONAI bundle specification (docs.monai.io, mb_specification).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from processors.training.files import write_checksums, write_json
from processors.vae.network import SpatialVAE

__all__ = ["Pieces", "head_arrays", "write_bundle", "write_checksums", "write_networks"]

AGREEMENT = 1e-3  # largest difference between torch and ONNX, in latent units or grey
GATE = "gate.npz"
EXPORTER = 18  # ONNX operator set that ONNX Runtime 1.17 and later reads


class _Encoder(nn.Module):
    def __init__(self, model: SpatialVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode(image)


class _Decoder(nn.Module):
    def __init__(self, model: SpatialVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent: Tensor) -> Tensor:
        return self.model.decode(latent)


@dataclass(frozen=True, slots=True)
class Pieces:
    """All that goes into a bundle beside the network. gate: files by name, none that is there."""

    metadata: Mapping[str, Any]
    inference: Mapping[str, Any]
    donors: Mapping[str, NDArray[Any]]
    gate: Mapping[str, bytes] = field(default_factory=dict)


def _export(module: nn.Module, example: Tensor, names: tuple[str, list[str]], file: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of torch's own use
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[names[0]],
            output_names=names[1],
            dynamic_shapes=({0: batch},),
            opset_version=EXPORTER,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"{file.name} was not exported")
    program.save(str(file), external_data=False)


def _compare(file: Path, name: str, example: Tensor, wanted: Tensor) -> None:
    session = ort.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: example.numpy()})[0]
    gap = float(np.abs(found - wanted.detach().numpy()).max())
    if gap > AGREEMENT:
        raise RuntimeError(f"{file.name} differs from the network by {gap:.4f}")


def write_networks(model: SpatialVAE, models: Path) -> None:
    """encoder.onnx, decoder.onnx (fp32, any batch), model.safetensors; compared with each other."""
    model = model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    shape = model.shape
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, shape.size, shape.size, generator=generator)
    latent = torch.randn(2, shape.channels, shape.grid, shape.grid, generator=generator)
    encoder, decoder = models / "encoder.onnx", models / "decoder.onnx"
    with torch.no_grad():
        _export(_Encoder(model), image, ("image", ["mean", "log_variance"]), encoder)
        _export(_Decoder(model), latent, ("latent", ["image"]), decoder)
        _compare(encoder, "image", image[:1], model.encode(image[:1])[0])
        _compare(decoder, "latent", latent[:1], model.decode(latent[:1]))
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(weights, str(models / "model.safetensors"))
    (models / "model.safetensors").chmod(0o644)


def head_arrays(model: SpatialVAE) -> dict[str, NDArray[Any]]:
    bias: Tensor = model.head.bias  # type: ignore[assignment]
    return {
        "head_weight": model.head.weight.detach().flatten(1).numpy().astype(np.float32),
        "head_bias": bias.detach().numpy().astype(np.float32),
    }


def write_bundle(folder: Path, model: SpatialVAE, pieces: Pieces) -> Path:
    """The whole bundle but its card (processors.training.card writes that after evaluation)."""
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "docs" / "README.md").unlink(missing_ok=True)  # the card of what stood here before
    write_networks(model, folder / "models")
    arrays = {**head_arrays(model), **pieces.donors}
    np.savez_compressed(folder / "models" / "donors.npz", **arrays)  # type: ignore[arg-type]
    if not (folder / "models" / GATE).exists():  # a gate that was trained for this bundle stays
        for name, data in pieces.gate.items():
            (folder / "models" / name).write_bytes(data)
    write_json(folder / "configs" / "metadata.json", pieces.metadata)
    write_json(folder / "configs" / "inference.json", pieces.inference)
    write_checksums(folder)
    return folder
