"""The agreements gateway: which draft a final report belongs to, and how far the two agree.

One row for each final report that was compared. What is stored is what the comparison made; a
comparison that is made twice (its process was killed in between) leaves one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, insert, select

from storage import _rows
from storage._plain import plain, text
from storage.database import Database, Transaction
from storage.records import (
    AGREEMENT,
    IMPRESSIONS,
    UNFINISHED,
    AgreementRecord,
    AuditEntry,
    DraftFound,
    RunState,
)
from storage.tables import agreements, analyses, runs

_PAGE = 500


class Agreements:
    """Comparisons of drafts with final reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def draft(self, study_uid: str) -> DraftFound:
        """The newest live draft of a study: one from dictated findings before one from images."""
        mine = (runs.c.study_uid == study_uid, runs.c.processor != AGREEMENT)
        dictated = case((runs.c.processor == IMPRESSIONS, 0), else_=1)
        with self._database.read() as connection:
            rows = connection.execute(
                select(runs, analyses.c.content)
                .join_from(runs, analyses)
                .where(*mine, runs.c.state == RunState.COMPLETED, runs.c.mode == "live")
                .order_by(dictated, runs.c.id.desc())
            )
            for row in rows:
                if row.content.get("impression"):
                    return DraftFound(_rows.run(row), row.content)
            query = select(runs.c.id).where(*mine, runs.c.state.in_(UNFINISHED)).limit(1)
            return DraftFound(waits=connection.scalar(query) is not None)

    def record(self, new: AgreementRecord) -> None:
        """Store one comparison, in place of an earlier one of the same run."""

        def work(transaction: Transaction) -> None:
            mine = agreements.c.run_id == new.run_id
            transaction.connection.execute(delete(agreements).where(mine))
            values: dict[str, Any] = {
                "run_id": new.run_id,
                "draft_run_id": new.draft_run_id,
                "study_uid": new.study_uid,
                "reader": text(new.reader),
                "language": new.language,
                "figures": plain(new.figures),
                "findings": text(new.findings),
                "draft": text(new.draft),
                "impression": text(new.impression),
                "received_at": new.received_at,
            }
            transaction.connection.execute(insert(agreements).values(values))
            details = {"run": new.run_id, "draft_run": new.draft_run_id}
            transaction.audit(
                AuditEntry("110100", "E", 0, "agreement.stored", new.study_uid, details=details)
            )

        self._database.write(work)

    def all(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[AgreementRecord]:
        """Comparisons with final reports received from `since` until before `until`, as they came.

        Of several finals of one study (a correction) each stands for itself.
        """
        query = select(agreements).order_by(agreements.c.run_id).limit(_PAGE)
        if since is not None:
            query = query.where(agreements.c.received_at >= since)
        if until is not None:
            query = query.where(agreements.c.received_at < until)
        after = 0
        while True:
            with self._database.read() as connection:
                page = connection.execute(query.where(agreements.c.run_id > after)).all()
            yield from (_rows.agreement(row) for row in page)
            if len(page) < _PAGE:
                return
            after = page[-1].run_id
