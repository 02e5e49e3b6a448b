"""What a log line may hold."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import structlog

from dicom_node import logs

KEY = b"0123456789abcdef"
ROOT = Path(__file__).parents[2]


class Lines:
    """What was logged; called, it gives the lines."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def __call__(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines():
    made = Lines()
    logs.configure("json", KEY, process="test", stream=made.stream)
    yield made
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)


def test_a_study_uid_is_hashed_with_the_key(lines):
    structlog.get_logger().info("run.started", study="1.2.3")
    assert lines()[0]["study"] == logs.hashed(KEY, "1.2.3") != logs.hashed(b"other", "1.2.3")


def test_a_traceback_has_frames_and_no_text_of_the_exception(lines):
    try:
        raise ValueError("Ejemplo^Begoña")
    except ValueError:
        structlog.get_logger().exception("run.crashed")
    (line,) = lines()
    assert line["error"] == "ValueError"
    assert "test_logs" in " ".join(line["frames"])
    assert "Bego" not in json.dumps(line)


def test_log_injection(lines):
    structlog.get_logger().info("association.refused", calling="EVIL\n\x1b[2J{}")
    (line,) = lines()
    assert line["calling"] == "EVIL\\n\\x1b[2J{}"


def test_a_line_is_one_write_so_that_those_of_two_processes_never_mix(lines, monkeypatch):
    """As a container runs it: unbuffered, each write of Python's goes to the pipe by itself."""
    writes: list[str] = []
    monkeypatch.setattr(lines.stream, "write", writes.append)
    structlog.get_logger().info("run.ended", seconds=1)
    assert [one.endswith("}\n") for one in writes] == [True]


def test_a_library_warning_is_dropped(lines, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("PatientName is Ejemplo^Begoña", UserWarning, stacklevel=1)
    assert not lines()
    assert capfd.readouterr() == ("", "")


LAST_WORDS = """
import gc, resource, sys, threading
from dicom_node import logs
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
logs.configure("json", b"k" * 16, process="test")
logs.keep_in()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, hard)
class Gone:
    def __del__(self): raise ValueError("Ejemplo^Bego\u00f1a")
def dies(): raise ValueError("Ejemplo^Bego\u00f1a")
HOW
"""


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ("t = threading.Thread(target=dies, name='books'); t.start(); t.join()", "books"),
        ("dies()", "main"),
        ("gone = Gone(); del gone; gc.collect()", "at an object's end"),
    ],
    ids=["a thread", "the process", "a finaliser"],
)
def test_what_nobody_caught_is_a_line_without_its_text(how: str, where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS.replace("HOW", how)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    (line,) = [json.loads(one) for one in done.stderr.splitlines()]
    assert (line["event"], line["error"], line["where"]) == ("process.crashed", "ValueError", where)
    assert line["frames"]
    assert "Ejemplo" not in done.stdout + done.stderr


def test_a_thread_that_ends_itself_has_not_crashed() -> None:
    how = "t = threading.Thread(target=sys.exit); t.start(); t.join()"
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS.replace("HOW", how)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""


def test_a_command_that_dies_leaves_no_dump() -> None:
    script = (
        "import resource, sys; from dicom_node.cli.app import main\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "sys.argv = ['dictamen', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0"
