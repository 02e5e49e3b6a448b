"""Faults of the database itself: full, locked, damaged, altered by hand."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest
from databases import PASSWORD, Server
from sqlalchemy import event, text
from storage_fixtures import (
    Node,
    add,
    completed,
    instance,
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)

from storage import (
    AddedAs,
    AuditEntry,
    Storage,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    upgrade,
)
from storage._audit import Audit
from storage.database import Database

FIXTURES = (
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)


def _no_page_more(opened: Database) -> None:
    @event.listens_for(opened.engine, "checkout")
    def _limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")


def _disk_full_says_the_server(node: Node) -> None:
    node.sql(
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER no_space AFTER INSERT ON instances EXECUTE FUNCTION no_space()",
    )


def test_disk_full_db(node: Node) -> None:
    storage = node.storage
    add(storage, instance(1))
    if node.is_sqlite:
        _no_page_more(storage._database)
    else:
        _disk_full_says_the_server(node)
    big = {"Modality": "DX", "Note": "x" * 20_000}
    batch = [instance(number, headers=big) for number in range(2, 6)]
    with pytest.raises(StorageFull, match=r"[Ff]ree space"):
        storage.studies.add_many(batch, on_conflict="keep_first")
    paths = [one.path for one in batch]
    assert storage.studies.known_paths(paths) == frozenset()  # the whole batch, or nothing
    if node.is_sqlite:
        node.close()
    else:
        node.sql("DROP TRIGGER no_space ON instances")
    added = node.open().studies.add_many(batch, on_conflict="keep_first")
    assert {one.kind for one in added} == {AddedAs.NEW}
    assert node.open().audit.verify() == ()


def test_db_locked(node: Node) -> None:
    storage = node.open(busy_timeout=0.5)
    add(storage, instance(1))
    blocker = node.engine()
    with blocker.connect() as other:
        statement = "BEGIN IMMEDIATE" if node.is_sqlite else "LOCK TABLE studies"
        other.exec_driver_sql(statement)
        before = time.monotonic()
        with pytest.raises(StorageBusy):
            add(storage, instance(2))
        assert 0.4 < time.monotonic() - before < 5
        other.rollback()
    assert add(storage, instance(2)).kind is AddedAs.NEW


def test_db_locked_by_a_thread_of_ours(sqlite_node: Node) -> None:
    storage = sqlite_node.open(busy_timeout=0.3)
    with storage._database._one_at_a_time(), pytest.raises(StorageBusy):
        add(storage, instance(1))
    assert add(storage, instance(1)).kind is AddedAs.NEW


def test_db_locked_for_good_when_the_server_is_gone(postgres_node: Node) -> None:
    url = postgres_node.url
    postgres_node.url = url[: url.rindex(":") + 1] + "9/gone"  # the discard port: nobody listens
    with pytest.raises(StorageBusy) as caught:
        postgres_node.open(busy_timeout=1)
    assert "ordinary" not in str(caught.value)  # the password


def _overwrite(node: Node) -> None:
    with node.file.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xde\xad\xbe\xef" * 8192)


def _overwrite_rows(node: Node) -> None:
    """Only rows of data: every table still opens, and only a check finds it."""
    page = node.rows("SELECT max(pageno) FROM dbstat WHERE name = 'instances'")[0][0]
    with node.file.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xde\xad\xbe\xef" * 1024)


def _no_database(node: Node) -> None:
    node.file.write_bytes(b"this was a database once" * 1000)


@pytest.mark.parametrize(
    "damage", [_overwrite, _overwrite_rows, _no_database], ids=["pages", "rows", "header"]
)
def test_db_corrupt(sqlite_node: Node, damage: Callable[[Node], None]) -> None:
    node = sqlite_node
    add(node.storage, *(instance(number) for number in range(1, 50)))
    kept = node.storage.spool.write("objects", "aa/one.dcm", b"bytes")
    node.close()
    damage(node)
    with pytest.raises(StorageCorrupt) as caught:
        node.open()
    assert str(node.file) in str(caught.value)
    assert "dictamen db restore" in str(caught.value)
    assert (node.folder / "spool" / kept).read_bytes() == b"bytes"


def _unlock(node: Node) -> None:
    """What somebody with the rights of the database's owner would do first."""
    if node.is_sqlite:
        node.sql("DROP TRIGGER audit_events_no_update", "DROP TRIGGER audit_events_no_delete")
    else:
        node.sql("ALTER TABLE audit_events DISABLE TRIGGER ALL")


