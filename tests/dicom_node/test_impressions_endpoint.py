"""Drafts with a language model behind HTTP: what it sees, what becomes of its answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.cli.app import app

FINDINGS = "Small left pleural effusion, new since 12/03/2024. No pneumothorax."


class Handler(BaseHTTPRequestHandler):
    seen: list[dict[str, Any]]
    says: list[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(asked)
        data = json.dumps({"request": asked["request"], "impressions": self.says}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[str, list[dict[str, Any]], list[str]]]:
    """The endpoint's URL, what it was asked, what it says."""
    seen: list[dict[str, Any]] = []
    says: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"seen": seen, "says": says}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/impressions", seen, says
    server.shutdown()
    server.server_close()


def draft(url: str, folder: Path, *more: str) -> Any:
    (folder / "in.csv").write_text(f'uid,findings\n1,"{FINDINGS}"\n')
    told = ["--in", str(folder / "in.csv"), "--out", str(folder / "out.jsonl"), "--endpoint", url]
    return CliRunner().invoke(app, ["impressions", "draft", *told, *more])


@pytest.mark.parametrize(
    ("said", "kept"),
    [("Large right pneumothorax.", False), ("Left pleural effusion, right fracture.", False)],
)
def test_the_guard_judges_what_an_endpoint_says(
    said: str, kept: bool, served: tuple[str, list[dict[str, Any]], list[str]], tmp_path: Path
) -> None:
    url, seen, says = served
    says.append(said)
    done = draft(url, tmp_path)
    assert done.exit_code == 0, done.output
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert (said in line["impression"]) is kept
    assert seen[0]["findings"] == FINDINGS.replace("12/03/2024", "[...]")


def test_an_endpoint_that_is_away_is_said(tmp_path: Path) -> None:
    done = draft("http://127.0.0.1:9/v1", tmp_path)
    assert (done.exit_code, "does not answer" in done.output) == (1, True), done.output


def test_an_endpoint_elsewhere_needs_tls(tmp_path: Path) -> None:
    done = draft("http://example.org/v1", tmp_path)
    assert (done.exit_code, "cannot be used" in done.output) == (1, True), done.output
