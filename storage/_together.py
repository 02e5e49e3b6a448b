"""Enters many received instances in one transaction, the everyday ones together.

Everyday is an instance that changes nothing of its open study but number and time; whatever else
comes (first of a study, repeat, conflict, other patient, corrected name) goes through `_intake`,
in its turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from storage import _intake
from storage.database import Transaction
from storage.records import Added, AddedAs, NewInstance, StudyState
from storage.tables import instances, series, studies

_STUDIES = (
    select(studies)
    .where(studies.c.uid.in_(bindparam("of", expanding=True)))
    .order_by(studies.c.uid)
    .with_for_update(key_share=True)
)
_TAKEN = select(instances.c.sop_uid).where(
    instances.c.sop_uid.in_(bindparam("sops", expanding=True))
)
_MORE = (
    update(studies)
    .where(studies.c.uid == bindparam("of"))
    .values(instances=studies.c.instances + bindparam("more"), last_received=bindparam("last"))
)


def file_many(
    transaction: Transaction, batch: Sequence[NewInstance], on_conflict: str
) -> tuple[Added, ...]:
    """`_intake.file` for each, in this order; what only adds to an open study goes in together."""
    wanted = [one.identity.study_uid for one in batch]
    connection = transaction.connection
    known = {row.uid: row for row in connection.execute(_STUDIES, {"of": sorted(set(wanted))})}
    taken = set(connection.scalars(_TAKEN, {"sops": [one.sop_uid for one in batch]}))
    waiting: list[NewInstance] = []
    done: list[Added] = []
    for new in batch:
        study = known.get(new.identity.study_uid)
        if study is not None and new.sop_uid not in taken and _only_adds(study, new):
            waiting.append(new)
            done.append(Added(AddedAs.NEW, kept=True))
        else:
            _add_all(transaction, waiting)
            waiting = []
            done.append(_intake.file(transaction, new, on_conflict))
            known.update({row.uid: row for row in _again(transaction, known, new)})
        taken.add(new.sop_uid)
    _add_all(transaction, waiting)
    return tuple(done)


def _again(
    transaction: Transaction, known: Mapping[str, Row[Any]], new: NewInstance
) -> Sequence[Row[Any]]:
    """The studies as they are now: a conflict may have held others than its own."""
    uids = sorted({*known, new.identity.study_uid})
    return transaction.connection.execute(_STUDIES, {"of": uids}).all()


def _only_adds(study: Row[Any], new: NewInstance) -> bool:
    """Whether the instance changes nothing of its study but number and time."""
    if study.state != StudyState.OPEN or study.forgotten_at is not None:
        return False
    if not _intake.one_patient(study, new.identity):
        return False
    said = _intake.corrections(new.identity, new.headers)
    return all(getattr(study, field) == value for field, value in said.items())


def _add_all(transaction: Transaction, batch: Sequence[NewInstance]) -> None:
    if not batch:
        return
    listed = {(new.identity.study_uid, new.series_uid): new for new in reversed(batch)}
    transaction.insert_all_missing(series, [_intake.series_row(new) for new in listed.values()])
    transaction.connection.execute(_intake.INSERT, [_intake.instance_row(new, 0) for new in batch])
    transaction.connection.execute(
        _MORE,
        [
            {
                "of": uid,
                "more": sum(new.identity.study_uid == uid for new in batch),
                "last": batch[
                    max(n for n, new in enumerate(batch) if new.identity.study_uid == uid)
                ].received_at,
            }
            for uid in sorted({new.identity.study_uid for new in batch})
        ],
    )
