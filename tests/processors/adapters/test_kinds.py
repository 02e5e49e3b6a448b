"""The registry of kinds: what a kind needs is asked for only when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import Processor
from processors import kinds
from processors.analysis import BundleError

CODE = """
import sys
for name in sys.argv[3:]:
    sys.modules[name] = None
from processors import kinds
try:
    print(kinds.build(sys.argv[1], kinds.Wanted("x", sys.argv[2], device="cpu")).name)
except kinds.ExtraMissing as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("kind", "bundle", "absent", "said"),
    [
        ("vae_bundle", "chest", ["monai", "safetensors"], "x"),
        ("monai_bundle", "classifier", ["monai"], "needs the package monai. pip install"),
        ("torchxrayvision", "xray", ["torch"], "needs the package torch. pip install"),
    ],
)
def test_a_missing_extra_is_named(
    made: Callable[[str], Path], kind: str, bundle: str, absent: list[str], said: str
) -> None:
    folder = bundle if bundle == "chest" else str(made(bundle))
    told = [sys.executable, "-c", CODE, kind, folder, *absent]
    assert said in subprocess.run(told, capture_output=True, text=True, check=True).stdout


def test_settings_and_registry_know_the_same_kinds() -> None:
    stated = Processor.model_json_schema()["properties"]["kind"]["enum"]
    assert set(stated) == set(kinds.BUILDERS)


def test_an_endpoint_without_an_address(made: Callable[[str], Path]) -> None:
    with pytest.raises(BundleError, match="address"):
        kinds.build("http_endpoint", kinds.Wanted("x", str(made("endpoint"))))


@pytest.mark.parametrize("kind", ["monai_bundle", "torchxrayvision"])
def test_a_state_dict_is_taken_of_these_kinds_alone(
    copied: Callable[[str], Path], kind: str
) -> None:
    import torch

    from processors.training.bundle import write_checksums

    folder = copied("classifier")
    torch.save({}, folder / "models" / "model.pt")
    write_checksums(folder)
    assert kinds.algorithm(kind, str(folder)).version == "0.1.0"
    with pytest.raises(BundleError, match="pickle"):
        kinds.algorithm("vae_bundle", str(folder))


@pytest.mark.parametrize("kind", ["monai_bundle", "torchxrayvision"])
def test_a_bundle_names_what_its_results_name(made: Callable[[str], Path], kind: str) -> None:
    folder = str(made("classifier" if kind == "monai_bundle" else "xray"))
    processor = kinds.build(kind, kinds.Wanted("x", folder, device="cpu"))
    assert kinds.algorithm(kind, folder) == processor.algorithm


def test_of_a_remote_model_the_weights_are_not_known(made: Callable[[str], Path]) -> None:
    found = kinds.algorithm("http_endpoint", str(made("endpoint")))
    assert (found.version, found.sha256) == ("declared", "")
