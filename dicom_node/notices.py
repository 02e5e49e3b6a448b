"""What a child process says of itself to its supervisor: one small file for each place.

In: words of the process that has the place (why it cannot start, what it goes on without). Out: the
words, for readiness. They are said anew at each start and outlive the process, so that a process
which keeps ending still has said why. A process without a supervisor says nothing.
Never: a patient's data; anything that must not be lost.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FOLDER = "DICTAMEN_NOTICES"  # environment of all processes of a node: where the files lie
PLACE = "DICTAMEN_PLACE"  # environment of a child: role and number, as worker-1


def place(role: str, number: int) -> str:
    """The name of one place for a process."""
    return f"{role}-{number}"


def say(words: str) -> None:
    """What holds from now on of this process; "" if all is well."""
    folder, mine = os.environ.get(FOLDER), os.environ.get(PLACE)
    if not folder or not mine:
        return
    target = Path(folder) / mine
    written = target.with_suffix(".new")
    with suppress(OSError):  # of no consequence for the work itself
        written.write_text(words, encoding="utf-8")
        written.replace(target)


def said(where: str) -> str:
    """The latest words of the process at a place, or ""."""
    try:
        return (Path(os.environ[FOLDER]) / where).read_text(encoding="utf-8")
    except (KeyError, OSError):
        return ""
