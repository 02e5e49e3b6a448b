"""A worker keeps its memory while there is work and gives it back at rest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node import memory

ROOT = Path(__file__).parents[2]
WORK = """
import numpy as np
from pathlib import Path
from dicom_node import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

before = resident()
made = [np.ones((20 << 20) // 8) for _ in range(3)]  # not larger than what is kept
kept = np.ones(1)
del made
held = resident()
memory.give_back()
print(held - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")
def test_what_is_free_is_kept_and_then_given_back() -> None:
    environment = {**os.environ, **memory.KEPT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, check=True
    )
    held, left = map(int, done.stdout.split())
    assert held > 50
    assert left < 10
