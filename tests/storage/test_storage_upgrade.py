"""Migrations: from nothing, from the first release, by many at once; what they leave is right."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import Server
from storage_fixtures import NOON, Node, add, columns, finish, instance, plan

from storage import (
    DeliveryState,
    RunState,
    StorageCorrupt,
    StorageError,
    StorageNewer,
    StorageOutdated,
    StudyState,
    open_storage,
    upgrade,
)
from storage._upgrade import HEAD
from storage.tables import metadata

DUMPS = Path(__file__).parent / "fixtures"


@pytest.fixture
def sqlite_old(tmp_path: Path) -> Node:
    """A SQLite database of the first migration."""
    connection = sqlite3.connect(tmp_path / "dictamen.db")
    connection.executescript((DUMPS / "first_migration.sql").read_text(encoding="utf-8"))
    connection.close()
    return Node(f"sqlite:///{tmp_path / 'dictamen.db'}", tmp_path)


@pytest.fixture
def postgres_old(tmp_path: Path, server: Server) -> Node:
    """A PostgreSQL database of the first migration."""
    url = server.url()
    dump = str(DUMPS / "first_migration.postgresql.sql")
    server.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, url.rsplit("/", 1)[1])
    return Node(url, tmp_path)


@pytest.fixture(
    params=[
        pytest.param("sqlite_old", id="sqlite"),
        pytest.param("postgres_old", id="postgresql", marks=pytest.mark.system),
    ]
)
def old(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A database of the first migration, on each kind in turn."""
    node: Node = request.getfixturevalue(request.param)
    yield node
    node.close()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)],
)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    """A database without tables."""
    if request.param == "sqlite":
        return Node(f"sqlite:///{tmp_path / 'new' / 'dictamen.db'}", tmp_path)
    return Node(request.getfixturevalue("server").url(), tmp_path)


def test_the_first_release_is_upgraded_with_rows_in_every_state(old: Node) -> None:
    with pytest.raises(StorageOutdated, match="dictamen db upgrade"):
        old.open()
    before = old.rows("SELECT count(*) FROM audit_events")[0][0]
    upgrade(old.url)
    storage = old.open()
    states = {study.state for study in storage.studies.list(limit=1000)}
    assert states == set(StudyState)
    assert all(storage.runs.counts()[state] for state in RunState), storage.runs.counts()
    assert {state for _, state in storage.outbox.counts()} == set(DeliveryState)
    assert storage.audit.verify() == ()
    assert storage.audit.head()[0] == before == len(storage.audit.list(limit=1000))
    assert columns(storage) == {
        "completed": 7,
        "unsuitable": 1,
        "failed": 1,
        "set_aside": 1,
        "held": 1,
        "not_selected": 1,
        "waiting": 4,
    }


def test_the_first_release_goes_on_after_its_upgrade(old: Node) -> None:
    upgrade(old.url)
    storage = old.open()
    for study in storage.studies.list(limit=1000):
        for one in storage.studies.instances(study.uid):
            assert one.headers["Modality"] == "DX"
        for run in storage.runs.list(study_uid=study.uid):
            assert storage.runs.get(run.id) == run
            assert all(storage.studies.is_ours(one.uid) for one in storage.runs.reports(run.id))
    (running,) = storage.runs.running()
    assert storage.runs.release(running, "restart", max_attempts=3) is RunState.READY
    old.clock.forward(hours=2)
    while (run := storage.runs.claim("worker")) is not None:
        finish(storage, run)
    for study in storage.studies.unplanned():
        plan(storage, study.uid)
    assert storage.outbox.recover() == 1
    sent = storage.outbox.claim("pacs", old.clock.now)
    assert len(sent) >= 3
    for one in sent:
        storage.outbox.record(one, DeliveryState.DELIVERED, answer="0x0000")
    add(storage, instance(study="1.9"))
    assert storage.audit.verify() == ()
    expired = storage.studies.expired(old.clock.now)
    assert expired
    assert all(storage.studies.forget(uid) for uid in expired)
    assert storage.studies.books(None, None).difference == 0


