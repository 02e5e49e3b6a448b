"""A start, a reload and `dictamen check` look at the door's port and files before it opens."""

from __future__ import annotations

import socket
from pathlib import Path

import intake_lab as lab
import pytest
import stow_lab

from config.settings import Settings
from dicom_node import checks, supervisor


def _settings(folder: Path, port: int, **stow: str) -> Settings:
    tokens = folder / "stow.token"
    tokens.write_text(f"GATEWAY {stow_lab.TOKEN}\n")
    keys = {"listen": f"127.0.0.1:{port}", "token_file": str(tokens)} | stow
    return lab.settings_for(folder, lab.free_port(), stow=keys)


def test_a_start_with_a_taken_port_names_the_key(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = _settings(tmp_path, taken.getsockname()[1])
        with pytest.raises(supervisor.StartError, match=r"intake\.stow\.listen"):
            supervisor.check_stow(settings)
        assert settings.intake.stow
        supervisor.check_stow(settings, running=settings.intake.stow.listen)  # a reload: it is ours


def test_a_start_with_a_file_that_cannot_be_used_names_the_key(tmp_path: Path) -> None:
    settings = _settings(tmp_path, lab.free_port(), token_file=str(tmp_path / "none"))
    with pytest.raises(supervisor.StartError, match=r"intake\.stow\.token_file"):
        supervisor.check_stow(settings)


def test_the_check_says_who_may_send_and_how(tmp_path: Path) -> None:
    settings = _settings(tmp_path, lab.free_port())
    found = {one.name: one for one in checks.run(settings, {}, bundles={})}["intake.stow"]
    assert found.ok
    assert found.detail.endswith("without TLS; senders need one of 1 tokens")
    (tmp_path / "stow.token").write_text("nonsense\n")
    found = {one.name: one for one in checks.run(settings, {}, bundles={})}["intake.stow"]
    assert not found.ok
    assert "line 1" in found.detail


def test_a_node_without_the_door_needs_nothing(tmp_path: Path) -> None:
    supervisor.check_stow(lab.settings_for(tmp_path, lab.free_port()))
