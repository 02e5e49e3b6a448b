"""Whether a destination has taken responsibility for a delivery: states, resends, retention."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from storage_fixtures import NOON, Node, completed, finish, instance, report, waiting

from storage import CommitmentState, DeliveryState, Storage

MOST = 3
NUMBERS = count(1)


def _deliver(storage: Storage) -> list[int]:
    """The numbers of deliveries that the peer stored, with a commitment wanted."""
    claimed = storage.outbox.claim("pacs", NOON + timedelta(hours=1))
    for delivery in claimed:
        storage.outbox.record(delivery, DeliveryState.DELIVERED, answer="0x0000", commitment=True)
    return [delivery.id for delivery in claimed]


def _ask(storage: Storage, ids: list[int]) -> tuple[str, list[str]]:
    """The transaction, and the UIDs asked for."""
    due = storage.commitments.due("pacs", NOON + timedelta(hours=1))
    assert [one.delivery_id for one in due] == ids
    transaction = f"2.25.{next(NUMBERS)}"
    storage.commitments.asking(ids, transaction, NOON + timedelta(hours=2))
    return transaction, [one.sop_uid for one in due]


def _states(storage: Storage, ids: list[int]) -> list[str]:
    found = storage.commitments.of(ids)
    return [found[one].state.value for one in ids]


def test_what_is_committed_is_asked_for_no_more(node: Node) -> None:
    storage = node.storage
    completed(storage)
    ids = _deliver(storage)
    assert _states(storage, ids) == ["wanted"] * len(ids)
    transaction, uids = _ask(storage, ids)
    told = storage.commitments.told(transaction, uids, {}, MOST)
    assert told is not None
    assert (told.destination, told.committed, told.again) == ("pacs", len(ids), 0)
    assert _states(storage, ids) == ["committed"] * len(ids)
    assert storage.commitments.due("pacs", NOON + timedelta(days=9)) == ()
    assert storage.commitments.told(transaction, uids, {}, MOST) is None  # told twice
    kinds = [record.entry.kind for record in storage.audit.list(limit=100)]
    assert kinds.count("commitment.committed") == len(ids)


def test_a_delivery_without_a_wish_has_no_commitment(node: Node) -> None:
    storage = node.storage
    waiting(storage)
    run = storage.runs.claim("worker")
    assert run is not None
    finish(storage, run, reports=[report(run), report(run, "strip")])
    claimed = storage.outbox.claim("pacs", NOON + timedelta(hours=1))
    storage.outbox.record(claimed[0], DeliveryState.DELIVERED, answer="0x0000")
    storage.outbox.record(claimed[1], DeliveryState.REJECTED, answer="0xC000", commitment=True)
    assert storage.commitments.of([one.id for one in claimed]) == {}


def test_what_fails_is_sent_again_a_few_times(node: Node) -> None:
    storage = node.storage
    completed(storage)
    ids = _deliver(storage)
    for time in range(1, MOST + 1):
        transaction, uids = _ask(storage, ids)
        told = storage.commitments.told(transaction, uids[1:], {uids[0]: 0x0112}, MOST)
        assert told is not None
        assert (told.again, told.refused) == ((1, 0) if time < MOST else (0, 1))
        delivery = storage.outbox.get(ids[0])
        assert delivery is not None
        if time < MOST:
            assert delivery.state is DeliveryState.WAITING
            assert storage.commitments.due("pacs", NOON + timedelta(days=1)) == ()  # sent first
            ids = _deliver(storage)
            assert ids == [delivery.id]
    assert _states(storage, ids) == ["refused"]
    assert storage.commitments.of(ids)[ids[0]].answer == "not committed: 0x0112"
    assert storage.commitments.counts()[("pacs", CommitmentState.REFUSED)] == 1
    assert storage.outbox.retry(ids[0], "person")  # who looked at it
    assert _deliver(storage) == ids
    assert storage.commitments.of(ids)[ids[0]].refused == 0


def test_silence_is_asked_again_and_ends_as_a_line_for_a_person(node: Node) -> None:
    storage = node.storage
    completed(storage)
    ids = _deliver(storage)
    first, uids = _ask(storage, ids)
    assert storage.commitments.due("pacs", NOON + timedelta(hours=1)) == ()
    assert len(storage.commitments.due("pacs", NOON + timedelta(hours=2))) == len(ids)
    storage.commitments.asking(ids, "2.25.999", NOON + timedelta(hours=3))
    assert storage.commitments.told(first, uids, {}, MOST) is None  # of a former request
    storage.commitments.not_asked("2.25.999", NOON, "the peer is away", counts=False)
    assert {one.asked for one in storage.commitments.due("pacs", NOON)} == {1}
    assert storage.commitments.missing(ids) == len(ids)
    assert _states(storage, ids) == ["missing"] * len(ids)
    assert not storage.outbox.retry(0, "person")
    assert storage.outbox.retry(ids[0], "person")


@pytest.mark.parametrize(
    ("failed", "state"), [(False, "committed"), (True, "wanted")], ids=["kept", "failed"]
)
def test_a_report_that_comes_after_all_is_heard(node: Node, failed: bool, state: str) -> None:
    """An archive that needs longer than all our requests took must not be called silent."""
    storage = node.storage
    completed(storage)
    ids = _deliver(storage)
    transaction, uids = _ask(storage, ids)
    assert storage.commitments.missing(ids) == len(ids)
    kept, lost = ([], dict.fromkeys(uids, 0x0112)) if failed else (uids, {})
    told = storage.commitments.told(transaction, kept, lost, MOST)
    assert told is not None
    assert _states(storage, ids) == [state] * len(ids)
    assert storage.commitments.told(transaction, kept, lost, MOST) is None, "only once"


def test_a_report_is_kept_until_it_is_committed(node: Node) -> None:
    """Retention must not take what may be the only copy."""
    storage = node.storage
    completed(storage)
    ids = _deliver(storage)
    later = NOON + timedelta(days=99)
    assert storage.runs.forget_reports(later) == ()
    transaction, uids = _ask(storage, ids)
    storage.commitments.told(transaction, uids, {}, MOST)
    assert len(storage.runs.forget_reports(later)) == len(ids)


def test_what_is_held_by_uid(node: Node) -> None:
    storage = node.storage
    made = instance()
    storage.studies.add(made, on_conflict="keep_first")
    assert storage.studies.held([made.sop_uid, "9.9"]) == {
        made.sop_uid: ((made.sop_class, made.path),)
    }
