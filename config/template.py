"""Writes a first node.yaml with comments in English or Spanish, and the audit key beside it.

Never over an existing file, and both or nothing: the key of a running node's audit log must not
be lost to a second `dictamen init`.
"""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from pathlib import Path

LANGUAGES = ("en", "es")


def write(folder: Path, language: str) -> tuple[Path, ...]:
    """The files written: node.yaml and audit.key, the key readable by its owner alone.

    Raises: FileExistsError, with the file's name, if either is there; nothing is written then.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language is one of {', '.join(LANGUAGES)}")
    text = (files("config") / "templates" / f"node.{language}.yaml").read_bytes()
    node, key = folder / "node.yaml", folder / "audit.key"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (node, key):
        if os.path.lexists(path):
            raise FileExistsError(17, "exists already", str(path))
    _create(key, f"{secrets.token_hex(32)}\n".encode(), 0o600)
    _create(node, text, 0o640)
    return node, key


def _create(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
