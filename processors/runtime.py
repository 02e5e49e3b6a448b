"""Opens a bundle and runs its networks, warm: ONNX Runtime on a CPU, torch on a GPU.

A bundle is a folder in MONAI layout with `checksums.sha256` over every other file. Each file is
read once, checked, and used from the bytes that were checked, so that weights replaced meanwhile
change nothing. Refused: links, names that leave the folder, files not listed, pickles of any kind.
Passes are bounded in memory (`processors.bounded`). On the CPU path neither torch nor MONAI is
imported.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from processors.analysis import Algorithm, BundleError, ModelOutputNotFinite, TryLater
from processors.bounded import Bounded, DeviceFull, DeviceLost, Networks, Trouble, largest_batch
from processors.vae.card import check as card_check
from processors.vae.latent import Array, Row

CHECKSUMS = "checksums.sha256"
SHIPPED = Path(__file__).parent / "bundles"
PICKLE_NAMES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".ts", ".joblib"})
MEMORY = 2 * 2**30  # bytes of one pass of a network, where nobody says otherwise
LARGEST = 64 * 2**20  # bytes of one file; a shipped bundle has 15 MB in all
LARGEST_FOREIGN = 2**30  # the same of other people's; the largest of MONAI's zoo have a third
STATE_DICTS = ("models/model.pt", "models/model.pth")  # pickles of which tensors alone are taken


class WeightsCorrupt(BundleError):
    """A file differs from its recorded digest, or cannot be read as what it says it is."""


class WeightsMissing(BundleError):
    """The bundle or one of its listed files is absent."""


class WeightsShape(BundleError):
    """The weights belong to another architecture or list of labels than the card says."""


class PickleWeights(BundleError):
    """A file that would run code when loaded."""


class UnsafeBundle(BundleError):
    """Links, names outside the folder, or files nobody listed."""


@dataclass(frozen=True, slots=True)
class Head:
    """Linear head: weight (rows, channels), bias (rows,), cells at the edge without evidence."""

    weight: Array
    bias: Array
    frame: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened model. donors: arrays of models/donors.npz, averages over patients."""

    folder: Path
    name: str
    metadata: Mapping[str, Any]
    algorithm: Algorithm
    head: Head
    donors: Mapping[str, NDArray[Any]]
    networks: Networks

    @property
    def card(self) -> Mapping[str, Any]:
        """Our own block of the metadata: labels, questions, thresholds, limits of use."""
        return dict(self.metadata["dictamen"])

    @property
    def size(self) -> int:
        return int(self.card["size"])

    def row(self, question: int, answer: int) -> Row:
        """One answer of the card's questions, calibrated, its rivals after it."""
        questions = self.card["questions"]
        own, first = questions[question], sum(len(q["answers"]) for q in questions[:question])
        order = [answer, *(k for k in range(len(own["answers"])) if k != answer)]
        index = [first + k for k in order]
        return Row(
            weight=self.head.weight[index],
            bias=self.head.bias[index],
            offset=np.array([own["answers"][k]["offset"] for k in order], np.float32),
            temperature=float(own["temperature"]),
            none=bool(own["none"]),
            frame=self.head.frame,
        )

    def encode(self, images: Array) -> Array:
        """Latent means (n, channels, g, g) of network inputs (n, size, size), 0..1."""
        return _finite(self.networks.encode(images[:, None].astype(np.float32)), self.name)

    def decode(self, latents: Array) -> Array:
        """Images (n, size, size), 0..1."""
        return _finite(self.networks.decode(latents.astype(np.float32)), self.name)[:, 0]


def _finite(values: Array, name: str) -> Array:
    if not np.isfinite(values).all():
        said = f"The output of model {name} is not finite."
        raise ModelOutputNotFinite(said, then="No finding was made.")
    return values


def _location(path_or_name: str) -> Path:
    shipped = SHIPPED / path_or_name
    plain = Path(path_or_name).name == path_or_name
    folder = shipped if plain and shipped.is_dir() else Path(path_or_name)
    if not folder.is_dir():
        known = sorted(one.parents[1].name for one in SHIPPED.glob("*/models/encoder.onnx"))
        raise WeightsMissing(
            f"Bundle {path_or_name} does not exist (looked at {folder}).",
            then=f"Correct `bundle:` of this processor; shipped are {', '.join(known)}.",
        )
    return folder


