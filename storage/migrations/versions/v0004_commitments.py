"""Storage commitment: what each destination answered for a delivery that it stored."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the commitments of deliveries."""
    op.create_table(
        "commitments",
        sa.Column("delivery_id", KEY, autoincrement=False, nullable=False),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("next_try", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_commitments"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name="fk_commitments_delivery_id"
        ),
    )
    op.create_index(
        "ix_commitments_destination_state_next_try",
        "commitments",
        ["destination", "state", "next_try"],
    )
    op.create_index("ix_commitments_transaction_uid", "commitments", ["transaction_uid"])
