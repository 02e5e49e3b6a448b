"""How a process of the node starts another: Python again, without what that one never needs.

Importing pydicom loads every decoder that is installed, and structlog what paints a terminal: a
third of the memory of a process that decodes nothing and writes lines. Never: a codec kept from a
worker.
"""

from __future__ import annotations

import sys

_CODECS, _SCREENS = ("gdcm", "jpeg_ls", "pylibjpeg"), ("rich",)
UNNEEDED = {  # by what a process is
    "supervisor": _CODECS,
    "receiver": (*_CODECS, *_SCREENS, "numpy"),
    "intake": (*_CODECS, *_SCREENS, "numpy"),
    "inbox": (*_CODECS, *_SCREENS),
    "courier": (*_CODECS, *_SCREENS),
    "worker": _SCREENS,
}


def module(name: str, *words: str) -> list[str]:
    """The command that runs a module of ours in a process of its own.

    -P: a folder that happens to be named like a module, where the node was started, is not one.
    """
    return [sys.executable, "-P", "-m", name, *words]


def spare(process: str) -> None:
    """From now on what this process has no use for cannot be imported, as if not installed."""
    for name in UNNEEDED[process]:
        sys.modules[name] = None  # type: ignore[assignment]
