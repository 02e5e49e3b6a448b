"""The tables, as the newest migration leaves them (a test compares the two).

Times are UTC. Uniqueness does the work of locks: one instance per (SOP UID, ordinal), one run
per (study, processor, digest), one report per (run, kind, index), one delivery per (report,
destination), one message per (sender, control id, content). `audit_events` is append-only by
triggers, which the migrations make.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

UID = String(64)
KEY = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only in an INTEGER


class Moment(TypeDecorator[datetime]):
    """An aware UTC time; SQLite keeps it as sortable text without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("uid", UID, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("patient_name", Text, nullable=False),
    Column("birth_date", Text, nullable=False),
    Column("accession", Text, nullable=False),
    Column("first_received", Moment, nullable=False),
    Column("last_received", Moment, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("planned_instances", Integer, nullable=False),
    Column("trace", JSON, nullable=False),
    Column("forgotten_at", Moment),
    Index(None, "state", "first_received"),
    Index(None, "first_received"),
    Index(None, "last_received"),
    Index(None, "accession"),
)

series = Table(
    "series",
    metadata,
    Column("study_uid", UID, ForeignKey("studies.uid"), primary_key=True),
    Column("uid", UID, primary_key=True),
    Column("modality", String(16), nullable=False),
    Column("first_received", Moment, nullable=False),
)

instances = Table(
    "instances",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("sop_uid", UID, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("sop_class", UID, nullable=False),
    Column("transfer_syntax", UID, nullable=False),
    Column("study_uid", UID, nullable=False),
    Column("series_uid", UID, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("sop_uid", "ordinal"),
    ForeignKeyConstraint(["study_uid", "series_uid"], ["series.study_uid", "series.uid"]),
    Index(None, "study_uid", "series_uid", "sop_uid"),
    Index(None, "path"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("study_uid", UID, ForeignKey("studies.uid"), nullable=False),
    Column("processor", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("instances", JSON, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("not_before", Moment),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("predecessor", KEY, ForeignKey("runs.id")),
    UniqueConstraint("study_uid", "processor", "digest"),
    Index(None, "state", "urgent", "id"),
)

analyses = Table(
    "analyses",
    metadata,
    Column("run_id", KEY, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("content", JSON, nullable=False),  # result.json, kind of refusal, subgroups
    Column("made_at", Moment, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("run_id", KEY, ForeignKey("runs.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("idx", Integer, nullable=False),
    Column("uid", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("sop_class", UID, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("purged_at", Moment),
    UniqueConstraint("run_id", "kind", "idx"),
    Index(None, "uid"),
    Index(None, "path"),
    Index(None, "purged_at", "made_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("report_id", KEY, ForeignKey("reports.id"), nullable=False),
    Column("run_id", KEY, ForeignKey("runs.id"), nullable=False),
    Column("study_uid", UID, ForeignKey("studies.uid"), nullable=False),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", Moment, nullable=False),
    Column("first_try", Moment),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("answer", Text, nullable=False),
    UniqueConstraint("report_id", "destination"),
    Index(None, "destination", "state", "id"),
    Index(None, "study_uid"),
    Index(None, "run_id"),
)

commitments = Table(
    "commitments",
    metadata,
    Column("delivery_id", KEY, ForeignKey("deliveries.id"), primary_key=True, autoincrement=False),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("transaction_uid", UID, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("next_try", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("answer", Text, nullable=False),
    Index(None, "destination", "state", "next_try"),
    Index(None, "transaction_uid"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("control_id", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("study_uid", UID, ForeignKey("studies.uid")),
    Column("run_id", KEY, ForeignKey("runs.id")),
    Column("placer", Text, nullable=False),
    Column("filler", Text, nullable=False),
    Column("accession", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("forgotten_at", Moment),
    Column("written", String(32)),  # ISO 8601, as told: with an offset or without
    UniqueConstraint("sender", "control_id", "sha256"),
    Index(None, "run_id"),
    Index(None, "placer"),
    Index(None, "filler"),
    Index(None, "accession"),
    Index(None, "received_at"),
)

agreements = Table(
    "agreements",
    metadata,
    Column("run_id", KEY, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("draft_run_id", KEY, ForeignKey("runs.id"), nullable=False),
    Column("study_uid", UID, ForeignKey("studies.uid"), nullable=False),
    Column("reader", Text, nullable=False),
    Column("language", String(8), nullable=False),
    Column("figures", JSON, nullable=False),
    Column("findings", Text, nullable=False),
    Column("draft", Text, nullable=False),
    Column("impression", Text, nullable=False),
    Column("received_at", Moment, nullable=False),  # of the final report
    Column("forgotten_at", Moment),
    Index(None, "received_at"),
    Index(None, "study_uid"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("sequence", KEY, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),  # ISO 8601 text: the hash is over these very bytes
    Column("event", String(16), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("action", String(1), nullable=False),
    Column("outcome", Integer, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("details", Text, nullable=False),  # canonical JSON text, for the same reason
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "study_uid", "sequence"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", KEY, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("mac", String(64), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