COPY = (
    "INSERT INTO audit_events SELECT {new}, at, event, kind, action, outcome, study_uid, who, "
    "details, previous_hash, hash FROM audit_events WHERE sequence = {old}"
)
SWAP = (
    "UPDATE audit_events SET sequence = -1 WHERE sequence = 2",
    "UPDATE audit_events SET sequence = 2 WHERE sequence = 3",
    "UPDATE audit_events SET sequence = 3 WHERE sequence = -1",
)


@pytest.mark.parametrize(
    ("statements", "finds"),
    [
        pytest.param(
            ["UPDATE audit_events SET outcome = 0, details = '{}' WHERE sequence = 4"],
            ["sequence 4: changed"],
            id="changed",
        ),
        pytest.param(
            ["UPDATE audit_events SET at = '2026-03-01T11:00:00.000000+00:00' WHERE sequence = 2"],
            ["sequence 2: changed"],
            id="time changed",
        ),
        pytest.param(
            ["DELETE FROM audit_events WHERE sequence = 3"], ["sequence 3: removed"], id="removed"
        ),
        pytest.param(
            ["DELETE FROM audit_events WHERE sequence = 1"],
            ["sequence 1: removed"],
            id="first removed",
        ),
        pytest.param(
            ["DELETE FROM audit_events WHERE sequence > 4"],
            ["sequence 5: removed, and all up to 6"],
            id="end removed",
        ),
        pytest.param(
            [
                "DELETE FROM audit_events WHERE sequence > 4",
                "UPDATE audit_head SET sequence = 4, hash = "
                "(SELECT hash FROM audit_events WHERE sequence = 4)",
            ],
            ["sequence 4: the head was changed"],
            id="end removed and head moved back",
        ),
        pytest.param(SWAP, ["sequence 2: re-ordered", "sequence 3: re-ordered"], id="re-ordered"),
        pytest.param(
            [COPY.format(new=7, old=6)],
            ["sequence 7: changed or inserted", "sequence 7: inserted after"],
            id="inserted at the end",
        ),
        pytest.param(
            [
                "UPDATE audit_events SET sequence = sequence + 100 WHERE sequence > 3",
                COPY.format(new=4, old=3),
                "UPDATE audit_events SET sequence = sequence - 99 WHERE sequence > 100",
            ],
            ["sequence 4: changed or inserted", "sequence 5: re-ordered"],
            id="inserted in between",
        ),
        pytest.param(
            ["DELETE FROM audit_events", "UPDATE audit_head SET sequence = 0, mac = '', "
             f"hash = '{'0' * 64}'"],
            ["sequence 1: removed: there are studies"],
            id="everything removed",
        ),
    ],
)  # fmt: skip
def test_audit_tamper(node: Node, statements: list[str], finds: list[str]) -> None:
    completed(node.storage)
    node.storage.audit.append(AuditEntry("110113", "E", 8, kind="110126"))
    assert node.storage.audit.head()[0] == 6
    assert node.storage.audit.verify() == ()
    _unlock(node)
    node.sql(*statements)
    found = node.storage.audit.verify()
    assert all(any(line.startswith(start) for line in found) for start in finds), found


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_events SET outcome = 0", "DELETE FROM audit_events", "DELETE FROM audit_head"],
)
def test_audit_tamper_is_refused(node: Node, statement: str) -> None:
    completed(node.storage)
    with pytest.raises(Exception, match="append-only"):
        node.sql(statement)
    assert node.storage.audit.verify() == ()


