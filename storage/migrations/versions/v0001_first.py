"""Studies, runs, analyses, reports, deliveries and the append-only audit."""

import sqlalchemy as sa
from alembic import op

from storage.migrations import append_only

revision = "0001"
down_revision = None

UID = sa.String(64)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make every table of the first release."""
    _received()
    _runs()
    _results()
    _deliveries()
    _audit()


def _received() -> None:
    op.create_table(
        "studies",
        sa.Column("uid", UID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("patient_id", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("patient_name", sa.Text, nullable=False),
        sa.Column("birth_date", sa.Text, nullable=False),
        sa.Column("accession", sa.Text, nullable=False),
        sa.Column("first_received", MOMENT, nullable=False),
        sa.Column("last_received", MOMENT, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("planned_instances", sa.Integer, nullable=False),
        sa.Column("trace", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_studies"),
    )
    op.create_index("ix_studies_state_first_received", "studies", ["state", "first_received"])
    op.create_index("ix_studies_first_received", "studies", ["first_received"])
    op.create_table(
        "series",
        sa.Column("study_uid", UID, nullable=False),
        sa.Column("uid", UID, nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("first_received", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("study_uid", "uid", name="pk_series"),
        sa.ForeignKeyConstraint(["study_uid"], ["studies.uid"], name="fk_series_study_uid"),
    )
    op.create_table(
        "instances",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sop_uid", UID, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("sop_class", UID, nullable=False),
        sa.Column("transfer_syntax", UID, nullable=False),
        sa.Column("study_uid", UID, nullable=False),
        sa.Column("series_uid", UID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("called_ae", sa.String(16), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
        sa.UniqueConstraint("sop_uid", "ordinal", name="uq_instances_sop_uid_ordinal"),
        sa.ForeignKeyConstraint(
            ["study_uid", "series_uid"],
            ["series.study_uid", "series.uid"],
            name="fk_instances_study_uid_series_uid",
        ),
    )
    op.create_index(
        "ix_instances_study_uid_series_uid_sop_uid",
        "instances",
        ["study_uid", "series_uid", "sop_uid"],
    )
    op.create_index("ix_instances_path", "instances", ["path"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_uid", UID, nullable=False),
        sa.Column("processor", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("urgent", sa.Boolean, nullable=False),
        sa.Column("instances", sa.JSON, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("not_before", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("predecessor", KEY),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint(
            "study_uid", "processor", "digest", name="uq_runs_study_uid_processor_digest"
        ),
        sa.ForeignKeyConstraint(["study_uid"], ["studies.uid"], name="fk_runs_study_uid"),
        sa.ForeignKeyConstraint(["predecessor"], ["runs.id"], name="fk_runs_predecessor"),
    )
    op.create_index("ix_runs_state_urgent_id", "runs", ["state", "urgent", "id"])


def _results() -> None:
    op.create_table(
        "analyses",
        sa.Column("run_id", KEY, nullable=False, autoincrement=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_analyses"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_analyses_run_id"),
    )
    op.create_table(
        "reports",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("idx", sa.Integer, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sop_class", UID, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("run_id", "kind", "idx", name="uq_reports_run_id_kind_idx"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_reports_run_id"),
    )
    op.create_index("ix_reports_uid", "reports", ["uid"])
    op.create_index("ix_reports_path", "reports", ["path"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", KEY, nullable=False),
        sa.Column("report_id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("study_uid", UID, nullable=False),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try", MOMENT, nullable=False),
        sa.Column("first_try", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("answer", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("report_id", "destination", name="uq_deliveries_report_id_destination"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_deliveries_report_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_deliveries_run_id"),
        sa.ForeignKeyConstraint(["study_uid"], ["studies.uid"], name="fk_deliveries_study_uid"),
    )
    op.create_index(
        "ix_deliveries_destination_state_id", "deliveries", ["destination", "state", "id"]
    )
    op.create_index("ix_deliveries_study_uid", "deliveries", ["study_uid"])
    op.create_index("ix_deliveries_run_id", "deliveries", ["run_id"])


def _audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("sequence", KEY, nullable=False, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("action", sa.String(1), nullable=False),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_study_uid_sequence", "audit_events", ["study_uid", "sequence"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("sequence", KEY, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one_row"),
    )
    head = sa.table("audit_head", *map(sa.column, ("id", "sequence", "hash", "mac")))
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "hash": "0" * 64, "mac": ""}])
    append_only("audit_events", "UPDATE", "DELETE")
    append_only("audit_head", "DELETE")
