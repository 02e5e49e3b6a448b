"""The table of defences fits the tree: each text stands where the row says, each test exists.

That each test fails without its defence is what `make defences` sees; it takes minutes.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def rows() -> tuple[Any, ...]:
    spec = importlib.util.spec_from_file_location(
        "defence_rows", ROOT / "scripts" / "defence_rows.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["defence_rows"] = module
    spec.loader.exec_module(module)
    return module.ROWS


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.fault} {row.file}")
def test_a_row_fits_the_tree(row: Any) -> None:
    source = (ROOT / row.file).read_text(encoding="utf-8")
    assert source.count(row.old) == 1
    ast.parse(source.replace(row.old, row.new))
    file, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not name or name in found


def test_thirty_faults_or_more_have_a_row() -> None:
    assert len({row.fault for row in rows()}) >= 30