def _listed(folder: Path) -> dict[str, str]:
    """Name -> digest of checksums.sha256; every name stays inside the folder."""
    file = folder / CHECKSUMS
    if file.is_symlink() or not file.is_file():
        raise WeightsMissing(f"{file} is absent.", then="Restore the bundle.")
    entries: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8", errors="backslashreplace").splitlines():
        digest, _, name = line.partition("  ")
        pure = PurePosixPath(name)
        if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise UnsafeBundle(f"{file} names {name!r}, outside the bundle.")
        entries[name] = digest
    return entries


def _check_tree(folder: Path, entries: Mapping[str, str], weights_only: Collection[str]) -> None:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise UnsafeBundle(f"{name} in bundle {folder.name} is a link.")
        if path.is_dir() or name == CHECKSUMS or "__pycache__" in path.parts:
            continue
        if path.suffix.lower() in PICKLE_NAMES and name not in weights_only:
            said = f"{name} in bundle {folder.name} is a pickle."
            raise PickleWeights(said, then="Use safetensors or ONNX.")
        if name not in entries:
            raise UnsafeBundle(f"{name} in bundle {folder.name} is not in {CHECKSUMS}.")


def _is_pickle(data: bytes) -> bool:
    """Protocol 2-5 pickles, and zip archives as torch writes them (with a data.pkl inside)."""
    return (data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05") or (
        data[:2] == b"PK" and b"data.pkl" in data
    )


def read_verified(
    path_or_name: str, *, weights_only: Collection[str] = (), largest: int = LARGEST
) -> tuple[Path, dict[str, bytes]]:
    """The bundle's folder and the bytes of all its files, each equal to its digest.

    weights_only: names that may be pickles, because whoever reads them takes tensors alone.
    largest: bytes of one file.
    """
    folder = _location(path_or_name)
    entries = _listed(folder)
    _check_tree(folder, entries, weights_only)
    files: dict[str, bytes] = {}
    for name, digest in entries.items():
        path = folder / name
        if not path.is_file():
            raise WeightsMissing(f"{path} is absent.", then="Restore the bundle.")
        if path.stat().st_size > largest:
            raise UnsafeBundle(f"{name} in bundle {folder.name} is larger than {largest} bytes.")
        data = path.read_bytes()
        if name not in weights_only and _is_pickle(data):
            raise PickleWeights(f"{name} in bundle {folder.name} is a pickle.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise WeightsCorrupt(
                f"{path} differs from its recorded digest.", then="Restore the bundle."
            )
        files[name] = data
    return folder, files


