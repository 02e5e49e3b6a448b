"""Retention forgets files but keeps rows: remember when, and find what is old by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add when a study's instances and a report's file were removed."""
    op.add_column("studies", sa.Column("forgotten_at", MOMENT))
    op.create_index("ix_studies_last_received", "studies", ["last_received"])
    op.add_column("reports", sa.Column("purged_at", MOMENT))
    op.create_index("ix_reports_purged_at_made_at", "reports", ["purged_at", "made_at"])
