"""Writes a bundle again with other networks: in 8-bit integers, or from its weights once more.

In: a bundle, and network inputs: `images` to learn the ranges of the activations from, `others` to
compare the answers on. Out: a copy of the bundle that `processors.runtime.open_bundle` accepts, and
what changed. It is written beside its place and put there only when the answers stayed the same.
Never: changes the bundle it reads, the head, the donors, the gate or the card's operating points;
on a GPU the copy still runs `model.safetensors`, in float32.
Weights keep 7 bits: with 8, processors without VNNI overflow the 16-bit sums of `vpmaddubsw`, and
answers move by a log-odd and more, unseen on the machine that exported. The first convolution reads
raw greys and the last writes latents or grey: both stay in float32. Sources: Jacob et al.
arXiv:1712.05877 (integer inference); ONNX Runtime, "Quantize ONNX Models" (reduce_range, QDQ).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from processors.runtime import Bundle, open_bundle, read_verified
from processors.training.bundle import write_networks
from processors.training.evaluate import answers
from processors.training.files import write_checksums, write_json
from processors.training.measure import area
from processors.vae.device import build
from processors.vae.latent import Array, margin

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Numbers = NDArray[np.float64]
LEAST_IMAGES = 120  # to learn ranges from: with fewer, the brightest decide
LEAST_OTHERS = 30  # to compare on
SAME = 0.98  # share of like states: no more change than the narrowest band of `calibrate` holds
SHIFT = 0.1  # mean log-odds: moves a probability by 2.5 points at most, where the logistic is steep
LOST = 0.01  # AUC of any answer
QUANTISED = ["Add", "Conv", "Relu"]  # sigmoid and reshaping gain nothing and lose grey levels


@dataclass(frozen=True, slots=True)
class Change:
    """How the answers of two networks differ on the same images.

    largest, mean: of the absolute change of calibrated log-odds. same: share of answers whose state
    (absent, undetermined, present) stayed. crossed: answers that went from present to absent or
    back. grey: mean absolute change of decoded greys, 0..1. auc: answer -> (before, after).
    """

    images: int
    largest: float
    mean: float
    same: float
    crossed: int
    grey: float
    auc: Mapping[str, tuple[float, float]]

    @property
    def refused(self) -> str:
        """Why the copy must not be used; empty when it may."""
        lost = {name: before - after for name, (before, after) in self.auc.items()}
        found = [
            (self.same < SAME, f"{self.same:.3f} of the states stay, least {SAME}"),
            (self.crossed > 0, f"{self.crossed} answers cross the undetermined band"),
            (self.mean > SHIFT, f"log-odds move by {self.mean:.3f}, at most {SHIFT}"),
            *((v > LOST, f"{k} loses {v:.3f} of its AUC, at most {LOST}") for k, v in lost.items()),
        ]
        return "; ".join(said for bad, said in found if bad)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "log_odds": {"largest": round(self.largest, 4), "mean": round(self.mean, 4)},
            "same_state": round(self.same, 4),
            "crossed_the_band": self.crossed,
            "grey": round(self.grey, 5),
            "auc": {
                name: {"before": round(before, 4), "after": round(after, 4)}
                for name, (before, after) in self.auc.items()
            },
        }


def _inputs(images: Sequence[Pixels], size: int) -> Array:
    """(n, size, size) float32, 0..1. Raises ValueError for another size or range."""
    shapes = {image.shape for image in images} - {(size, size)}
    if shapes:
        raise ValueError(f"an image is {shapes.pop()}, the network reads {(size, size)}")
    found = [
        image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
        for image in images
    ]
    stacked = np.stack(found) if found else np.empty((0, size, size), np.float32)
    if len(stacked) and not (stacked.min() >= 0 and stacked.max() <= 1):
        raise ValueError("an image has greys outside 0..1")
    return stacked


def _check_inputs(known: Array, others: Array) -> None:
    for found, least, what in (
        (known, LEAST_IMAGES, "to learn ranges from"),
        (others, LEAST_OTHERS, "to compare on"),
    ):
        if len(found) < least:
            raise ValueError(f"{len(found)} images {what}; at least {least} are needed")
    seen = {image.tobytes() for image in known}
    if any(image.tobytes() in seen for image in others):
        raise ValueError("an image is both learnt from and compared on")


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds one network input at a time, as the node does."""

    def __init__(self, name: str, inputs: Array) -> None:
        self._left: Iterator[dict[str, Array]] = iter({name: each[None]} for each in inputs)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._left, None)


def _quantise(file: Path, name: str, inputs: Array) -> None:
    """Replaces a float32 ONNX file by its int8 form (QDQ, static, one scale per channel)."""
    with tempfile.TemporaryDirectory() as work:
        prepared = Path(work) / file.name
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(str(prepared)).graph.node
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        quantization.quantize_static(
            str(prepared),
            str(file),
            _Reader(name, inputs),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[convolutions[0], convolutions[-1]],
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )


def _log_odds(bundle: Bundle, inputs: Array) -> tuple[Numbers, Array]:
    """Calibrated log-odds (n, answers) and decoded pictures (n, size, size)."""
    rows = [bundle.row(q, k) for q, k, _ in answers(bundle.card)]
    found, decoded = [], []
    for image in inputs:
        latent = bundle.encode(image[None])
        found.append([margin(latent[0], row) for row in rows])
        decoded.append(bundle.decode(latent)[0])
    return np.array(found), np.stack(decoded)


def _states(card: Mapping[str, Any], log_odds: Numbers) -> NDArray[np.int64]:
    """0 absent, 1 undetermined, 2 present, of log-odds (n, answers)."""
    bands = np.array([a["band"] for q in card["questions"] for a in q["answers"]])
    p = 1 / (1 + np.exp(-log_odds))
    return (p >= bands[:, 0]).astype(np.int64) + (p >= bands[:, 1])


def _areas(
    card: Mapping[str, Any], pair: tuple[Numbers, Numbers], targets: NDArray[np.int64]
) -> dict[str, tuple[float, float]]:
    """AUC of each answer against all others, of both networks; targets (n, questions)."""
    found = {}
    for column, (q, k, label) in enumerate(answers(card)):
        known = targets[:, q] >= 0
        ill = (targets[known, q] == k).astype(np.int64)
        if 0 < ill.sum() < len(ill):
            before, after = (area(ill, log_odds[known, column]) for log_odds in pair)
            found[f"{card['questions'][q]['name']}/{label}"] = before, after
    return found


def compare(
    before: Bundle, after: Bundle, inputs: Array, targets: NDArray[np.int64] | None = None
) -> Change:
    """What the second bundle answers otherwise on inputs (n, size, size), 0..1.

    targets: (n, questions), the number of the answer, -1 where unknown; None: no AUC.
    """
    (old, seen), (new, drawn) = _log_odds(before, inputs), _log_odds(after, inputs)
    change, steps = np.abs(new - old), np.abs(_states(before.card, new) - _states(before.card, old))
    return Change(
        images=len(inputs),
        largest=float(change.max()),
        mean=float(change.mean()),
        same=float((steps == 0).mean()),
        crossed=int((steps == 2).sum()),
        grey=float(np.abs(drawn - seen).mean()),
        auc={} if targets is None else _areas(before.card, (old, new), targets),
    )


def _copy(path_or_name: str, folder: Path) -> dict[str, Any]:
    """Writes the checked files of a bundle to a new folder; returns its metadata."""
    _, files = read_verified(path_or_name)
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return dict(json.loads(files["configs/metadata.json"]))


def _describe(folder: Path, metadata: Mapping[str, Any], change: Change) -> None:
    """The card says that its figures were measured before, and what changed since."""
    card = {**metadata["dictamen"], "int8": change.record()}
    version = f"{metadata['version']}+int8"
    described = {**metadata, "version": version, "dictamen": card}
    write_json(folder / "configs" / "metadata.json", described)
    write_checksums(folder)


def export_bundle(
    path_or_name: str,
    target: Path,
    images: Sequence[Pixels],
    int8: bool,
    others: Sequence[Pixels] = (),
    targets: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """A copy of a bundle in `target` with networks made anew; what changed, for JSON.

    Args: images: training inputs (size, size), uint8 or float32 0..1, at least LEAST_IMAGES with
    `int8`, else unused. others: inputs of the same form that are in none of them; needed with
    `int8`. targets: (others, questions), see `compare`. int8: integers, else float32 out of
    model.safetensors, compared with torch.
    Raises: ValueError when the answers change too much (with the figures), the images do not do or
    `target` exists; RuntimeError when ONNX and torch differ; BundleError for a bad bundle.
    """
    if target.exists():
        raise ValueError(f"{target} exists; give a new folder")
    bundle = open_bundle(path_or_name, "cpu")
    known, judged = _inputs(images, bundle.size), _inputs(others, bundle.size)
    if int8:
        _check_inputs(known, judged)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        folder = Path(place) / target.name
        change = _made(bundle, folder, known, judged, targets, int8)
        if change and change.refused:
            raise ValueError(f"{target} was not written: {change.refused}; {change.record()}")
        shutil.move(folder, target)
    sizes = {
        name: (target / "models" / f"{name}.onnx").stat().st_size for name in ("encoder", "decoder")
    }
    return {"folder": str(target), "bytes": sizes, "change": change.record() if change else None}


def _made(
    bundle: Bundle,
    folder: Path,
    known: Array,
    judged: Array,
    targets: NDArray[np.int64] | None,
    int8: bool,
) -> Change | None:
    metadata = _copy(str(bundle.folder), folder)
    models = folder / "models"
    if int8:
        _quantise(models / "encoder.onnx", "image", known[:, None])
        latents = np.concatenate([bundle.encode(image[None]) for image in known])
        _quantise(models / "decoder.onnx", "latent", latents)
    else:
        weights = (models / "model.safetensors").read_bytes()
        write_networks(build(weights, bundle.card), models)
    write_checksums(folder)
    if not len(judged):
        return None
    change = compare(bundle, open_bundle(str(folder), "cpu"), judged, targets)
    if int8:
        _describe(folder, metadata, change)
    return change