def _arrays(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise PickleWeights(f"{name} holds pickled objects.") from error
        raise WeightsCorrupt(f"{name} cannot be read: {error}") from error


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise WeightsCorrupt(f"configs/metadata.json is no JSON: {error}.") from error


class OnnxNetworks:
    """Both networks in ONNX Runtime on the CPU."""

    def __init__(self, files: Mapping[str, bytes], threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._encoder = _session(files, "models/encoder.onnx", options)
        self._decoder = _session(files, "models/decoder.onnx", options)

    @property
    def shapes(self) -> tuple[list[Any], list[Any]]:
        """Input shapes of encoder and decoder, without the batch."""
        return self._encoder.get_inputs()[0].shape[1:], self._decoder.get_inputs()[0].shape[1:]

    def encode(self, images: Array) -> Array:
        return _ran(self._encoder, "mean", {"image": images})

    def decode(self, latents: Array) -> Array:
        return _ran(self._decoder, "image", {"latent": latents})


def _ran(session: Any, output: str, given: Mapping[str, Array]) -> Array:
    try:
        return np.asarray(session.run([output], given)[0])
    except Exception as error:  # RuntimeException, Fail: of a private module
        if "alloc" not in str(error).lower():
            raise
        said = "The computer's memory is full."
        raise DeviceFull(said, then="It is tried again later.") from error


def _session(files: Mapping[str, bytes], name: str, options: ort.SessionOptions) -> Any:
    if name not in files:
        raise WeightsMissing(f"The bundle lists no {name}.", then="Restore the bundle.")
    try:
        return ort.InferenceSession(files[name], options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsCorrupt(f"{name} cannot be loaded: {error}") from error


def _cuda_networks(files: Mapping[str, bytes], card: Mapping[str, Any]) -> Networks:
    """Raises DeviceFull, DeviceLost."""
    from processors.vae.device import TorchNetworks

    return TorchNetworks(files["models/model.safetensors"], card, "cuda")


def _bounded(
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    on_cpu: Networks,
    device: str,
    memory: int,
    on_trouble: Trouble,
) -> Networks:
    """The networks on the device that is asked for, those on the CPU as their spare if auto."""
    most = largest_batch(memory, int(card["size"]), int(card["widths"]["narrow"]))
    if device == "cpu" or (device == "auto" and not cuda_is_there()):
        return Bounded(on_cpu, None, most, on_trouble)
    try:
        on_cuda = _cuda_networks(files, card)
    except TryLater as error:
        if device == "cuda":
            raise
        on_trouble(DeviceLost(str(error)))  # full at the start: nothing is loaded there, either
        return Bounded(on_cpu, None, most, on_trouble)
    return Bounded(on_cuda, on_cpu if device == "auto" else None, most, on_trouble)


def cuda_is_there() -> bool:
    """Whether torch is installed and sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _check_shapes(card: Mapping[str, Any], head: Head, donors: Mapping[str, Any]) -> None:
    channels, grid = int(card["channels"]), int(card["size"]) // 8
    rows = sum(len(question["answers"]) for question in card["questions"])
    if head.weight.shape != (rows, channels) or head.bias.shape != (rows,):
        raise WeightsShape(
            f"The head is {head.weight.shape}, the card has {rows} rows of {channels} channels."
        )
    numbers = {"head_weight": head.weight, "head_bias": head.bias, **donors}
    for name, values in numbers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsCorrupt(f"{name} of models/donors.npz is not finite.")
        if name.startswith("latents_") and values.shape[1:] != (channels, grid, grid):
            raise WeightsShape(f"Donors {name} are {values.shape[1:]}, not {channels, grid, grid}.")


def _check_networks(card: Mapping[str, Any], networks: OnnxNetworks) -> None:
    channels, size = int(card["channels"]), int(card["size"])
    wanted = [1, size, size], [channels, size // 8, size // 8]
    for name, found, want in zip(("encoder", "decoder"), networks.shapes, wanted, strict=True):
        if found != want:
            raise WeightsShape(f"The {name} takes {found}, the card says {want}.")


def open_bundle(
    path_or_name: str,
    device: str = "auto",
    threads: int = 1,
    memory: int = MEMORY,
    on_trouble: Trouble = lambda _: None,
) -> Bundle:
    """A ready bundle, or one BundleError that says what is wrong with which file.

    device: cpu (ONNX Runtime), cuda (torch; DeviceLost without a GPU), auto (cuda if there, else
    and in need the CPU). memory: bytes that one pass of a network may take. on_trouble: hears of a
    device that is full or lost.
    """
    folder, files = read_verified(path_or_name)
    for needed in ("configs/metadata.json", "models/donors.npz"):
        if needed not in files:
            raise WeightsMissing(f"The bundle lists no {needed}.", then="Restore the bundle.")
    metadata = card_check(_parsed(files["configs/metadata.json"]), folder.name)
    donors = _arrays(files["models/donors.npz"], "models/donors.npz")
    card = metadata["dictamen"]
    try:
        head = Head(donors.pop("head_weight"), donors.pop("head_bias"), int(card["frame"]))
        _check_shapes(card, head, donors)
    except KeyError as error:
        raise WeightsShape(f"models/donors.npz of {folder.name} lacks {error}.") from error
    on_cpu = OnnxNetworks(files, threads)
    _check_networks(card, on_cpu)
    networks = _bounded(files, card, on_cpu, device, memory, on_trouble)
    algorithm = Algorithm(str(metadata["name"]), str(metadata["version"]), weights_digest(files))
    return Bundle(folder, folder.name, metadata, algorithm, head, donors, networks)


def weights_digest(files: Mapping[str, bytes]) -> str:
    """One digest over everything under models/, in order of names."""
    total = hashlib.sha256()
    for name in sorted(files):
        if name.startswith("models/"):
            total.update(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return total.hexdigest()
