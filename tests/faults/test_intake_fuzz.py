"""The short form of `tests/benchmarks/intake_fuzz.py`: PDUs and data sets with accidents."""

from __future__ import annotations

import sys
from pathlib import Path

import intake_lab as lab
import pytest

sys.path.insert(0, str(lab.ROOT / "tests/benchmarks"))
import intake_fuzz


@pytest.mark.parametrize(
    "patch", [pytest.param("", id="fast"), pytest.param(lab.STOCK, id="stock")]
)
def test_no_bytes_stop_the_intake_or_get_a_success_for_nothing(tmp_path: Path, patch: str) -> None:
    limits = {"handshake": "1s", "idle": "2s", "per_address": 200}
    with lab.running(tmp_path, limits=limits, patch=patch, on_conflict="keep_both") as node:
        intake_fuzz.run(intake_fuzz.Fuzz(node), 15)
