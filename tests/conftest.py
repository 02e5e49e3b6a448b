"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test material, named by DICTAMEN_SHARED.

    Skips when the variable is unset; a variable that names no usable folder is a failure.
    """
    named = os.environ.get("DICTAMEN_SHARED")
    if not named:
        pytest.skip("DICTAMEN_SHARED is not set: the shared test material is not at hand")
    folder = Path(named)
    missing = [part for part in ("data/dicom", "data/images") if not (folder / part).is_dir()]
    if missing:
        pytest.fail(f"DICTAMEN_SHARED is set but lacks {', '.join(missing)}")
    return folder
