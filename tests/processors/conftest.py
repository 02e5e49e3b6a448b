"""The tiny bundle, written once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete bundle with random weights; to be copied, never changed."""
    from tiny_bundle import write_tiny  # torch, for these tests alone

    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")
