"""A torchxrayvision DenseNet as a model, without its package, which asks for torchvision.

The network is MONAI's DenseNet of the same shape, read off the weights; only names of layers
differ. Input: the central square of the film at 224 px in [-1024, 1024]; output: the sigmoid,
rescaled so that each label's operating point lies at 0.5 (Cohen et al., TorchXRayVision, MIDL
2022). That number orders films; it is not a probability, and reports say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.networks.nets import DenseNet
from numpy.typing import NDArray
from skimage.transform import resize
from torch import Tensor

from processors.adapters import card, weights
from processors.adapters.judging import Answer, SiteProcessor, finding_of
from processors.adapters.network import same_channels, stated_channels
from processors.analysis import ModelOutputNotFinite, Pixels, Refusal, Study
from processors.runtime import WeightsMissing, WeightsShape, weights_digest
from processors.torch_trouble import told

SIDE = 224  # pixels
REACH = 1024.0  # black is -REACH, white +REACH
POINTS = "op_threshs"  # name of the operating points among the weights
# the order in which its published networks answer (xrv.datasets.default_pathologies)
PUBLISHED = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema",
    "Fibrosis", "Effusion", "Pneumonia", "Pleural Thickening", "Cardiomegaly", "Nodule", "Mass",
    "Hernia", "Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum",
)  # fmt: skip
ALSO = {"pleural effusion": "Effusion", "pulmonary edema": "Edema", "oedema": "Edema"}
LAYER = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.conv1\.weight")
INNER = re.compile(r"(denselayer\d+)\.(norm|conv)")


def open_torchxrayvision(name: str, bundle: str, language: str, device: str) -> SiteProcessor:
    """A ready processor of a bundle folder. Raises BundleError."""
    torch.set_num_threads(1)
    folder, files = weights.opened(bundle)
    read = card.read(files, folder, "torchxrayvision")
    chosen = weights.chosen(files)
    if chosen == weights.ONNX:
        raise WeightsMissing(
            "A torchxrayvision bundle takes its state dict.",
            then="An ONNX graph is a monai_bundle.",
        )
    network, points = network_of(weights.tensors(chosen, files[chosen]), chosen)
    _agree_on_channels(read, len(points))
    place = torch.device(device)
    with told(place):
        model = XrayModel(read, network.to(place), points, place)
    return SiteProcessor(name, read, model, weights_digest(files), language, ["operating-point"])


def _agree_on_channels(read: card.Card, outputs: int) -> None:
    """The weights name no label: one line off, a card would call a pneumothorax oedema."""
    if stated := stated_channels(read.metadata):
        same_channels(read, stated, outputs)
    elif outputs == len(PUBLISHED):
        where = "torchxrayvision's networks of 18 labels"
        also = [{PUBLISHED.index(known): name} for name, known in ALSO.items()]
        for named in (dict(enumerate(PUBLISHED)), *also):
            same_channels(read, named, outputs, where)


def network_of(
    state: Mapping[str, Tensor], name: str
) -> tuple[torch.nn.Module, NDArray[np.float64]]:
    """The network with its weights, and the operating points. Raises WeightsShape."""
    if POINTS not in state:
        raise WeightsShape(
            f"{name} has no {POINTS}, the operating points of the labels.",
            then="Store model.state_dict() with model.op_threshs under that name.",
        )
    layers = [(int(m[1]), int(m[2])) for m in map(LAYER.fullmatch, state) if m]
    if not layers:
        raise WeightsShape(f"{name} is not of a DenseNet as torchxrayvision names its layers.")
    blocks = [max(n for b, n in layers if b == block) for block in sorted({b for b, _ in layers})]
    try:
        first, last = state["features.conv0.weight"], state["classifier.weight"]
        growth = state["features.denseblock1.denselayer1.conv2.weight"].shape[0]
        inner = state["features.denseblock1.denselayer1.conv1.weight"].shape[0]
    except KeyError as error:
        raise WeightsShape(f"{name} has no {error}.") from error
    if first.shape[1] != 1:
        raise WeightsShape(f"The network takes {first.shape[1]} channels and a film has one.")
    network = DenseNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=last.shape[0],
        init_features=first.shape[0],
        growth_rate=growth,
        block_config=blocks,
        bn_size=inner // growth,
    )
    renamed = {_renamed(key): value for key, value in state.items() if key != POINTS}
    points = np.asarray(state[POINTS].double().numpy())
    if points.shape != (last.shape[0],):
        raise WeightsShape(f"{POINTS} has {points.shape} numbers, the network {last.shape[0]}.")
    return weights.fill(network, renamed, name), points


def _renamed(key: str) -> str:
    """MONAI's name of a layer."""
    return INNER.sub(r"\1.layers.\2", key).replace("classifier.", "class_layers.out.")


def film_input(picture: Pixels) -> NDArray[np.float32]:
    """(1, 1, 224, 224) in -1024..1024 of a rendered picture 0..1: its central square."""
    rows, columns = picture.shape
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    square = (2 * picture[top : top + side, left : left + side] - 1) * REACH
    small = resize(square, (SIDE, SIDE), mode="constant", preserve_range=True)
    return np.asarray(small, dtype=np.float32)[None, None]


def rescaled(value: float, point: float) -> float:
    """A sigmoid's value 0..1 with the operating point moved to 0.5, linear on either side."""
    if value < point:
        return value / (2 * point)
    return 1 - (1 - value) / (2 * (1 - point))


class XrayModel:
    """Implements processors.adapters.judging.Model."""

    def __init__(
        self,
        read: card.Card,
        network: torch.nn.Module,
        points: NDArray[np.float64],
        device: torch.device,
    ) -> None:
        self._card, self._network, self._points, self._device = read, network, points, device
        for label in read.block.labels:
            if label.channel >= len(points) or not 0 < points[label.channel] < 1:
                raise WeightsShape(
                    f"The model has no operating point for {label.label} "
                    f"(channel {label.channel}).",
                    then="It was not taught that label: take it off the card.",
                )

    def unfit(self, study: Study, accepted: Sequence[str]) -> Refusal | None:  # noqa: ARG002
        return None

    def answer(self, study: Study, accepted: Sequence[str]) -> Answer:
        found = []
        for uid in accepted:
            values = self._values(study.pixels(uid, 1))
            for label in self._card.block.labels:
                value = rescaled(float(values[label.channel]), self._points[label.channel])
                found.append(finding_of(label, uid, value))
        return Answer(tuple(found))

    @torch.inference_mode()
    def _values(self, picture: Pixels) -> NDArray[np.float32]:
        with told(self._device):
            image = torch.from_numpy(film_input(picture)).to(self._device)
            values = torch.sigmoid(self._network(image))[0].cpu()
        if not torch.isfinite(values).all():
            raise ModelOutputNotFinite(
                f"The output of model {self._card.name} is not finite.", then="No finding was made."
            )
        return np.asarray(values.numpy())
