"""The short form of `tests/benchmarks/pipeline_road.py`: the command itself works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from system.node import ROOT
from system.trial import ORTHANC

COMMAND = ROOT / "tests/benchmarks/pipeline_road.py"


def test_a_study_of_every_kind_of_report_reaches_pacs_and_ris(tmp_path: Path) -> None:
    if "DICTAMEN_SHARED" not in os.environ:
        pytest.skip("DICTAMEN_SHARED is not set: the shared test material is not at hand")
    if not ORTHANC:
        pytest.skip("Orthanc is not installed")
    words = [sys.executable, str(COMMAND), "--short", "--studies", "2", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, str(tmp_path / "found.json")],
        capture_output=True, text=True, timeout=600, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    kinds = {"decode", "inference", "explanation", "secondary_capture", "structured_report"}
    for told in found["cases"].values():
        assert kinds | {"receive", "settle", "send"} <= set(told["stages_ms"])
        assert 0 < told["p50_s"] <= told["p95_s"] < 120
    assert found["deliveries"]["ris delivered"] >= 5  # one to choose a film, two in each case
    assert all(name.endswith("delivered") for name in found["deliveries"])


def test_without_shared_material_it_says_what_is_missing() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DICTAMEN_SHARED"}
    done = subprocess.run(
        [sys.executable, str(COMMAND)],
        capture_output=True, text=True, timeout=120, env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "DICTAMEN_SHARED" in done.stderr
