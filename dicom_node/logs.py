"""Log lines: an event name and fields, JSON or console, never a patient's name.

Study UIDs are hashed with the audit key at info level and above, so that two lines about one
study can be joined without saying which study it is. Warnings of pydicom and highdicom may carry
values of patients, and so may their own log lines: both are dropped.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import resource
import sys
import threading
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from dicom_node.events import Event

Line = MutableMapping[str, Any]
_STUDY_FIELDS = ("study", "study_uid")


def configure(style: str, key: bytes, *, process: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process."""
    out = stream or sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=True)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _named(process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hash_studies(key),
            _frames_only,
            _one_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # a line and its end in one write: several processes write into the same pipe
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # Libraries log values of data sets; nothing of theirs below an error, and no message at all.
    logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()], force=True)
    logging.captureWarnings(True)


def keep_in() -> None:
    """From now on what a thread or this process dies of is a line like all others, and no dump.

    Python's own words quote the exception, and a dump has the images: both may name a patient.
    """
    log = structlog.get_logger()

    def crashed(error: BaseException | None, where: str) -> None:
        if isinstance(error, SystemExit):  # a thread that ends so has not died of anything
            return
        log.error(Event.PROCESS_CRASHED, where=where, exc_info=error)

    def ended(_: Any, error: BaseException, __: Any) -> None:
        crashed(error, "main")

    sys.excepthook = ended
    threading.excepthook = lambda told: crashed(
        told.exc_value, told.thread.name if told.thread else ""
    )
    sys.unraisablehook = lambda told: crashed(told.exc_value, "at an object's end")
    no_dump()


def no_dump() -> None:
    """This process and those that it starts leave no dump; whoever needs one uses prlimit(1)."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def hashed(key: bytes, identifier: str) -> str:
    """A keyed hash of an identifier, short enough to read aloud."""
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:12]


def _named(process: str) -> Any:
    def name(_: Any, __: str, line: Line) -> Line:  # in every thread, so no context variable
        line.setdefault("process", process)
        return line

    return name


def _hash_studies(key: bytes) -> Any:
    def process(_: Any, __: str, line: Line) -> Line:
        for name in _STUDY_FIELDS:
            if name in line:
                line[name] = hashed(key, str(line[name]))
        return line

    return process


def _frames_only(_: Any, __: str, line: Line) -> Line:
    """A traceback without the exception's text, which may quote a data set."""
    error = line.pop("exc_info", None)
    if error:
        kind, _value, trace = (
            sys.exc_info() if error is True else (type(error), error, error.__traceback__)
        )
        frames = traceback.extract_tb(trace)[-8:]
        line["error"] = getattr(kind, "__name__", str(kind))
        line["frames"] = [f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in frames]
    return line


def _one_line(_: Any, __: str, line: Line) -> Line:
    """Control characters of peers (line breaks, terminal codes) are shown, never obeyed."""
    for name, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            line[name] = value.encode("unicode_escape").decode("ascii")
    return line
