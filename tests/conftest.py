"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FIRST = "test_system_studies.py"  # ten minutes: last, it would run alone on one of two cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first; `make tests` hands files out in this order."""
    items.sort(key=lambda item: item.path.name != FIRST)


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
