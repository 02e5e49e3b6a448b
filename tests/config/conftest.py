"""A good node.yaml to change, and the ways to load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import Problem, Settings, SettingsError, load

GOOD = """\
node:
  ae_title: DICTAMEN
  audit_key_file: audit.key
intake:
  accept_from: [{ae_title: PACS, host: 10.1.2.3}]
processors:
  - name: chest
    bundle: chest
    when: {Modality: [CR, DX]}
    send_to: [pacs]
destinations:
  pacs: {kind: dicom, ae_title: PACS, host: 10.1.2.3, port: 104}
"""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def changed() -> Callable[[str, str], str]:
    """The good file with one text replaced by another."""

    def replaced(old: str, new: str) -> str:
        assert GOOD.count(old) == 1, old
        return GOOD.replace(old, new)

    return replaced


@pytest.fixture
def load_text(tmp_path: Path) -> Callable[..., Settings]:
    def loaded(text: str, **options: Any) -> Settings:
        file = tmp_path / "node.yaml"
        file.write_text(text, "utf-8")
        return load(file, options.pop("environ", {}), **options)

    return loaded


@pytest.fixture
def problems(load_text: Callable[..., Settings]) -> Callable[..., tuple[Problem, ...]]:
    def found(text: str, **options: Any) -> tuple[Problem, ...]:
        with pytest.raises(SettingsError) as caught:
            load_text(text, **options)
        return caught.value.problems

    return found
