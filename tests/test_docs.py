"""What the guides promise exists: event names, commands, files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from dicom_node import commitment, courier, events, inbox, intake, stow
from dicom_node.cli.app import app
from processors.explain import METHODS

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "administrator.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


LISTS = (
    events.Event, intake.EventName, stow.EventName, inbox.EventName, commitment.EventName,
    courier.Event,
)  # fmt: skip


@pytest.mark.parametrize("names", LISTS)
def test_the_guide_lists_every_event(names):
    listed = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", GUIDE.split("## Event names")[1]))
    assert {name.value for name in names} <= listed


def test_the_guide_lists_no_event_that_does_not_exist():
    listed = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", GUIDE.split("## Event names")[1]))
    known = {name.value for names in LISTS for name in names}
    assert listed == known


def commands() -> list[tuple[str, ...]]:
    found = []
    root = get_command(app)
    for name in root.list_commands(None):
        command = root.get_command(None, name)
        below = getattr(command, "commands", None)
        found += [(name, sub) for sub in below] if below else [(name,)]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_a_help_and_stands_in_a_guide(path):
    command = get_command(app)
    for step in path:
        command = command.get_command(None, step)
    assert command.help
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert f"dictamen {' '.join(path)}" in text or f"`{' '.join(path)}`" in text


def test_the_guide_says_what_each_explanation_costs_and_needs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (nothing|the extra) \| ([\d.]+) \|$", GUIDE, re.M)
    told = {name: (needs == "the extra", float(seconds)) for name, needs, seconds in rows}
    assert set(told) == set(METHODS)
    for name, method in METHODS.items():
        assert told[name][0] == bool(method.needs)
        assert told[name][1] == pytest.approx(method.cost_ms / 1000, rel=0.25)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_table_of_evidence_is_what_was_measured() -> None:
    told = [sys.executable, str(ROOT / "scripts" / "evidence.py"), "--check"]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