def test_the_tables_are_those_the_program_knows(empty: Node) -> None:
    upgrade(empty.url)
    with empty.engine().connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert MigrationContext.configure(connection).get_current_revision() == HEAD


def test_an_upgraded_database_is_left_alone(empty: Node) -> None:
    upgrade(empty.url)
    add(empty.storage, instance())
    upgrade(empty.url)
    assert len(empty.storage.studies.list()) == 1
    empty.close()


def test_many_processes_upgrade_at_once(empty: Node) -> None:
    processes = [empty.process("upgrade") for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120)[0] for process in processes] == ["done\n"] * 4
    assert add(empty.storage, instance()).kept
    empty.close()


def test_an_upgrade_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """Two processes that switch a new SQLite file to WAL at once fail, whatever the time-out."""
    new = Node(f"sqlite:///{tmp_path / 'dictamen.db'}", tmp_path)
    with (tmp_path / "dictamen.db.upgrade-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = new.process("upgrade")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate("go\n", timeout=4)
        assert not new.file.exists()
    assert process.communicate(timeout=60)[0] == "done\n"


@pytest.mark.parametrize("revision", ["0001", None])
def test_another_schema_is_not_opened(empty: Node, revision: str | None) -> None:
    if revision:
        upgrade(empty.url, revision=revision)
    with pytest.raises(StorageOutdated, match="dictamen db upgrade"):
        empty.open()


def test_a_newer_schema_is_not_opened(node: Node) -> None:
    node.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageOutdated, match="newer"):
        node.open()


def test_a_failed_upgrade_changes_nothing(empty: Node) -> None:
    upgrade(empty.url, revision="0001")
    empty.sql("ALTER TABLE reports ADD COLUMN purged_at TEXT")  # the second migration stumbles
    with pytest.raises(Exception, match=r"SQL"):
        upgrade(empty.url)
    assert empty.rows("SELECT version_num FROM alembic_version") == [("0001",)]
    with pytest.raises(Exception, match="forgotten_at"):
        empty.rows("SELECT forgotten_at FROM studies")


def test_sqlite_keeps_what_was_answered(sqlite_node: Node) -> None:
    """WAL, one flush for each commit, foreign keys: on every connection, in a database restored."""
    with sqlite_node.storage._database.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_key_is_needed(sqlite_node: Node) -> None:
    with pytest.raises(ValueError, match="key"):
        open_storage(sqlite_node.url, sqlite_node.folder, b"", who="tests")


def test_times_come_back_as_they_went(node: Node) -> None:
    exact = NOON.replace(microsecond=123456)
    add(node.storage, instance(at=exact))
    assert node.storage.studies.instances(instance().identity.study_uid)[0].received_at == exact


def test_a_newer_schema_is_left_alone(node: Node) -> None:
    """An older program installed again by mistake: it says so, and changes nothing."""
    node.sql("UPDATE alembic_version SET version_num = '9999'")
    for refused in (lambda: upgrade(node.url), node.open):
        with pytest.raises(StorageNewer, match="newer than this program's"):
            refused()
    assert node.rows("SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"no database " * 100, StorageCorrupt, id="something else"),
        pytest.param(None, StorageError, id="a folder"),
    ],
)
def test_what_is_no_database_is_not_upgraded(
    tmp_path: Path, content: bytes | None, error: type[StorageError]
) -> None:
    file = tmp_path / "dictamen.db"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(error, match=str(file)):
        upgrade(f"sqlite:///{file}")
    assert content is None or file.read_bytes() == content


def test_no_new_database_is_made_beside_the_images_of_another(empty: Node, tmp_path: Path) -> None:
    """A volume that is not mounted: all would be judged and sent again, and no hold be known."""
    image = tmp_path / "spool" / "objects" / "ab" / "image"
    image.parent.mkdir(parents=True)
    image.touch()
    with pytest.raises(StorageError, match="is new"):
        upgrade(empty.url, objects=image.parents[1])
    assert not (tmp_path / "new" / "dictamen.db").exists(), "a restore would not overwrite it"
    upgrade(empty.url)
    upgrade(empty.url, objects=image.parents[1])
