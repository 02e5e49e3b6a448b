"""The short form of `tests/benchmarks/intake_fuzz.py`: PDUs, data sets and messages."""

from __future__ import annotations

import sys
from pathlib import Path

import inbox_lab
import intake_lab as lab
import pytest
from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(lab.ROOT / "tests/benchmarks"))
import intake_fuzz
import mllp_fuzz


@pytest.mark.parametrize(
    "patch", [pytest.param("", id="fast"), pytest.param(lab.STOCK, id="stock")]
)
def test_no_bytes_stop_the_intake_or_get_a_success_for_nothing(tmp_path: Path, patch: str) -> None:
    limits = {"handshake": "1s", "idle": "2s", "per_address": 200}
    with lab.running(tmp_path, limits=limits, patch=patch, on_conflict="keep_both") as node:
        intake_fuzz.run(intake_fuzz.Fuzz(node), 15)


def test_no_bytes_stop_the_door_for_reports_or_get_an_aa_for_nothing(tmp_path: Path) -> None:
    how = settings(
        max_examples=60, deadline=None, database=None, derandomize=True,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with inbox_lab.open_door(tmp_path) as door:
        fuzz = mllp_fuzz.Fuzz(door)
        mllp_fuzz.attack(fuzz, intake_fuzz.edits, intake_fuzz.changed, how)
    assert fuzz.examples >= 60
