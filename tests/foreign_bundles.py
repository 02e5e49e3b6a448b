"""Other people's models as a site would install them, small enough for tests; and what they judge.

A classifier and segmenters in MONAI's layout, a network of torchxrayvision's shape, the card of an
HTTP endpoint; films and a CT series of a phantom with a bright ball.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from monai.networks.nets import DenseNet, UNet
from onnx import TensorProto, helper
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from processors.analysis import Instance, Study
from processors.pixels import render, values
from processors.training.bundle import write_checksums

AIR, TISSUE, BALL = -900.0, 0.0, 160.0  # HU of the phantom
GREYS = {"a_min": -200.0, "a_max": 200.0, "b_min": 0.0, "b_max": 1.0, "clip": True}
RESEARCH = {
    "en": "Model of the tests, for research only.",
    "es": "Modelo de las pruebas, solo para investigación.",
}
NODULE = {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"}
LUNG = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
EFFUSION = {"value": "60046008", "scheme": "SCT", "meaning": "Pleural effusion"}
FILM_GATE = {
    "modalities": ["CR", "DX"],
    "populations": [[18, 120]],
    "body_parts": ["CHEST"],
    "views": ["PA", "AP"],
}
CT_GATE = {"modalities": ["CT"], "populations": [[0, 120]], "body_parts": ["CHEST", "THORAX"]}


def label(name: str, channel: int, code: Mapping[str, str] | None = None, **more: Any) -> dict:
    spoken = {"en": name, "es": name}
    found = {"label": name, "name": spoken, "channel": channel, **more}
    return {**found, "code": dict(code)} if code else found


def write(folder: Path, metadata: dict[str, Any], inference: dict[str, Any] | None) -> Path:
    """The configuration of a bundle beside its weights, and the checksums over all."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    if inference is not None:
        (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    write_checksums(folder)
    return folder


def save(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in state.items()}
    save_file(tensors, folder / "models" / "model.safetensors")


def metadata_of(
    name: str, shape: list[int], outputs: int, task: str, block: dict[str, Any]
) -> dict[str, Any]:
    """MONAI's metadata with the site's card in it."""
    given = {"num_channels": 1, "spatial_shape": shape, "value_range": [0, 1], "type": "image"}
    answered = {"num_channels": outputs, "format": task, "type": "image"}
    data = {"inputs": {"image": given}, "outputs": {"pred": answered}}
    card = {"kind": "monai_bundle", "research": RESEARCH, **block}
    return {"name": name, "version": "0.1.0", "network_data_format": data, "dictamen": card}


# ---- the models -------------------------------------------------------------------------------
def classifier(folder: Path) -> Path:
    """Two scores of a film by a small DenseNet with random weights."""
    size = {"init_features": 8, "growth_rate": 4, "block_config": [2, 2], "bn_size": 2}
    shape = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, **size}
    torch.manual_seed(3)
    save(folder, DenseNet(**shape).state_dict())
    labels = [
        label("nodule", 0, NODULE, site=LUNG),
        label("pleural effusion", 1, EFFUSION, threshold=0.5, band=[0.4, 0.6]),
    ]
    block = {"labels": labels, "activation": "sigmoid", "gate": FILM_GATE}
    inference = {
        "spatial_dims": 2,
        "network_def": {"_target_": "DenseNet", **shape, "spatial_dims": "@spatial_dims"},
        "network": "$@network_def.to(@device)",
    }
    return write(folder, metadata_of("films", [64, 64], 2, "classification", block), inference)


def ball_network(dims: int) -> tuple[dict[str, Any], nn.Module]:
    """A U-Net that was taught in seconds to find what is brighter than tissue."""
    shape = {
        "spatial_dims": dims, "in_channels": 1, "out_channels": 2, "channels": [4, 8],
        "strides": [2], "num_res_units": 0, "norm": "batch",
    }  # fmt: skip
    torch.manual_seed(0)
    network = UNet(**shape)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    random = torch.Generator().manual_seed(0)
    side, batch = (32, 8) if dims == 2 else (16, 4)
    grid = torch.stack(torch.meshgrid(*[torch.arange(side)] * dims, indexing="ij")).float()
    for _ in range(120 if dims == 2 else 300):
        middle = torch.rand((batch, dims, *[1] * dims), generator=random) * side
        reach = 2 + torch.rand((batch, *[1] * dims), generator=random) * side * 0.4
        ball = (grid[None] - middle).norm(dim=1) < reach
        edge = (torch.rand((batch, *[1] * dims), generator=random) * 2 - 0.5) * side
        tissue = torch.where(grid[int(torch.rand((), generator=random) * dims)] > edge, 0.5, 0.0)
        image = torch.where(ball, 0.9, tissue)
        image = image + 0.03 * torch.randn(image.shape, generator=random)
        loss = F.cross_entropy(network(image[:, None]), ball.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return shape, network.eval()


def segmenter(folder: Path, dims: int) -> Path:
    """The ball in CT: as zoo bundles are written, with the dictionary forms of the transforms."""
    shape, network = ball_network(dims)
    save(folder, network.state_dict())
    labels = [label("nodule", 1, NODULE, site=LUNG, threshold=0.7, least=0.5)]
    block = {"labels": labels, "activation": "softmax", "gate": CT_GATE}
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
    ]
    if dims == 3:
        steps += [
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {
                "_target_": "Spacingd",
                "keys": "image",
                "pixdim": [3.0, 3.0, 3.0],
                "mode": "bilinear",
            },
        ]
    steps += [{"_target_": "ScaleIntensityRanged", "keys": "image", **GREYS}]
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [32] * dims, "sw_batch_size": 2}
    inference = {
        "network_def": {"_target_": "UNet", **shape},
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "inferer": {**inferer, "overlap": 0.25},
    }
    metadata = metadata_of(f"ball{dims}d", [32] * dims, 2, "segmentation", block)
    return write(folder, metadata, inference)


