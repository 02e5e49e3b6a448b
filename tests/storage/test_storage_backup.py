"""Backup while the node runs, restore only where nothing is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from databases import Server
from storage_fixtures import NOON, STUDY, Node, add, completed, instance

from storage import StorageCorrupt, StorageError, backup, restore, upgrade


def filled(node: Node) -> str:
    completed(node.storage)
    return node.storage.spool.write("reports", "aa/one.dcm", b"a report")


def elsewhere(node: Node, request: pytest.FixtureRequest, folder: Path) -> Node:
    """Where a restore may go: no database, an empty folder."""
    if node.is_sqlite:
        return Node(f"sqlite:///{folder / 'data' / 'dictamen.db'}", folder / "data")
    server: Server = request.getfixturevalue("server")
    return Node(server.url(), folder / "data")


@pytest.mark.parametrize("files", [True, False], ids=["with files", "listing only"])
def test_there_and_back(
    node: Node, request: pytest.FixtureRequest, tmp_path: Path, files: bool
) -> None:
    report = filled(node)
    copy = backup(node.url, node.folder, tmp_path / "copy", files=files)
    add(node.storage, instance(study="1.2.3"))  # after the copy: not in it
    other = elsewhere(node, request, tmp_path / "other")
    missing = restore(copy, other.url, other.folder)
    assert missing == (() if files else (report,))
    assert [study.uid for study in other.storage.studies.list()] == [STUDY]
    assert other.storage.audit.verify() == ()
    assert len(other.storage.outbox.claim("pacs", NOON)) == 1
    assert not files or other.storage.spool.read(report) == b"a report"
    add(other.storage, instance(2))
    with pytest.raises(Exception, match="append-only"):
        other.sql("DELETE FROM audit_events")
    other.close()


def test_the_listing_names_every_file(sqlite_node: Node, tmp_path: Path) -> None:
    report = filled(sqlite_node)
    copy = backup(sqlite_node.url, sqlite_node.folder, tmp_path / "copy")
    lines = (copy / "spool.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"path": report, "size": 8}]


def test_nothing_is_overwritten(node: Node, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    filled(node)
    copy = backup(node.url, node.folder, tmp_path / "copy")
    with pytest.raises(StorageError, match=r"empty folder"):
        backup(node.url, node.folder, copy)
    with pytest.raises(StorageError, match=r"exists|has tables"):
        restore(copy, node.url, node.folder)
    assert [study.uid for study in node.storage.studies.list()] == [STUDY]


def test_a_write_ahead_log_is_not_overwritten(sqlite_node: Node, tmp_path: Path) -> None:
    """A damaged database that was moved aside without its -wal would be mixed with it."""
    copy = backup(sqlite_node.url, sqlite_node.folder, tmp_path / "copy")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "dictamen.db-wal").write_bytes(b"of another database")
    with pytest.raises(StorageError, match="-wal"):
        restore(copy, f"sqlite:///{folder / 'dictamen.db'}", folder)


def test_a_damaged_backup_is_not_restored(node: Node, tmp_path: Path) -> None:
    copy = backup(node.url, node.folder, tmp_path / "copy")
    name = json.loads((copy / "backup.json").read_text())["database"]
    (copy / name).write_bytes((copy / name).read_bytes()[:-1] + b"?")
    with pytest.raises(StorageCorrupt):
        restore(copy, node.url, node.folder)


def test_a_file_that_the_copy_has_in_part_is_not_restored(node: Node, tmp_path: Path) -> None:
    """What was torn on the way to the backup's disk must not take the place of an image."""
    report = filled(node)
    copy = backup(node.url, node.folder, tmp_path / "copy", files=True)
    (copy / "spool" / report).write_bytes(b"a rep")
    other = tmp_path / "other"
    with pytest.raises(StorageCorrupt, match="is not what was backed up"):
        restore(copy, f"sqlite:///{other / 'dictamen.db'}", other)
    assert not (other / "dictamen.db").exists()


def test_only_the_node_and_its_group_read_what_names_patients(
    node: Node, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = filled(node)
    old = os.umask(0)
    try:
        copy = backup(node.url, node.folder, tmp_path / "copy", files=True)
        other = elsewhere(node, request, tmp_path / "other")
        restore(copy, other.url, other.folder)
        fresh = tmp_path / "fresh" / "dictamen.db"
        upgrade(f"sqlite:///{fresh}")
    finally:
        os.umask(old)
    database = json.loads((copy / "backup.json").read_text())["database"]
    files = [copy / database, copy / "spool" / report, fresh]
    files += [other.file] if node.is_sqlite else []
    assert {file: file.stat().st_mode & 0o007 for file in files} == dict.fromkeys(files, 0)
    assert copy.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    ("label", "says"),
    [(None, "no backup"), ("{", "no backup"), ('{"database": "../x"}', "no database of ours")],
)
def test_what_is_no_backup(tmp_path: Path, label: str | None, says: str) -> None:
    if label is not None:
        (tmp_path / "backup.json").write_text(label)
    with pytest.raises(StorageError, match=says):
        restore(tmp_path, f"sqlite:///{tmp_path / 'x.db'}", tmp_path)


def test_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_backup_of_another_kind(sqlite_node: Node, tmp_path: Path) -> None:
    copy = backup(sqlite_node.url, sqlite_node.folder, tmp_path / "copy")
    with pytest.raises(StorageError, match="another kind"):
        restore(copy, "postgresql+psycopg://nobody@127.0.0.1:9/none", tmp_path)
