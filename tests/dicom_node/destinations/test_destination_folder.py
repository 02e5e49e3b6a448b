"""Folder sender: whole files under safe names, the same ones when it happens again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from destination_peers import dicom_settings, folder_settings, mllp_settings, never, parcel

from dicom_node.destinations import Destination, Fate, folder
from dicom_node.destinations.build import build
from dicom_node.destinations.dicom import DicomSender
from dicom_node.destinations.folder import FolderSender, relative_path
from dicom_node.destinations.mllp import MllpSender


def sender(root: Path) -> FolderSender:
    return FolderSender("disk", folder_settings(root))


def test_files_by_study_and_kind(tmp_path: Path) -> None:
    batch = [parcel(1), parcel(2, "hl7_oru")]
    outcomes = sender(tmp_path / "out").send(batch, never)
    assert {each.fate for each in outcomes} == {Fate.DELIVERED}
    folder_of_study = tmp_path / "out" / "2.25.111"
    assert {path.name: path.read_bytes() for path in folder_of_study.iterdir()} == {
        "overlay-2.25.90001.dcm": batch[0].payload,
        "hl7_oru-ORU00002.hl7": batch[1].payload,
    }


def test_again_is_the_same_file(tmp_path: Path) -> None:
    first = sender(tmp_path).send([parcel()], never)
    (path,) = (tmp_path / "2.25.111").iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    second = sender(tmp_path).send([parcel()], never)
    assert [first[0].status, second[0].status] == ["written", "same"]
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_other_content_under_our_name_is_replaced_and_said(tmp_path: Path) -> None:
    sender(tmp_path).send([parcel()], never)
    (path,) = (tmp_path / "2.25.111").iterdir()
    path.write_bytes(b"cut off")
    outcomes = sender(tmp_path).send([parcel()], never)
    assert outcomes[0].fate is Fate.DELIVERED_WITH_WARNING
    assert path.read_bytes() == parcel().payload


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"study_uid": "../../etc"}, id="study climbs"),
        pytest.param({"study_uid": "/etc"}, id="study is absolute"),
        pytest.param({"study_uid": ""}, id="no study"),
        pytest.param({"study_uid": ".."}, id="study is the parent"),
        pytest.param({"study_uid": "1" * 300}, id="study is too long"),
        pytest.param({"uid": "../../../x"}, id="uid climbs"),
        pytest.param({"uid": "a\x00b"}, id="uid with a NUL"),
        pytest.param({"uid": ""}, id="no uid"),
        pytest.param({"uid": "PEÑA^JOSÉ"}, id="a name instead of a uid"),
    ],
)
def test_no_report_leaves_the_folder(tmp_path: Path, changes: dict[str, str]) -> None:
    item = parcel(1, payload=b"x", **changes)
    outcomes = sender(tmp_path / "out").send([item], never)
    assert outcomes[0].fate is Fate.DELIVERED
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written == [tmp_path / "out" / relative_path(item)]
    assert len(relative_path(item).parts) == 2
    assert "PE" not in str(relative_path(item)).upper()


def test_crash_in_the_middle_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder.os, "fsync", full)
    outcomes = sender(tmp_path).send([parcel(1), parcel(2)], never)
    assert [each.fate for each in outcomes] == [Fate.TRY_LATER] * 2
    assert outcomes[0].peer_wide
    assert "no space left" in outcomes[0].answer
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_file_is_synced_before_its_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(folder.os, "fsync", lambda fd: (steps.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (steps.append("name"), replace(path, to))[1]
    )
    sender(tmp_path).send([parcel()], never)
    assert steps == ["sync", "name", "sync", "sync"]  # file; rename; its folder; the root


def test_missing_parent_waits_and_probe_says_so(tmp_path: Path) -> None:
    gone = sender(tmp_path / "not-mounted" / "out")
    outcomes = gone.send([parcel()], never)
    assert outcomes[0].fate is Fate.TRY_LATER
    assert outcomes[0].peer_wide
    assert "no such file or directory" in gone.probe()
    assert sender(tmp_path / "out").probe() == ""
    assert list((tmp_path / "out").iterdir()) == []


def test_stop_leaves_the_rest_untried(tmp_path: Path) -> None:
    outcomes = sender(tmp_path).send([parcel()], lambda: True)
    assert (outcomes[0].fate, outcomes[0].answer) == (Fate.TRY_LATER, "")


def test_build_makes_the_right_sender(tmp_path: Path) -> None:
    built: list[Destination] = [
        build("pacs", dicom_settings(104), "DICTAMEN"),
        build("ris", mllp_settings(2575), "DICTAMEN"),
        build("disk", folder_settings(tmp_path), "DICTAMEN"),
    ]
    assert [type(each) for each in built] == [DicomSender, MllpSender, FolderSender]
    assert [each.name for each in built] == ["pacs", "ris", "disk"]