def film_segmenter(folder: Path) -> Path:
    """The ball on films."""
    shape, network = ball_network(2)
    save(folder, network.state_dict())
    labels = [label("nodule", 1, NODULE, site=LUNG, least=0.001)]
    block = {"labels": labels, "activation": "softmax", "gate": FILM_GATE}
    inference = {"network_def": {"_target_": "monai.networks.nets.UNet", **shape}}
    return write(folder, metadata_of("ballfilm", [64, 64], 2, "segmentation", block), inference)


class DenseLayer(nn.Sequential):
    """As torchxrayvision (and torchvision) name it."""

    def __init__(self, taken: int, growth: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(taken), nn.ReLU()
        self.conv1 = nn.Conv2d(taken, inner * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(inner * growth), nn.ReLU()
        self.conv2 = nn.Conv2d(inner * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], 1)


class XrayNet(nn.Module):
    """A network of torchxrayvision's shape and layer names: the reference for the adapter."""

    def __init__(
        self, labels: int, first: int = 8, growth: int = 4, blocks: tuple = (2, 3)
    ) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(1, first, 7, 2, 3, bias=False),
            "norm0": nn.BatchNorm2d(first),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, 2, 1),
        }
        for number, count in enumerate(blocks, 1):
            block = nn.Sequential()
            for k in range(count):
                block.add_module(f"denselayer{k + 1}", DenseLayer(first + k * growth, growth, 2))
            layers[f"denseblock{number}"] = block
            first += count * growth
            if number < len(blocks):
                step = nn.Sequential()
                step.norm, step.relu = nn.BatchNorm2d(first), nn.ReLU()
                step.conv, step.pool = nn.Conv2d(first, first // 2, 1, bias=False), nn.AvgPool2d(2)
                layers[f"transition{number}"] = step
                first //= 2
        layers["norm5"] = nn.BatchNorm2d(first)
        self.features = nn.Sequential()
        for name, layer in layers.items():
            self.features.add_module(name, layer)
        self.classifier = nn.Linear(first, labels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


POINTS = (0.3, 0.6, float("nan"))


def xray_network() -> XrayNet:
    torch.manual_seed(5)
    network = XrayNet(len(POINTS))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training, not as new
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2.0)
    return network.eval()


def xray(folder: Path, **block: Any) -> Path:
    """A torchxrayvision bundle; its third label has no operating point and is not on the card."""
    save(folder, {**xray_network().state_dict(), "op_threshs": torch.tensor(POINTS)})
    labels = [
        label("nodule", 0, NODULE, site=LUNG, band=[0.45, 0.55]),
        label("pleural effusion", 1, EFFUSION),
    ]
    return xray_card(folder, labels, block)


def xray_card(
    folder: Path, labels: list[dict], block: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    """Its metadata, beside weights that are there."""
    card = {"kind": "torchxrayvision", "research": RESEARCH, "labels": labels, "gate": FILM_GATE}
    metadata = {"name": "xrv", "version": "0.1.0", "dictamen": {**card, **(block or {})}, **more}
    return write(folder, metadata, None)


def endpoint_card(folder: Path) -> Path:
    """What the site says of a model behind HTTP."""
    labels = [label("nodule", 0, NODULE), label("pleural effusion", 1, EFFUSION, band=[0.4, 0.6])]
    card = {"kind": "http_endpoint", "research": RESEARCH, "labels": labels, "gate": FILM_GATE}
    return write(folder, {"name": "remote", "version": "declared", "dictamen": card}, None)


def onnx_classifier(folder: Path, *, channels: int = 1, endless: bool = False) -> Path:
    """The mean of a picture and its opposite; or a loop that never ends."""
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, channels, 64, 64])
    answer = helper.make_tensor_value_info("pred", TensorProto.FLOAT, [None, 2])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Neg", ["mean"], ["opposite"]),
        helper.make_node("Concat", ["mean", "opposite"], ["short"], axis=1),
    ]
    constants = []
    if endless:
        loop = [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2]),
        ]
        out = [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2]),
        ]
        body = [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Sin", ["x"], ["y"]),
        ]
        constants = [
            helper.make_tensor("times", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("start", TensorProto.BOOL, [], [True]),
        ]
        nodes.append(
            helper.make_node(
                "Loop", ["times", "start", "short"], ["pred"],
                body=helper.make_graph(body, "body", loop, out),
            )
        )  # fmt: skip
    else:
        nodes.append(helper.make_node("Identity", ["short"], ["pred"]))
    graph = helper.make_graph(nodes, "tiny", [given], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "models" / "model.safetensors").unlink(missing_ok=True)
    onnx.save(model, folder / "models" / "model.onnx")
    write_checksums(folder)
    return folder


# ---- what they judge --------------------------------------------------------------------------
def dataset(grey: np.ndarray, **said: Any) -> Dataset:
    """One image of a made-up patient, 16 bit, as its modality would write it."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Muestra^Clara", "SEG-1", "19700101"
    made.PatientSex, made.PatientAge = "F", "056Y"
    made.StudyInstanceUID = uid("study")
    made.StudyDate, made.StudyTime, made.StudyID = "20260601", "101500", "1"
    made.ContentDate, made.ContentTime = "20260601", "101500"
    made.AccessionNumber, made.ReferringPhysicianName = "ACC-SEG", ""
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.ImageType, made.Manufacturer = ["ORIGINAL", "PRIMARY"], "Synthetic"
    made.BodyPartExamined, made.BurnedInAnnotation = "CHEST", "NO"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = grey.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = 1 if grey.min() < 0 else 0
    made.PixelData = grey.astype("<i2" if grey.min() < 0 else "<u2").tobytes()
    for keyword, value in said.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def uid(*parts: object) -> str:
    return generate_uid("2.25.", entropy_srcs=["foreign", *map(str, parts)])


def film(side: int = 96, **said: Any) -> Dataset:
    """A grey film with a bright ball in its upper right quarter."""
    rows, columns = np.mgrid[:side, :side] / side
    grey = 600 + 400 * np.sin(9 * rows) * np.cos(7 * columns)
    grey[(rows - 0.3) ** 2 + (columns - 0.7) ** 2 < 0.02] = 3800
    usual = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "SOPInstanceUID": uid("film"),
        "SeriesInstanceUID": uid("films"), "Modality": "CR", "ViewPosition": "PA",
        "WindowCenter": "2048", "WindowWidth": "4096",
    }  # fmt: skip
    return dataset(np.rint(grey), **{**usual, **said})


CT_SHAPE, CT_SPACING = (24, 96, 128), (3.0, 2.0, 2.0)  # slices, rows, columns; mm
BALL_AT, BALL_REACH = (12.0, 40.0, 84.0), 24.0  # slice, row, column; mm


def ball_in_ct() -> np.ndarray:
    """(slices, rows, columns) bool: the truth."""
    steps = np.meshgrid(*[np.arange(n) for n in CT_SHAPE], indexing="ij")
    away = [(s - m) * mm for s, m, mm in zip(steps, BALL_AT, CT_SPACING, strict=True)]
    return np.asarray(sum(a**2 for a in away) < BALL_REACH**2)


def ct_series(**said: Any) -> list[Dataset]:
    """A body in air with a bright ball, 24 slices, numbered against their position."""
    _, rows, columns = np.meshgrid(*[np.arange(n) for n in CT_SHAPE], indexing="ij")
    body = ((rows - 48) / 40) ** 2 + ((columns - 64) / 56) ** 2 < 1
    values = np.where(body, TISSUE, AIR)
    values[ball_in_ct()] = BALL
    values[0] = AIR  # one end shows nothing, as real series do
    values = values + np.random.default_rng(1).normal(0, 8, values.shape)
    usual = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SeriesInstanceUID": uid("ct"),
        "FrameOfReferenceUID": uid("frame"), "PositionReferenceIndicator": "", "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "SeriesDescription": "Torax phantom",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2.0, 2.0],
        "SliceThickness": 3.0, "RescaleIntercept": -1024, "RescaleSlope": 1, "KVP": 120,
        "RescaleType": "HU", "WindowCenter": 40, "WindowWidth": 400, "AcquisitionNumber": 1,
        "PatientPosition": "HFS",
    }  # fmt: skip
    return [
        dataset(
            np.rint(plane + 1024).clip(0, 4095),
            **usual
            | {
                "SOPInstanceUID": uid("ct", k),
                "InstanceNumber": CT_SHAPE[0] - k,
                "ImagePositionPatient": [-128.0, -96.0, -36.0 + 3.0 * k],
            }
            | said,
        )
        for k, plane in enumerate(values)
    ]


def study(*datasets: Dataset) -> Study:
    """As the pipeline makes it of files."""
    held = {str(one.SOPInstanceUID): one for one in datasets}
    instances = tuple(Instance(name, held[name]) for name in sorted(held))
    return Study(
        str(datasets[0].StudyInstanceUID),
        instances,
        lambda name, frame: render(held[name], frame),
        values=lambda name, frame: values(held[name], frame),
    )
