"""Every fault that the service must withstand has a test of its name.

`fault_ids.txt` lists them by group; with the shared material at hand the list is compared with
its source. A test counts if its function is called test_<id with underscores> or begins so.
"""

from __future__ import annotations

import ast
import os
import re
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = (
    "wire", "association", "dataset", "storage", "queue", "clinical", "destination", "config",
    "model", "security",
)  # fmt: skip


def listed() -> dict[str, str]:
    """fault id -> group."""
    lines = (HERE / "fault_ids.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return {ident: group for group, ident in pairs}


@lru_cache(maxsize=1)
def functions() -> frozenset[str]:
    """The names of all test functions below tests/, in classes too."""
    found: set[str] = set()
    for path in HERE.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
    return frozenset(name for name in found if name.startswith("test_"))


@pytest.mark.parametrize("ident", sorted(listed()))
def test_every_fault_has_a_test_of_its_name(ident: str) -> None:
    name = f"test_{ident.replace('-', '_')}"
    assert any(found == name or found.startswith(f"{name}_") for found in functions())


@pytest.mark.shared
def test_the_list_is_the_source_s() -> None:
    folder = os.environ.get("DICTAMEN_SHARED")
    if not folder:
        pytest.skip("DICTAMEN_SHARED is not set")
    text = (Path(folder) / "faults.yaml").read_text(encoding="utf-8")
    pairs = re.findall(r"- \{id: ([a-z0-9-]+), group: ([a-z]+),", text)
    assert {ident: group for ident, group in pairs if group in GROUPS} == listed()
