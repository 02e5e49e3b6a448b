"""Foreseeable mistakes and terminals of every kind: one line that says why, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from storage_fixtures import (  # noqa: F401 - the fixtures that `sqlite_node` asks for
    KEY,
    STUDY,
    Node,
    completed,
    ready_file_fixture,
    sqlite_node_fixture,
    waiting,
)
from typer.testing import CliRunner

from dicom_node import logs
from dicom_node.cli import app
from storage import RunState

ROOT = Path(__file__).parents[2]
NODE = """\
node: {ae_title: DICTAMEN, data_dir: ., audit_key_file: audit.key, language: es}
intake: {accept_from: anyone}
processors: [{name: chest, bundle: chest, when: {Modality: DX}}]
"""
Dictamen = Callable[..., Result]


@pytest.fixture(name="config")
def config_fixture(sqlite_node: Node) -> Path:
    (sqlite_node.folder / "audit.key").write_bytes(KEY)
    config = sqlite_node.folder / "node.yaml"
    config.write_text(NODE)
    return config


@pytest.fixture(name="dictamen")
def dictamen_fixture(config: Path, monkeypatch: pytest.MonkeyPatch) -> Dictamen:
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("DICTAMEN_CONFIG", str(config))
    return lambda *words: CliRunner().invoke(app, list(words))


def process(config: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", *words],
        cwd=ROOT,
        env={**os.environ, "DICTAMEN_CONFIG": str(config), **environ},
        capture_output=True,
        timeout=60,
        check=False,
    )


# ---- mistakes ----------------------------------------------------------------------------------
HUGE = "9" * 25


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(("runs", "show", HUGE), 2, id="no database counts so far"),
        pytest.param(("runs", "retry", HUGE), 2, id="nor for a retry"),
        pytest.param(("deliveries", "show", HUGE), 2, id="nor for a delivery"),
        pytest.param(("deliveries", "retry", HUGE), 2, id="nor for its retry"),
        pytest.param(("impressions", "retry", HUGE), 2, id="nor for a message"),
        pytest.param(("studies", "list", "--limit", HUGE), 2, id="a limit beyond all"),
        pytest.param(("studies", "list", "--limit", "-5"), 2, id="a limit below nothing"),
        pytest.param(("audit", "list", "--limit", "0"), 2, id="nothing asked for"),
        pytest.param(("audit", "list", "--after", HUGE), 2, id="after the end of time"),
        pytest.param(("audit", "export", "--after", "-1"), 2, id="before the first"),
        pytest.param(("audit", "verify", "--known", "²:ab"), 2, id="a digit that is no number"),
        pytest.param(("books", "--day", "9999-12-31"), 0, id="the last day of the calendar"),
        pytest.param(("demo", "--out", "/proc/nowhere"), 1, id="a folder that cannot be made"),
    ],
)
def test_a_mistake_is_no_traceback(dictamen: Dictamen, words: tuple[str, ...], status: int) -> None:
    done = dictamen(*words)
    assert done.exit_code == status
    assert isinstance(done.exception, SystemExit | None)


@pytest.mark.parametrize("words", [("studies", "list"), ("serve", "node.yaml")])
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        pytest.param("audit_key_file", "gone.key", "cannot be read: No such file", id="no key"),
        pytest.param("audit_key_file", "empty.key", "is empty. Restore it", id="an empty key"),
        pytest.param(
            "data_dir", "empty.key", "cannot be made: File exists", id="a file for a folder"
        ),
    ],
)
def test_what_node_yaml_names_and_is_not_there(
    config: Path, words: tuple[str, ...], key: str, value: str, reason: str
) -> None:
    (config.parent / "empty.key").touch()
    said = {"data_dir": "data_dir: .", "audit_key_file": "audit_key_file: audit.key"}[key]
    config.write_text(
        NODE.replace(said, f"{key}: {value}").replace(
            "DICTAMEN,", "DICTAMEN, listen: '127.0.0.1:1',"
        )
    )
    words = tuple(str(config) if word == "node.yaml" else word for word in words)
    done = process(config, *words)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"node.{key}: {config.parent / value} {reason}")
    assert "Traceback" not in done.stderr.decode()


def hide(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this user might not read it; root, who runs tests too, may read all."""
    access, read_bytes = os.access, Path.read_bytes

    def may(path: Any, mode: int, **more: Any) -> bool:
        return not (mode & os.R_OK and str(path) == str(file)) and access(path, mode, **more)

    def read(path: Path) -> bytes:
        if path == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read_bytes(path)

    monkeypatch.setattr(os, "access", may)
    monkeypatch.setattr(Path, "read_bytes", read)


