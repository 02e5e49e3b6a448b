"""Opens every model of the settings once and drops it, in a process of its own.

The supervisor must know that a model can be used, and has no use for the 200 MB of runtimes that
finding out takes. Never: a study, the database.
"""

from __future__ import annotations

import subprocess
import sys
import threading

from config import Settings
from dicom_node import interpreter
from processors import ProcessorError


def apart(settings: Settings, stopping: threading.Event | None = None) -> None:
    """Open all models in another process. Raises ProcessorError in that one's words.

    stopping: once it is set nobody wants to know any more; the other process is ended.
    """
    stopping = stopping or threading.Event()
    with subprocess.Popen(
        interpreter.module("dicom_node.opening"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        threading.Thread(target=_end_with, args=(other, stopping), daemon=True).start()
        said, _ = other.communicate(settings.model_dump_json().encode())
    if other.returncode and not stopping.is_set():
        words = said.decode(errors="replace").strip()
        raise ProcessorError(words or f"The models could not be opened ({other.returncode}).")


def _end_with(other: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    while other.poll() is None:
        if stopping.wait(0.1):
            other.kill()


def _models(settings: Settings) -> None:
    from dicom_node import wiring  # the models' runtime

    for processor in settings.processors:
        wiring.verify(settings, processor)
    if settings.takes_texts:
        wiring.scribe(settings)


def main() -> int:
    """Entry of the other process: settings as JSON on standard input, words on standard output."""
    try:
        _models(Settings.model_validate_json(sys.stdin.buffer.read()))
    except ProcessorError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
