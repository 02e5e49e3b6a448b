"""The short form of `tests/benchmarks/intake_soak.py`, and how it tells growth from noise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import intake_lab as lab
import pytest

sys.path.insert(0, str(lab.ROOT / "tests/benchmarks"))
import intake_soak

COMMAND = lab.ROOT / "tests/benchmarks/intake_soak.py"


def test_some_seconds_of_load_leave_a_row_of_every_answer_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "soak.png"
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--short", "--picture", str(picture)],
        capture_output=True, text=True, timeout=300, cwd=lab.ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "receiver 1" in done.stdout
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        pytest.param([9, 50, 50, 50, 50, 50, 50, 50, 50, 50], 0, id="warming up is no growth"),
        pytest.param([50, 50, 50, 50, 50, 90, 50, 50, 50, 50], 0, id="one look is no growth"),
        pytest.param(list(range(100)), 54, id="steady growth"),
        pytest.param([50, 60, 70, 80, 90] * 20, 0, id="a saw is no growth"),
        pytest.param([7.0], 0, id="one look alone"),
    ],
)
def test_growth(values: list[float], grown: float) -> None:
    assert intake_soak.growth(values) == pytest.approx(grown, abs=0.5)


def test_slope_is_an_hours_growth() -> None:
    assert intake_soak.slope([n * 2.0 for n in range(50)], look=36.0) == pytest.approx(200.0)


def test_what_grows_or_has_no_row_is_red() -> None:
    curves = {"intake": {"rss": list(range(100)), "fds": [5.0] * 100, "threads": [3.0] * 100}}
    found = {"curves": curves, "rows": 9, "answered": 10, "faults": []}
    assert intake_soak.red(found) == [
        "intake: MB grow by 54.0",
        "10 were answered, 9 have a row",
    ]
