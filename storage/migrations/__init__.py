"""Alembic migrations, run by `storage.upgrade`; packaged, so no alembic.ini is needed.

A new one: copy the newest file of `versions`, raise its number, and let
tests/storage/test_storage_upgrade.py say whether it leaves what `storage.tables` describes.
"""

from alembic import op


def append_only(table: str, *refused: str) -> None:
    """Triggers that refuse these changes of `table` (on PostgreSQL TRUNCATE as well)."""
    if op.get_bind().dialect.name == "sqlite":
        for change in refused:
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    changes = " OR ".join((*refused, "TRUNCATE"))
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE {changes} ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
