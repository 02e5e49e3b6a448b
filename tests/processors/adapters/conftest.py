"""The bundles of this folder, made once; each test spoils a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import foreign_bundles as foreign
import pytest

MAKERS: dict[str, Callable[[Path], Path]] = {
    "classifier": foreign.classifier,
    "segmenter2d": lambda folder: foreign.segmenter(folder, 2),
    "segmenter3d": lambda folder: foreign.segmenter(folder, 3),
    "film_segmenter": foreign.film_segmenter,
    "xray": foreign.xray,
    "endpoint": foreign.endpoint_card,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a bundle, which nobody changes."""
    place, ready = tmp_path_factory.mktemp("foreign"), dict[str, Path]()

    def folder(name: str) -> Path:
        if name not in ready:
            ready[name] = MAKERS[name](place / name)
        return ready[name]

    return folder


@pytest.fixture
def copied(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a bundle to spoil."""
    return lambda name: Path(shutil.copytree(made(name), tmp_path / name))