def test_audit_tamper_is_not_covered_by_what_comes_later(node: Node) -> None:
    """Cutting the end off and moving the head back shows for ever, not only until the next row."""
    completed(node.storage)
    _unlock(node)
    node.sql(
        "DELETE FROM audit_events WHERE sequence > 3",
        "UPDATE audit_head SET sequence = 3, hash = "
        "(SELECT hash FROM audit_events WHERE sequence = 3)",
    )
    node.storage.audit.append(AuditEntry("110100", "E"))
    node.storage.audit.append(AuditEntry("110100", "E"))
    assert node.storage.audit.verify() == ("sequence 4: does not follow the row before it (3)",)


def test_audit_tamper_by_an_older_state_shows_against_a_head_kept_elsewhere(node: Node) -> None:
    completed(node.storage)
    old = node.rows("SELECT sequence, hash, mac FROM audit_head")[0]
    node.storage.audit.append(AuditEntry("110113", "E", 8))
    known = node.storage.audit.head()
    assert node.storage.audit.verify(known) == ()
    _unlock(node)
    node.sql(
        f"DELETE FROM audit_events WHERE sequence > {old.sequence}",
        f"UPDATE audit_head SET sequence = {old.sequence}, hash = '{old.hash}', mac = '{old.mac}'",
    )
    assert node.storage.audit.verify() == ()  # nothing inside the database can show this
    assert node.storage.audit.verify(known)[0].startswith(f"sequence {known[0]}: removed")
    node.storage.audit.append(AuditEntry("110100", "E"))
    assert node.storage.audit.verify(known) == (f"sequence {known[0]}: is not the row it once was",)


def test_audit_tamper_with_another_key(node: Node) -> None:
    completed(node.storage)
    forged = Database(node.url, b"another key", "forger", 5)
    forged.write(lambda transaction: transaction.audit(AuditEntry("110100", "E")))
    forged.close()
    assert [line.split(":")[0] for line in node.storage.audit.verify()] == ["sequence 6"] * 3


def test_audit_tamper_seen_with_another_key(node: Node) -> None:
    """One line, not one for each row of ten years."""
    completed(node.storage)
    forged = Audit(Database(node.url, b"another key", "auditor", 5))
    found = forged.verify()
    forged._database.close()
    assert found[0] == "sequence 1: none of the rows up to 5 was written with this key"
    assert len(found) == 2  # and the head


def test_an_error_names_no_value_of_a_row(node: Node) -> None:
    """Drivers quote the row in their message; ours must not hold a patient's name."""

    def work(storage: Storage) -> None:
        storage._database.write(
            lambda transaction: transaction.connection.execute(
                text("INSERT INTO studies (uid, patient_name) VALUES ('1.2', 'Muñoz^Ana')")
            )
        )

    with pytest.raises(StorageError) as caught:
        work(node.storage)
    printed = "".join(traceback.format_exception(caught.value))
    assert "Muñoz" not in printed


@pytest.mark.system
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(r":[^:@]+@", ":wrong@", "password authentication failed", id="password"),
        pytest.param(r"/[^/]*$", "/none", 'database "none" does not exist', id="name"),
        pytest.param(r":\d+/", ":1/", "Connection refused", id="port"),
        pytest.param(r"@[^:]+:", "@no.such.host.invalid:", "failed to resolve host", id="host"),
    ],
)
def test_why_there_is_no_connection(server: Server, old: str, new: str, says: str) -> None:
    url = re.sub(old, new, server.url())
    with pytest.raises(StorageBusy) as refused:
        upgrade(url, busy_timeout=2)
    assert says in str(refused.value)
    assert "user and password right?" in str(refused.value)
    assert quote(PASSWORD, safe="") not in str(refused.value)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"dictamen\[postgres\]"):
        upgrade("postgresql+psycopg://nobody@127.0.0.1:9/none")
