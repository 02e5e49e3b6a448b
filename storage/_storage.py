"""Joins the gateways and the spool into what the other rooms hold: one Storage per process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from storage import _upgrade
from storage._agreements import Agreements
from storage._audit import Audit
from storage._commitments import Commitments
from storage._fates import RESTORE
from storage._inbox import Inbox
from storage._outbox import Outbox
from storage._runs import Runs
from storage._studies import Studies
from storage.database import Clock, Database, utc_now
from storage.errors import StorageCorrupt, StorageOutdated
from storage.spool import Spool


@dataclass(frozen=True)
class Storage:
    """The seven gateways and the spool."""

    studies: Studies
    runs: Runs
    outbox: Outbox
    commitments: Commitments
    inbox: Inbox
    agreements: Agreements
    audit: Audit
    spool: Spool
    _database: Database = field(repr=False)

    def close(self) -> None:
        """Give the connections back; the object is of no use afterwards."""
        self._database.close()


def open_storage(
    url: str,
    data_dir: Path,
    audit_key: bytes,
    *,
    who: str,
    busy_timeout: float = 10.0,
    clock: Clock = utc_now,
    check: bool = True,
) -> Storage:
    """Open the database at `url` and the spool in `data_dir`/spool.

    who: stands in audit events that name nobody. check: look for damage first (SQLite; takes
    longer the bigger the file). Raises StorageOutdated, StorageCorrupt, StorageBusy. Call it in
    the process that uses it, after any fork.
    """
    if not audit_key:
        raise ValueError("the audit key is empty")
    opened = Database(url, audit_key, who, busy_timeout, clock)
    try:
        _look(opened, check)
        spool = Spool(Path(data_dir) / "spool")
    except BaseException:
        opened.close()
        raise
    return Storage(
        Studies(opened),
        Runs(opened),
        Outbox(opened),
        Commitments(opened),
        Inbox(opened),
        Agreements(opened),
        Audit(opened),
        spool,
        _database=opened,
    )


def _look(opened: Database, thoroughly: bool) -> None:
    sqlite = opened.url.get_backend_name() == "sqlite"
    if sqlite and not Path(str(opened.url.database)).exists():
        raise StorageOutdated(f"{opened.name} does not exist.", then="Run `dictamen db upgrade`.")
    with opened.read() as connection:
        if sqlite and thoroughly:
            found = connection.scalar(text("PRAGMA quick_check(1)"))
            if found != "ok":
                raise StorageCorrupt(f"{opened.name} is damaged ({found}).", then=RESTORE)
        _upgrade.check(connection, opened.name)
