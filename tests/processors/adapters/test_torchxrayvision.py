"""The torchxrayvision adapter against a network of that shape, and what it says of its number."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_bundles as foreign
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from processors import kinds
from processors.adapters.torchxrayvision import film_input, rescaled
from processors.analysis import BundleError, ModelOutputNotFinite
from processors.runtime import WeightsShape
from processors.training.bundle import write_checksums

Folders = Callable[[str], Path]


def opened(folder: Path, language: str = "en") -> Any:
    return kinds.build("torchxrayvision", kinds.Wanted("site", str(folder), language, device="cpu"))


def test_the_answer_is_the_network_s_with_its_operating_point_at_half(made: Folders) -> None:
    study = foreign.study(foreign.film())
    found = opened(made("xray")).analyse(study).findings
    picture = study.pixels(study.instances[0].uid, 1)
    with torch.no_grad():
        values = torch.sigmoid(foreign.xray_network()(torch.tensor(film_input(picture))))[0]
    for finding, value, point in zip(found, values.tolist(), foreign.POINTS, strict=False):
        wanted = value / (2 * point) if value < point else 1 - (1 - value) / (2 * (1 - point))
        assert finding.probability == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "point", "moved"),
    [(0.0, 0.3, 0.0), (0.15, 0.3, 0.25), (0.3, 0.3, 0.5), (0.65, 0.3, 0.75), (1.0, 0.3, 1.0)],
)
def test_rescaling(value: float, point: float, moved: float) -> None:
    assert rescaled(value, point) == pytest.approx(moved)


@pytest.mark.parametrize("shape", [(300, 300), (200, 420), (420, 200)], ids=str)
def test_the_input_is_the_central_square(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.float32)
    rows, columns = shape
    side = min(shape)
    top, left = (rows - side) // 2, (columns - side) // 2
    picture[top : top + side, left : left + side] = 1.0
    found = film_input(picture)
    assert found.shape == (1, 1, 224, 224)
    assert (found.min(), found.max()) == (1024.0, 1024.0)
    assert film_input(np.zeros(shape, np.float32)).max() == -1024.0


@pytest.mark.parametrize(
    ("language", "said"), [("en", "is not a probability"), ("es", "no es una probabilidad")]
)
def test_every_report_says_what_the_number_is(made: Folders, language: str, said: str) -> None:
    analysis = opened(made("xray"), language).analyse(foreign.study(foreign.film()))
    assert any(said in note for note in analysis.notes)


@pytest.mark.parametrize(
    ("name", "channel", "said"),
    [
        ("pneumothorax", 3, ""),
        ("pneumothorax", 4, "has pneumothorax on channel 4, .* on channel 3"),
        ("Pleural_Thickening", 8, "on channel 9"),
        ("pleural effusion", 8, "on channel 7"),
        ("pleural effusion", 7, ""),
        ("oedema", 5, "on channel 4"),
        ("pulmonary edema", 5, "on channel 4"),
        ("edema", 4, ""),
        ("something of the site's", 4, ""),
    ],
)
def test_labels_stand_where_the_published_networks_have_them(
    tmp_path: Path, name: str, channel: int, said: str
) -> None:
    torch.manual_seed(1)
    state = {**foreign.XrayNet(18).state_dict(), "op_threshs": torch.full((18,), 0.5)}
    foreign.save(tmp_path / "all", state)
    folder = foreign.xray_card(tmp_path / "all", [foreign.label(name, channel)])
    if not said:
        opened(folder)
        return
    with pytest.raises(WeightsShape, match=said):
        opened(folder)


def test_a_card_may_say_its_own_order(tmp_path: Path) -> None:
    state = {**foreign.XrayNet(18).state_dict(), "op_threshs": torch.full((18,), 0.5)}
    foreign.save(tmp_path / "own", state)
    outputs = {"pred": {"channel_def": {"0": "Pneumothorax", "1": "Edema"}}}
    own = {"network_data_format": {"outputs": outputs}}
    opened(foreign.xray_card(tmp_path / "own", [foreign.label("pneumothorax", 0)], **own))
    with pytest.raises(WeightsShape, match="on channel 0"):
        opened(foreign.xray_card(tmp_path / "own", [foreign.label("pneumothorax", 3)], **own))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    state = load_file(folder / "models" / "model.safetensors")
    change(state)
    foreign.save(folder, state)
    write_checksums(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("op_threshs"), "no op_threshs"),
        (lambda s: s.update(op_threshs=torch.tensor([0.3, float("nan"), 0.5])), "no operating"),
        (lambda s: s.update(op_threshs=torch.tensor([0.3, 0.5])), "2,"),
        (lambda s: s.pop("classifier.weight"), "classifier.weight"),
        (lambda s: s.pop("features.norm5.weight"), "another architecture"),
        (lambda s: s.update({"features.conv0.weight": torch.zeros(8, 3, 7, 7)}), "3 channels"),
        (lambda s: [s.pop(k) for k in list(s) if "dense" in k], "not of a DenseNet"),
    ],
    ids=["no points", "untaught label", "too few points", "no head", "no layer", "colour", "other"],
)
def test_weights_that_do_not_fit(
    copied: Folders, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    with pytest.raises(WeightsShape, match=message):
        opened(changed(copied("xray"), change))


def test_no_finding_is_made_of_what_is_no_number(copied: Folders) -> None:
    folder = changed(copied("xray"), lambda s: s["classifier.weight"].fill_(torch.nan))
    with pytest.raises(ModelOutputNotFinite):
        opened(folder).analyse(foreign.study(foreign.film()))


def test_the_card_of_another_kind_is_refused(made: Folders) -> None:
    with pytest.raises(BundleError, match="is a monai_bundle"):
        opened(made("classifier"))


def test_its_package_is_never_imported(made: Folders) -> None:
    code = (
        "import sys; from processors import kinds; "
        "kinds.build('torchxrayvision', kinds.Wanted('x', sys.argv[1], device='cpu')); "
        "print([m for m in ('torchxrayvision', 'torchvision') if m in sys.modules])"
    )
    told = [sys.executable, "-c", code, str(made("xray"))]
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip() == "[]"
