"""The private names of pynetdicom that the intake touches, and whether this version has them.

The fast path replaces how messages are read inside an association; with a version that nobody has
tried, or that misses a name, the stock way is used and a warning says so. The names of the stock
way are needed with any version: without them the intake does not start.
"""

from __future__ import annotations

import inspect
from typing import Any

import pynetdicom
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

TRIED = ("3.0.4",)  # versions in which the fast path passes all tests

STOCK: tuple[tuple[Any, str], ...] = (
    (Association, "_serve_request"),
    (Association, "run_reactor"),
    (Association, "set_socket"),
    (AssociationSocket, "close"),
    (AssociationSocket, "ready"),
    (AssociationSocket, "recv"),
    (DIMSEServiceProvider, "receive_primitive"),
    (DULServiceProvider, "_decode_pdu"),
    (DULServiceProvider, "run_reactor"),
    (DULServiceProvider, "send_pdu"),
    (_config, "LOG_HANDLER_LEVEL"),
)
SWIFT: tuple[tuple[Any, str], ...] = (
    (DULServiceProvider, "_is_transport_event"),
    (DULServiceProvider, "idle_timer_expired"),
    (Timer, "restart"),
)
# set by a constructor: whose source must name them
STOCK_MADE: tuple[tuple[Any, str], ...] = (
    (Association, "dimse"),
    (Association, "dul"),
    (AssociationSocket, "_is_connected"),
    (AssociationSocket, "socket"),
    (DIMSEServiceProvider, "msg_queue"),
    (DULServiceProvider, "_idle_timer"),
    (DULServiceProvider, "_kill_thread"),
    (DULServiceProvider, "event_queue"),
    (DULServiceProvider, "state_machine"),
    (AE, "_servers"),
)
SWIFT_MADE: tuple[tuple[Any, str], ...] = (
    (Association, "_accepted_cx"),
    (Association, "_reactor_checkpoint"),
    (DULServiceProvider, "socket"),
    (DULServiceProvider, "to_provider_queue"),
)


def why_not_swift() -> str:
    """Why the fast path is not used with this pynetdicom, or ""."""
    version = pynetdicom.__version__
    if version not in TRIED:
        return f"pynetdicom {version} was not tried with the fast path ({', '.join(TRIED)} was)"
    gone = missing(SWIFT, SWIFT_MADE)
    return f"pynetdicom {version} has no {', '.join(gone)}" if gone else ""


def missing(names: tuple[tuple[Any, str], ...], made: tuple[tuple[Any, str], ...]) -> list[str]:
    """Those of the names that are not there."""
    gone = [_said(owner, name) for owner, name in names if not hasattr(owner, name)]
    for owner, name in made:
        if f"self.{name}" not in inspect.getsource(owner.__init__):
            gone.append(_said(owner, name))
    return gone


def _said(owner: Any, name: str) -> str:
    return f"{owner.__name__.rpartition('.')[2]}.{name}"
