"""The repository as a whole: light doors stay light, and nothing of one machine is written down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("config", "dicom_node", "processors", "reports", "storage")
HEAVY = ("torch", "monai", "onnxruntime")
# places of one machine, and hosts that packages come from
MACHINE_PATH = re.compile(rb"(?<![\w.)}>~$-])/(work|tmp|root|home|Users)/[\w.-]")
REGISTRY = re.compile(
    rb"pypi\.org|pythonhosted\.org|deb\.debian\.org|npmjs\.(org|com)|docker\.io|ghcr\.io|quay\.io"
    rb"|download\.pytorch\.org|anaconda\.(org|com)"
)


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "config.template",
        "storage",
        "reports",
        "processors",
        "dicom_node.admission",
        "dicom_node.courier",
        "dicom_node.destinations.build",
        "dicom_node.intake",
        "dicom_node.rooms",
        "dicom_node.routing",
    ],
)
def test_a_light_door_loads_no_model_runtime(module: str) -> None:
    question = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def tracked() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a clone: git does not say which files are ours")
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True)
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["paths", "registries"])
def test_nothing_of_one_machine_is_written_down(pattern: re.Pattern[bytes]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]!r}"
        for path in tracked()
        if path != Path(__file__) and b"\0" not in (content := path.read_bytes())[:8192]
        for hit in pattern.finditer(content)
    ]
    assert found == []


def in_a_room(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] in ROOMS


def test_every_folder_with_code_is_a_package() -> None:
    """A folder without __init__.py works in a checkout and is missing from an installation."""
    folders = {path.parent for path in tracked() if path.suffix == ".py" and in_a_room(path)}
    assert sorted(f for f in folders if not (f / "__init__.py").exists()) == []


def test_everything_in_a_room_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks setuptools what it would put into a wheel."""
    setuptools = pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    distribution = setuptools.Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    data = {ROOT / source / name for _, source, _, names in build.data_files for name in names}
    code = {ROOT / module[2] for module in build.find_all_modules()}
    ours = {path for path in tracked() if in_a_room(path)}
    assert sorted(str(path.relative_to(ROOT)) for path in ours - data - code) == []
    assert sorted(str(path) for path in data if "__pycache__" in path.parts) == []
