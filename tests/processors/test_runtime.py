"""Opening bundles: what is refused, what is computed, and what is never imported."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import tiny_network

from processors.analysis import BundleError, ModelOutputNotFinite
from processors.runtime import (
    PickleWeights,
    UnsafeBundle,
    WeightsCorrupt,
    WeightsMissing,
    WeightsShape,
    open_bundle,
)
from processors.training.bundle import write_checksums
from processors.vae.card import CardFaulty
from processors.vae.device import TorchNetworks


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))


def _flip_a_byte(folder: Path, name: str) -> None:
    file = folder / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "name", ["models/encoder.onnx", "models/decoder.onnx", "models/donors.npz", "docs/x.md"]
)
def test_weights_corrupt(folder: Path, name: str) -> None:
    (folder / "docs" / "x.md").write_text("card")
    write_checksums(folder)
    _flip_a_byte(folder, name)
    with pytest.raises(WeightsCorrupt, match=name):
        open_bundle(str(folder), "cpu")


@pytest.mark.parametrize(
    "name", ["models/encoder.onnx", "models/donors.npz", "configs/metadata.json"]
)
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_weights_missing(folder: Path, name: str, listed: bool) -> None:
    (folder / name).unlink()
    if not listed:
        write_checksums(folder)
    with pytest.raises(WeightsMissing, match=name.split("/")[-1]):
        open_bundle(str(folder), "cpu")


def test_weights_missing_whole_bundle(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="nowhere"):
        open_bundle(str(tmp_path / "nowhere"), "cpu")


def _fewer_questions(folder: Path) -> None:
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["dictamen"]["questions"][0]
    file.write_text(json.dumps(metadata))


def _say(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "configs" / "metadata.json"
        metadata = json.loads(file.read_text())
        metadata["dictamen"].update(changes)
        file.write_text(json.dumps(metadata))

    return change


def _other_size(folder: Path) -> None:
    _say(size=64)(folder)
    donors = dict(np.load(folder / "models" / "donors.npz"))
    kept = {k: v for k, v in donors.items() if not k.startswith("latents_")}
    np.savez(folder / "models" / "donors.npz", **kept)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_say(channels=6), id="channels"),
        pytest.param(_fewer_questions, id="answers"),
        pytest.param(_other_size, id="networks of another size"),
    ],
)
def test_weights_shape(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    write_checksums(folder)
    with pytest.raises(WeightsShape):
        open_bundle(str(folder), "cpu")


@pytest.mark.parametrize("key", ["questions", "size", "frame"])
def test_a_card_without_a_key_is_named(folder: Path, key: str) -> None:
    """As of a bundle that an older version trained."""
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["dictamen"][key]
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    with pytest.raises(CardFaulty, match=key):
        open_bundle(str(folder), "cpu")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("questions", 0, "temperature"), -1, "greater than 0"),
        (("questions", 0, "temperature"), math.nan, "finite"),
        (("questions", 0, "none"), False, "children has one answer and no other"),
        (("questions", 0, "high"), 0, "asked of nobody"),
        (("questions", 1, "answers", 0, "threshold"), 0.9, "does not hold its threshold"),
        (("questions", 1, "answers", 0, "band"), [0.7, 0.2], "does not hold its threshold"),
        (("questions", 1, "answers", 0, "band"), [0.4], "at least 2 items"),
        (("questions", 1, "answers", 0, "offset"), None, "valid number"),
        (("questions", 1, "answers", 0, "label"), "pneumonía", "no label is called pneumonía"),
        (("labels", 0, "name", "es"), "", "at least 1 character"),
        (("labels", 0, "code"), {"value": "1"}, "labels.0.code.scheme"),
        (("frame",), 2, "a frame of 2 cells leaves none of 4"),
        (("gate", "shortest_side"), "x", "valid integer"),
        (("gate", "modalities"), None, "gate.modalities"),
        (("gate", "populations"), None, "gate.populations"),
        (("gate", "views"), "PA", "gate.views"),
        (("notes",), "x", "valid list"),
    ],
)
def test_a_card_that_cannot_be_meant_is_named_at_the_start(
    folder: Path, place: tuple[str | int, ...], value: object, said: str
) -> None:
    """And not with the first study, as a bug or as an answer that is turned around."""
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    part = metadata["dictamen"]
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    with pytest.raises(CardFaulty, match=re.escape(said)):
        open_bundle(str(folder), "cpu")


def test_a_code_that_is_left_empty_is_none(folder: Path) -> None:
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["dictamen"]["labels"][0] |= {"code": {}, "site": None}
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    open_bundle(str(folder), "cpu")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"dictamen": {}}'])
def test_metadata_that_are_none_are_named(folder: Path, content: bytes) -> None:
    (folder / "configs" / "metadata.json").write_bytes(content)
    write_checksums(folder)
    with pytest.raises(BundleError, match=r"metadata\.json"):
        open_bundle(str(folder), "cpu")


def test_a_head_of_no_numbers_refuses_the_start(folder: Path) -> None:
    arrays = dict(np.load(folder / "models" / "donors.npz"))
    arrays["head_weight"][0, 0] = np.nan
    np.savez(folder / "models" / "donors.npz", **arrays)
    write_checksums(folder)
    with pytest.raises(WeightsCorrupt, match="head_weight"):
        open_bundle(str(folder), "cpu")


def test_weights_shape_safetensors(folder: Path) -> None:
    card = dict(open_bundle(str(folder), "cpu").card)
    card["widths"] = {"narrow": 16, "wide": 8}
    with pytest.raises(WeightsShape):
        TorchNetworks((folder / "models" / "model.safetensors").read_bytes(), card, "cpu")


def test_model_nan(folder: Path) -> None:
    bundle = open_bundle(str(folder), "cpu")
    with pytest.raises(ModelOutputNotFinite, match="tiny"):
        bundle.encode(np.full((1, 32, 32), np.nan, np.float32))
    with pytest.raises(ModelOutputNotFinite):
        bundle.decode(np.full((1, 4, 4, 4), np.nan, np.float32))


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never run",)


def _object_array() -> bytes:
    out = io.BytesIO()
    np.savez(out, head_weight=np.array([_Bomb()], dtype=object))
    return out.getvalue()


def _torch_file() -> bytes:
    out = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("models/model.pt", _torch_file(), id="torch file by its name"),
        pytest.param("models/encoder.onnx", _torch_file(), id="torch file under another name"),
        pytest.param("models/encoder.onnx", b"\x80\x04K\x01.", id="bare pickle"),
        pytest.param("models/donors.npz", _object_array(), id="array of objects"),
    ],
)
def test_pickle_weights(
    folder: Path, name: str, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_bytes(data)
    write_checksums(folder)
    with pytest.raises(PickleWeights):
        open_bundle(str(folder), "cpu")
    assert "must never run" not in capsys.readouterr().out


def _link(folder: Path) -> None:
    target = folder.parent / "elsewhere.onnx"
    (folder / "models" / "decoder.onnx").rename(target)
    (folder / "models" / "decoder.onnx").symlink_to(target)


def _outside(folder: Path) -> None:
    (folder.parent / "secret").write_text("x")
    listing = folder / "checksums.sha256"
    listing.write_text(listing.read_text() + f"{'0' * 64}  ../secret\n")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_link, id="link"),
        pytest.param(_outside, id="name outside"),
        pytest.param(lambda f: (f / "models" / "new.bin").write_text("x"), id="not listed"),
    ],
)
def test_zip_slip(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(UnsafeBundle):
        open_bundle(str(folder), "cpu")


def test_every_fault_is_a_bundle_error() -> None:
    for fault in (WeightsCorrupt, WeightsMissing, WeightsShape, PickleWeights, UnsafeBundle):
        assert issubclass(fault, BundleError)


def test_onnx_equals_torch(folder: Path) -> None:
    bundle, model = open_bundle(str(folder), "cpu"), tiny_network()
    generator = np.random.default_rng(1)
    images = generator.random((5, 32, 32)).astype(np.float32)
    latents = generator.standard_normal((5, 4, 4, 4)).astype(np.float32)
    with torch.no_grad():
        mean = model.encode(torch.from_numpy(images)[:, None])[0].numpy()
        decoded = model.decode(torch.from_numpy(latents))[:, 0].numpy()
    np.testing.assert_allclose(bundle.encode(images), mean, atol=1e-4)
    np.testing.assert_allclose(bundle.decode(latents), decoded, atol=1e-4)


def test_torch_networks_equal_onnx(folder: Path) -> None:
    bundle = open_bundle(str(folder), "cpu")
    weights = (folder / "models" / "model.safetensors").read_bytes()
    images = np.random.default_rng(2).random((3, 1, 32, 32)).astype(np.float32)
    theirs = TorchNetworks(weights, bundle.card, "cpu").encode(images)
    np.testing.assert_allclose(theirs, bundle.networks.encode(images), atol=1e-4)


def test_digest_follows_the_weights(folder: Path) -> None:
    before = open_bundle(str(folder), "cpu").algorithm.sha256
    with zipfile.ZipFile(folder / "models" / "donors.npz", "a") as archive:
        archive.comment = b"changed"
    write_checksums(folder)
    after = open_bundle(str(folder), "cpu").algorithm.sha256
    assert len(before) == 64
    assert before != after


def test_cpu_path_knows_no_torch(folder: Path) -> None:
    program = (
        "import sys, processors.vae.processor, processors.runtime\n"
        f"bundle = processors.runtime.open_bundle({str(folder)!r}, 'cpu')\n"
        "processors.vae.processor.VaeBundleProcessor('chest', bundle, 'es')\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'monai', 'sklearn')))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
