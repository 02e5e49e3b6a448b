"""Files of a bundle that are written more than once: JSON and the list of checksums.

Apart from `bundle`, so that a card can be written without loading torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.runtime import CHECKSUMS


def write_checksums(folder: Path) -> Path:
    """Writes checksums.sha256 over every other file of the bundle (format of sha256sum)."""
    lines = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name != CHECKSUMS and "__pycache__" not in file.parts:
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n")
    target = folder / CHECKSUMS
    target.write_text("".join(lines), encoding="utf-8")
    return target


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=False)
    file.write_text(text + "\n", encoding="utf-8")