@pytest.mark.parametrize("words", [("books",), ("check", "node.yaml"), ("serve", "node.yaml")])
def test_a_node_yaml_that_may_not_be_read_cannot_be_used(
    dictamen: Dictamen, config: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    hide(config, monkeypatch)
    done = dictamen(*(str(config) if word == "node.yaml" else word for word in words))
    assert done.exit_code == 78  # at 2 systemd would start it again and again
    assert done.stderr == f"{config}: cannot be read: Permission denied\n"


def test_a_key_that_may_not_be_read_need_not_be_restored(
    dictamen: Dictamen, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(config.parent / "audit.key", monkeypatch)
    done = dictamen("books")
    assert done.exit_code == 1
    assert "Let the user that the node runs as read it" in done.stderr


def test_a_file_in_the_way_is_named_without_a_number(dictamen: Dictamen, config: Path) -> None:
    there = config.parent / "there"
    there.touch()
    done = dictamen("analyse", str(config), "--out", str(there))
    assert (done.exit_code, done.stderr) == (1, f"{there}: File exists\n")


def test_a_file_that_a_restore_misses_is_a_line(dictamen: Dictamen, config: Path) -> None:
    name = "objects/ab/" + "cd" * 50 + ".dcm"
    (config.parent / "spool" / name).parent.mkdir(parents=True)
    (config.parent / "spool" / name).touch()
    copy, other = config.parent / "copy [1]", config.parent / "other"
    assert dictamen("db", "backup", "--no-files", str(copy)).stdout == f"wrote {copy}\n"
    other.mkdir()
    for file in (config, config.parent / "audit.key"):
        (other / file.name).write_bytes(file.read_bytes())
    done = dictamen("db", "restore", str(copy), "--config", str(other / config.name))
    assert (done.exit_code, done.stdout) == (1, f"missing: {name}\n")


def test_a_demonstration_overwrites_nobody_elses_files(dictamen: Dictamen, config: Path) -> None:
    (config.parent / "node").mkdir()
    kept = {path: path.read_bytes() for path in config.parent.iterdir() if path.is_file()}
    done = dictamen("demo", "--out", str(config.parent))
    assert done.exit_code == 1
    assert "no demonstration wrote" in done.output
    assert {path: path.read_bytes() for path in config.parent.iterdir() if path.is_file()} == kept
    assert (config.parent / "node").exists()


@pytest.mark.parametrize(
    ("what", "processor", "says"),
    [
        pytest.param("runs", "other", "no processor other", id="a processor taken out"),
        pytest.param("runs", "impressions", "no processor impressions", id="texts no longer taken"),
        pytest.param("deliveries", "other", "no destination pacs", id="a destination, too"),
    ],
)
def test_nothing_is_tried_again_that_nobody_can_do(
    dictamen: Dictamen, sqlite_node: Node, what: str, processor: str, says: str
) -> None:
    completed(sqlite_node.storage, state=RunState.FAILED)
    sqlite_node.sql(f"UPDATE runs SET processor = '{processor}'")
    done = dictamen(what, "retry", "1")
    assert done.exit_code == 1
    assert says in done.output


# ---- scripts -----------------------------------------------------------------------------------
def test_json_tells_times_as_iso_8601(dictamen: Dictamen, sqlite_node: Node) -> None:
    waiting(sqlite_node.storage)
    (row,) = json.loads(dictamen("studies", "list", "--json").stdout)
    assert "T" in row["first_received"]
    assert datetime.fromisoformat(row["first_received"]).tzinfo is not None


def test_who_stops_reading_an_export_has_read_it(config: Path, sqlite_node: Node) -> None:
    waiting(sqlite_node.storage)
    command = f"{sys.executable} -m dicom_node.cli audit export | head -c 1"
    environ = {**os.environ, "DICTAMEN_CONFIG": str(config), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environ, capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""
    kept = [record.entry.details for record in sqlite_node.storage.audit.list(limit=1000)]
    assert {"exported": "jsonl"} in kept


# ---- terminals ---------------------------------------------------------------------------------
@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize(
    "words", [("explain", STUDY), ("studies", "show", STUDY), ("studies", "show", STUDY, "--json")]
)
def test_every_terminal_is_told(
    config: Path, sqlite_node: Node, charset: str, words: tuple[str, ...]
) -> None:
    waiting(sqlite_node.storage)
    trace = [
        {"processor": "tórax 你好", "picked": ["1.2"], "skipped": {}, "settled": "x", "wait": 0}
    ]
    written = json.dumps(trace, ensure_ascii=False)
    sqlite_node.sql(f"UPDATE studies SET trace = '{written}'")
    done = process(config, *words, PYTHONIOENCODING=charset)
    assert (done.returncode, done.stderr) == (0, b"")
    told = done.stdout.decode("latin-1" if charset == "latin-1" else "utf-8")
    if words[-1] == "--json":  # whatever the terminal, scripts read what was meant
        assert json.loads(told)["trace"] == trace
    else:
        assert "rax" in told


def test_what_a_peer_wrote_into_a_story_is_shown_and_not_obeyed(
    dictamen: Dictamen, sqlite_node: Node
) -> None:
    waiting(sqlite_node.storage)
    said = "reason = 'it said ' || char(27) || '[2J' || char(10)"
    sqlite_node.sql(f"UPDATE studies SET trace = '[]', {said}")
    told = dictamen("explain", STUDY).stdout
    assert "it said \\x1b[2J\\n" in told
    assert "\x1b[2J" not in told


def test_a_uid_stays_in_one_piece(config: Path, sqlite_node: Node) -> None:
    """On a terminal of 80 columns a field a line; into a pipe a row a line."""
    completed(sqlite_node.storage)
    piped = process(config, "deliveries", "list", COLUMNS="80").stdout.decode()
    (row,) = [line for line in piped.splitlines() if STUDY in line]
    assert "pacs" in row
    ours, theirs = pty.openpty()
    environ = {**os.environ, "DICTAMEN_CONFIG": str(config), "COLUMNS": "80", "TERM": "dumb"}
    command = [sys.executable, "-m", "dicom_node.cli", "deliveries", "list"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=theirs) as running:
        assert running.wait(60) == 0
    os.close(theirs)
    shown = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    assert f"study: {STUDY}" in shown
    assert "destination: pacs" in shown


def test_books_tell_each_reason_in_its_own_words(dictamen: Dictamen, sqlite_node: Node) -> None:
    for number, reason in ((1, "sin región"), (2, "no se leyó\x1b[2J")):
        completed(
            sqlite_node.storage,
            f"{STUDY}.{number}",
            state=RunState.FAILED,
            reason=reason,
            reports=[],
        )
    told = dictamen("books").stdout
    assert "1 × sin región" in told
    assert "1 × no se leyó\\x1b[2J" in told
