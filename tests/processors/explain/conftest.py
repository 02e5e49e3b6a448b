"""The bundle with a known cause, written once for the tests of explanations."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.runtime import Bundle, open_bundle


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied, never changed."""
    from planted_bundle import write_planted  # torch, for these tests alone

    return write_planted(tmp_path_factory.mktemp("bundles") / "planted")


@pytest.fixture(scope="session")
def planted_bundle(planted_folder: Path) -> Bundle:
    return open_bundle(str(planted_folder), "cpu")
