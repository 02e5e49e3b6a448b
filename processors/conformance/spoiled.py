"""Copies of a bundle that a node must refuse, each spoiled in one way."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from processors.conformance.subject import Subject, seal

KEPT = ("op_threshs",)  # numbers that a card is compared with, and no weights


class NothingToSpoil(Exception):
    """The bundle has no such part; says why."""


@contextmanager
def copy(subject: Subject, change: Callable[[Path, str], None], sealed: bool) -> Iterator[Subject]:
    """A changed copy; sealed: with checksums that fit the change."""
    with TemporaryDirectory(prefix="dictamen-check-") as place:
        folder = Path(shutil.copytree(subject.folder, Path(place) / subject.folder.name))
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        change(folder, subject.kind)
        if sealed:
            seal(folder)
        yield subject.at(folder)


def flip_a_byte(folder: Path, _kind: str) -> None:
    """One byte of the largest file is another."""
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    largest.write_bytes(bytes(data))


def add_a_pickle(folder: Path, _kind: str) -> None:
    """A listed file that would run code when loaded."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "extra.pkl").write_bytes(pickle.dumps(Path("x")))


def pickle_of_code(folder: Path, kind: str) -> None:
    """The weights as a pickle that needs more than tensors: a whole model, as some save it."""
    if kind == "http_endpoint":
        raise NothingToSpoil("the weights are elsewhere")
    for path in (folder / "models").glob("model.*"):
        path.unlink()
    try:
        import torch
    except ModuleNotFoundError as error:
        raise NothingToSpoil("torch is not installed") from error
    buffer = io.BytesIO()
    torch.save({"state_dict": {}, "trainer": Path("x")}, buffer)
    (folder / "models" / "model.pt").write_bytes(buffer.getvalue())


def not_a_number(folder: Path, kind: str) -> None:
    """Every weight is NaN."""
    if kind == "http_endpoint":
        raise NothingToSpoil("the weights are elsewhere")
    found = [p for p in (folder / "models").iterdir() if p.suffix in _POISONS]
    if kind == "vae_bundle":
        found = [p for p in found if p.suffix == ".onnx"]  # what runs on a CPU
    for path in found:
        _POISONS[path.suffix](path)


def _poison_safetensors(path: Path) -> None:
    from safetensors.numpy import load, save

    found = load(path.read_bytes())
    path.write_bytes(save({k: v if k in KEPT else _poisoned(v) for k, v in found.items()}))


def _poison_state_dict(path: Path) -> None:
    import torch

    def poisoned(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: one if key in KEPT else poisoned(one) for key, one in found.items()}
        return torch.full_like(found, torch.nan) if found.is_floating_point() else found

    torch.save(poisoned(torch.load(path, weights_only=True)), path)


def _poison_onnx(path: Path) -> None:
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise NothingToSpoil("the package onnx is not installed") from error
    model = onnx.load(str(path))
    for one in model.graph.initializer:
        values = numpy_helper.to_array(one)
        if values.dtype.kind == "f":
            one.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), one.name))
    onnx.save(model, str(path))


_POISONS: dict[str, Callable[[Path], None]] = {
    ".safetensors": _poison_safetensors,
    ".pt": _poison_state_dict,
    ".pth": _poison_state_dict,
    ".onnx": _poison_onnx,
}


def _poisoned(values: Any) -> Any:
    return np.full_like(values, np.nan) if values.dtype.kind == "f" else values


def other_input(folder: Path, kind: str) -> None:
    """The card states another input than the network takes."""
    if kind in ("http_endpoint", "torchxrayvision"):
        raise NothingToSpoil("the card states no input")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    if kind == "vae_bundle":
        metadata["dictamen"]["size"] *= 2
    else:
        for stated in metadata["network_data_format"]["inputs"].values():
            stated["num_channels"] += 1
    file.write_text(json.dumps(metadata), encoding="utf-8")
