"""How a process of the node starts another: Python again, without what that one never needs.

Importing pydicom loads every decoder that is installed, and structlog what paints a terminal: a
third of the memory of a process that decodes nothing and writes lines. Never: a codec kept from a
worker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

CODECS = ("gdcm", "jpeg_ls", "pylibjpeg")
SCREENS = ("rich",)


def module(name: str, *words: str) -> list[str]:
    """The command that runs a module of ours in a process of its own.

    -P: a folder that happens to be named like a module, where the node was started, is not one.
    """
    return [sys.executable, "-P", "-m", name, *words]


def without(names: Iterable[str]) -> None:
    """From now on these cannot be imported, as if they were not installed."""
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]
