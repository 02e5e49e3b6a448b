"""One receiving process, as `dicom_node.intake.crew` starts it.

`python -m dicom_node.receiver DOOR LANE LISTENER POST ANSWERS BOARD [TLS]` (DOOR: dicom or web;
what follows LANE are descriptors that it inherits); settings in force come as JSON on standard
input. It ends with the process that started it. No pixel is decoded here and no screen is painted:
what pydicom and structlog would load for that is kept from being loaded, a third of its memory and
of its start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading

from dicom_node import interpreter

PARENT = "DICTAMEN_INTAKE"  # environment: the process id of the one who started it
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that we get when our parent ends


def main() -> int:
    """Entry of a receiving process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT) != str(os.getppid()):  # it ended before the line above took hold
        return 1
    interpreter.spare("receiver")
    door, lane, *descriptors = sys.argv[1], *(int(word) for word in sys.argv[2:8])
    return _run(door, lane, descriptors)


def _run(door: str, lane: int, descriptors: list[int]) -> int:
    import structlog

    log = structlog.get_logger()
    from config import Settings
    from dicom_node import logs, metrics
    from dicom_node.events import Event
    from dicom_node.intake.receiving import Inherited

    if door == "web":
        from dicom_node.stow import receive_as
    else:
        from dicom_node.intake.receiving import receive_as

    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    key = settings.node.audit_key_file.read_bytes().strip()
    process = "stow" if door == "web" else f"intake-{lane}"
    logs.configure(settings.node.log, key, process=process)
    logs.keep_in()
    stopping = threading.Event()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's: the other process tells us
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    listener, post, answers = (socket.socket(fileno=number) for number in descriptors[:3])
    secure = socket.socket(fileno=descriptors[4]) if len(descriptors) > 4 else None
    inherited = Inherited(lane, listener, post, answers, descriptors[3], secure)
    try:
        receive_as(settings, inherited, stopping, metrics.count)
    except Exception:
        log.exception(Event.PROCESS_CRASHED, role="intake", number=lane)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
