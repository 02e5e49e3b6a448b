"""Rings between processes: they wake, they name a study, and losing one harms nobody."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from destination_peers import wait_until

from dicom_node import bell
from dicom_node.bell import Bell, Topic


def test_a_ring_wakes_all_who_wait_for_its_topic_and_nobody_else(tmp_path: Path) -> None:
    first, second, other = (Bell(tmp_path, t) for t in (Topic.FILED, Topic.FILED, Topic.PLANNED))
    bell.ring(tmp_path, Topic.FILED)
    assert first.wait(5)
    assert second.wait(5)
    assert not other.wait(0.2)


def test_a_ring_before_the_wait_is_not_lost_and_counts_once(tmp_path: Path) -> None:
    heard = Bell(tmp_path, Topic.PLANNED)
    bell.ring(tmp_path, Topic.PLANNED)
    wait_until(heard._news.is_set)
    assert heard.wait(0)
    assert not heard.wait(0)


def test_a_ring_may_name_a_study(tmp_path: Path) -> None:
    words: list[str] = []
    Bell(tmp_path, Topic.ARRIVED, words.append)
    bell.ring(tmp_path, Topic.ARRIVED, "1.2.3")
    wait_until(lambda: words == ["1.2.3"])


@pytest.mark.parametrize("folder", ["here", "a" * 100 + "/" + "b" * 100])
def test_a_data_dir_of_any_length_will_do(tmp_path: Path, folder: str) -> None:
    data_dir = tmp_path / folder
    data_dir.mkdir(parents=True)
    heard = Bell(data_dir, Topic.FILED)
    bell.ring(data_dir, Topic.FILED)
    assert heard.wait(5)


def test_ringing_where_nobody_ever_listened_is_no_error(tmp_path: Path) -> None:
    bell.ring(tmp_path, Topic.FILED)
    bell.ring(tmp_path / "missing", Topic.FILED)


def test_a_listener_that_was_killed_leaves_nothing_that_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from dicom_node.bell import Bell, Topic\n"
        "Bell(Path(sys.argv[1]), Topic.FILED); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert list((tmp_path / "bells").iterdir())
    bell.ring(tmp_path, Topic.FILED)
    assert list((tmp_path / "bells").iterdir()) == []


def test_where_no_socket_can_be_had_waiting_goes_by_the_clock(tmp_path: Path) -> None:
    (tmp_path / "bells").write_text("a file in the way")
    heard, began = Bell(tmp_path, Topic.FILED), time.monotonic()
    bell.ring(tmp_path, Topic.FILED)
    assert not heard.wait(0.1)
    assert time.monotonic() - began < 5


def test_a_bell_that_is_closed_leaves_no_socket(tmp_path: Path) -> None:
    Bell(tmp_path, Topic.FILED).close()
    assert list((tmp_path / "bells").iterdir()) == []
