"""When the sender of a report says that it wrote it: what came late is known by it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the time of a message; those that came before have none."""
    op.add_column("messages", sa.Column("written", sa.String(32)))
