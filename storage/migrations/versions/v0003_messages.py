"""Reports that come in: findings to draft from, final reports, and how far they agree."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
UID = sa.String(64)


def upgrade() -> None:
    """Add the received messages and the agreement of drafts with final reports."""
    op.create_index("ix_studies_accession", "studies", ["accession"])
    op.create_table(
        "messages",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("control_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("study_uid", UID),
        sa.Column("run_id", KEY),
        sa.Column("placer", sa.Text(), nullable=False),
        sa.Column("filler", sa.Text(), nullable=False),
        sa.Column("accession", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("forgotten_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.ForeignKeyConstraint(["study_uid"], ["studies.uid"], name="fk_messages_study_uid"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_messages_run_id"),
        sa.UniqueConstraint(
            "sender", "control_id", "sha256", name="uq_messages_sender_control_id_sha256"
        ),
    )
    for column in ("run_id", "placer", "filler", "accession", "received_at"):
        op.create_index(f"ix_messages_{column}", "messages", [column])
    op.create_table(
        "agreements",
        sa.Column("run_id", KEY, autoincrement=False, nullable=False),
        sa.Column("draft_run_id", KEY, nullable=False),
        sa.Column("study_uid", UID, nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.Column("impression", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("forgotten_at", MOMENT),
        sa.PrimaryKeyConstraint("run_id", name="pk_agreements"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_agreements_run_id"),
        sa.ForeignKeyConstraint(["draft_run_id"], ["runs.id"], name="fk_agreements_draft_run_id"),
        sa.ForeignKeyConstraint(["study_uid"], ["studies.uid"], name="fk_agreements_study_uid"),
    )
    for column in ("received_at", "study_uid"):
        op.create_index(f"ix_agreements_{column}", "agreements", [column])
