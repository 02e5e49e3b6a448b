"""Entry of one process below a supervisor: `python -m dicom_node.child ROLE`.

Settings in force come as JSON on standard input (a broken file on disk must not reach a restarted
process), and the process ends with its supervisor. What it is, `dicom_node.roles` says; here is
only how it begins and how it ends. Imports nothing heavy by itself: what a role has no use for is
kept from being loaded first.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from dicom_node import interpreter

if TYPE_CHECKING:
    from dicom_node.roles import Role

PARENT = "DICTAMEN_SUPERVISOR"  # environment of a child: the process id of its supervisor
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that we get when our parent ends


def main() -> int:
    """Entry of a child process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT) != str(os.getppid()):  # it ended before the line above took hold
        return 1
    interpreter.spare(sys.argv[1])
    from dicom_node.roles import ROLES

    return _be(next(name for name in ROLES if name == sys.argv[1]))


def _be(role: Role) -> int:
    import structlog

    from config import Settings
    from dicom_node import logs, notices, roles, rooms
    from dicom_node.events import Event

    log = structlog.get_logger()
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    logs.configure(settings.node.log, rooms.audit_key(settings), process=role)
    logs.keep_in()
    stopping = threading.Event()
    roles.stop_on_signals(stopping)
    try:
        roles.run(role, settings, stopping)
    except roles.RoleError as error:  # readiness names it
        notices.say(str(error))
        log.error(Event.PROCESS_CRASHED, role=role, error=str(error))
        return 1
    except Exception:
        log.exception(Event.PROCESS_CRASHED, role=role)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
