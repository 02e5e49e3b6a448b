"""Faults of what is received: other patients, other bytes, the same again, too late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from storage_fixtures import (
    NOON,
    STUDY,
    Node,
    add,
    columns,
    completed,
    finish,
    instance,
    node_fixture,
    plan,
    postgres_node_fixture,
    ready_file_fixture,
    report,
    server_fixture,
    sqlite_node_fixture,
    waiting,
)

from storage import (
    Added,
    AddedAs,
    DeliveryState,
    Identity,
    LeaseLost,
    PlannedRun,
    RunState,
    Storage,
    StudyState,
)
from storage._holding import RESTS_ON_IT

FIXTURES = (
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)


def state(storage: Storage, study: str = STUDY) -> StudyState:
    found = storage.studies.get(study)
    assert found is not None
    return found.state


def kinds(storage: Storage, study: str = STUDY) -> list[str]:
    return [record.entry.kind for record in storage.audit.list(study_uid=study, limit=1000)]


def test_ds_duplicate_same(node: Node) -> None:
    storage = node.storage
    assert add(storage, instance()) == Added(AddedAs.NEW, kept=True)
    assert add(storage, instance()) == Added(AddedAs.REPEAT, kept=True)
    elsewhere = instance(path="objects/ff/a-second-copy.dcm")
    assert add(storage, elsewhere) == Added(AddedAs.REPEAT, kept=False, path=instance().path)
    (one,) = storage.studies.instances(STUDY)
    assert (one.repeats, one.path) == (2, instance().path)
    assert len(plan(storage)) == 1
    assert plan(storage) == ()


@pytest.mark.parametrize(
    ("rule", "answer", "kept", "held"),
    [
        pytest.param("keep_first", Added(AddedAs.CONFLICT, False), 1, False, id="keep first"),
        pytest.param("refuse", Added(AddedAs.CONFLICT, False, True), 1, False, id="refuse"),
        pytest.param("keep_both", Added(AddedAs.CONFLICT, True), 2, True, id="keep both"),
    ],
)
def test_ds_duplicate_other(node: Node, rule: str, answer: Added, kept: int, held: bool) -> None:
    storage = node.storage
    add(storage, instance())
    found = add(storage, instance(content="other"), on_conflict=rule)
    assert (found.kind, found.kept, found.refused) == (answer.kind, answer.kept, answer.refused)
    assert len(storage.studies.instances(STUDY)) == kept
    assert bool(found.held) == (state(storage) is StudyState.HELD) == held
    assert "instance.conflict" in kinds(storage)
    assert columns(storage) == ({"held": 1} if held else {"waiting": 1})
    again = add(storage, instance(content="other"), on_conflict=rule)
    assert again.kind is (AddedAs.REPEAT if rule == "keep_both" else AddedAs.CONFLICT)


def test_ds_duplicate_other_in_another_study(node: Node) -> None:
    """One SOP Instance UID in two studies: which study it is of is a person's decision."""
    storage, uid = node.storage, "1.2.99"
    add(storage, instance(sop_uid=uid))
    other = instance(study="1.2.3", sop_uid=uid)
    assert not add(storage, other, on_conflict="keep_first").kept
    assert storage.studies.get("1.2.3") is None
    assert add(storage, other, on_conflict="keep_both").held
    assert state(storage) is state(storage, "1.2.3") is StudyState.HELD


@pytest.mark.parametrize("rule", ["keep_first", "refuse"])
@pytest.mark.parametrize(("patient", "held"), [("P2", True), ("P1", False)])
def test_an_image_that_comes_again_as_another_patient_s_in_another_study(
    node: Node, rule: str, patient: str, held: bool
) -> None:
    """Sent as the wrong patient's first, or now: whose it is, is a person's decision."""
    storage, uid = node.storage, "1.2.99"
    completed(storage)
    add(storage, instance(sop_uid=uid))
    moved = instance(study="1.2.3", sop_uid=uid, patient=patient)
    found = add(storage, moved, on_conflict=rule)
    assert (found.kept, bool(found.held)) == (False, held)
    assert (state(storage) is StudyState.HELD) is held
    alerts = [r.entry for r in storage.audit.list(limit=99) if r.entry.event == "110113"]
    assert [(one.study_uid, one.details["sop_uid"]) for one in alerts] == [(STUDY, uid)] * held


@pytest.mark.parametrize(
    ("patient", "issuer"),
    [
        pytest.param("P2", "HOSPITAL", id="another number"),
        pytest.param("", "HOSPITAL", id="no number"),
        pytest.param("P1", "CLINIC", id="the same number of another issuer"),
    ],
)
def test_wrong_patient(node: Node, patient: str, issuer: str) -> None:
    storage = node.storage
    completed(storage)
    found = add(storage, instance(2, patient=patient, issuer=issuer))
    assert (found.kind, found.kept) == (AddedAs.NEW, True)
    assert "another patient" in found.held
    assert state(storage) is StudyState.HELD
    assert plan(storage) == ()
    assert storage.outbox.claim("pacs", NOON) == ()
    (alert,) = [r.entry for r in storage.audit.list(limit=99) if r.entry.event == "110113"]
    both = alert.details["patient_of_study"], alert.details["patient_received"]
    assert alert.outcome == 8
    assert len(set(both)) == 2
    assert not any("P1" in str(value) or "P2" in str(value) for value in alert.details.values())
    assert columns(storage) == {"held": 1}


@pytest.mark.parametrize("rule", ["keep_first", "refuse"])
def test_wrong_patient_in_bytes_that_are_not_kept(node: Node, rule: str) -> None:
    add(node.storage, instance())
    found = add(node.storage, instance(content="corrected", patient="P2"), on_conflict=rule)
    assert not found.kept
    assert found.held
    assert state(node.storage) is StudyState.HELD


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(("P1 ", "HOSPITAL"), ("P1", "HOSPITAL"), id="padding"),
        pytest.param(("P1", ""), ("P1", "HOSPITAL"), id="an issuer said later"),
        pytest.param(("P1", "HOSPITAL"), ("P1", ""), id="an issuer not said again"),
    ],
)
def test_the_same_patient(node: Node, first: tuple[str, str], then: tuple[str, str]) -> None:
    add(node.storage, instance(1, patient=first[0], issuer=first[1]))
    add(node.storage, instance(2, patient=then[0], issuer=then[1]))
    assert state(node.storage) is StudyState.OPEN
    assert add(node.storage, instance(3, patient="P1", issuer="CLINIC")).held


@pytest.mark.parametrize("number", ["", '""'])
@pytest.mark.parametrize(
    ("name", "birth", "held"),
    [
        pytest.param("Muñoz^Ana", "19700101", False, id="all the same"),
        pytest.param("Muñoz^Ana^^^", "", False, id="a birth date not said again"),
        pytest.param("", "19700101", False, id="a name not said again"),
        pytest.param("Ruiz^Eva", "19700101", True, id="another name"),
        pytest.param("Muñoz^Ana", "19800101", True, id="another birth date"),
    ],
)
def test_patients_without_a_number(
    node: Node, number: str, name: str, birth: str, held: bool
) -> None:
    """Where no number says who it is, the name and the birth date must."""
    add(node.storage, instance(1, patient=number, issuer=""))
    whose = Identity(STUDY, number, "", name, birth, "A1")
    assert bool(add(node.storage, instance(2, identity=whose)).held) is held
    many = [instance(n, identity=whose, study=STUDY) for n in (3, 4)]
    assert bool(node.storage.studies.add_many(many, on_conflict="keep_first")[-1].held) is held


def test_two_patients(node: Node) -> None:
    """The study stays held whatever comes, until a person left the wrong images out."""
    storage = node.storage
    waiting(storage)
    add(storage, instance(2, patient="P2"))
    assert add(storage, instance(3)).held
    assert storage.runs.claim("worker") is None
    assert not storage.studies.release("1.2.3", "admin")
    assert not storage.studies.release(STUDY, "admin")
    held = storage.studies.get(STUDY)
    assert held is not None
    assert held.state is StudyState.HELD
    assert "two patients" in held.reason
    assert "--without" in held.reason
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert not storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    assert not storage.studies.release(STUDY, "admin")
    assert state(storage) is StudyState.OPEN
    (run,) = plan(storage)
    assert run.instances == (instance(1).sop_uid, instance(3).sop_uid)
    assert [k for k in kinds(storage) if k.startswith(("study.", "instance."))] == [
        "study.opened", "study.settled", "study.held", "study.not_released",
        "instance.excluded", "study.released", "study.settled",
    ]  # fmt: skip


def test_two_patients_of_whom_the_first_was_the_wrong_one(node: Node) -> None:
    """The row then names the patient of what is left, in its newest words."""
    storage = node.storage
    add(storage, instance(1, patient="P2"), instance(2, issuer=""))
    newest = replace(instance().identity, patient_name="Muñoz^Ana María")
    add(storage, instance(3, identity=newest))
    assert storage.studies.exclude(STUDY, instance(1).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    study = storage.studies.get(STUDY)
    assert study is not None
    assert (study.identity, study.instances) == (newest, 2)
    (run,) = plan(storage)
    assert run.instances == (instance(2).sop_uid, instance(3).sop_uid)


@pytest.mark.parametrize(
    ("name", "birth"), [("Ruiz^Eva", "19700101"), ("Muñoz^Ana", "19800101")], ids=["name", "birth"]
)
def test_two_patients_without_a_number(node: Node, name: str, birth: str) -> None:
    """The same as with numbers: no release while both count, then the name of what is left."""
    storage, other = node.storage, Identity(STUDY, "", "", name, birth, "A1")
    silent = replace(other, patient_name="", birth_date="")
    add(storage, instance(1, patient="", issuer=""), instance(2, identity=silent))
    add(storage, instance(3, identity=other))
    assert not storage.studies.release(STUDY, "admin")
    assert storage.studies.exclude(STUDY, instance(1).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    study = storage.studies.get(STUDY)
    assert study is not None
    assert study.identity == other


def test_two_patients_with_the_wrong_image_sent_again(node: Node) -> None:
    """The same bytes stay left out; corrected ones under the same UID count."""
    storage = node.storage
    add(storage, instance(1), instance(2, patient="P2"))
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    assert add(storage, instance(2, patient="P2")).kind is AddedAs.REPEAT
    assert state(storage) is StudyState.OPEN
    assert len(storage.studies.instances(STUDY)) == 1
    assert add(storage, instance(2, content="corrected")) == Added(AddedAs.NEW, kept=True)
    assert len(storage.studies.instances(STUDY)) == 2
    assert add(storage, instance(2, content="third")).kind is AddedAs.CONFLICT
    plan(storage)
    assert len(storage.studies.forget(STUDY)) == 0  # a run waits
    storage.studies.hold(STUDY, "why")
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert len(set(storage.studies.paths())) == 3  # their files are known until retention


@pytest.mark.parametrize("before", ["waited", "answered"])
def test_what_an_instance_was_left_out_of_replaces_what_had_read_it(
    node: Node, before: str
) -> None:
    """The same content came before, alone: its run is older than the result that is wrong."""
    storage, oru = node.storage, "hl7_oru"
    first = waiting(storage)
    if before == "answered":
        claimed = storage.runs.claim("worker")
        assert claimed is not None
        finish(storage, claimed, reports=[])
    add(storage, instance(2))
    plan(storage)
    both = storage.runs.claim("worker")
    assert both is not None
    finish(storage, both, reports=[report(both, oru, ("ris",))])
    (sent,) = storage.outbox.claim("ris", node.clock.now)
    storage.outbox.record(sent, DeliveryState.DELIVERED, answer="AA")
    storage.studies.hold(STUDY, "why")
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    plan(storage)
    again = storage.runs.claim("worker")
    assert again is not None
    assert (again.instances, again.predecessor) == (first.instances, both.id)
    finish(storage, again, reports=[report(again, oru, ("ris",))])
    (going,) = storage.outbox.claim("ris", node.clock.now)
    assert storage.outbox.overtaken(going) is None
    assert plan(storage) == ()


@pytest.mark.parametrize("run", ["ended", "under way"])
def test_what_rests_on_an_instance_that_was_left_out_is_not_sent(node: Node, run: str) -> None:
    """The PACS was away when it was made, or it is made while a person decides."""
    storage = node.storage
    add(storage, instance(1), instance(2))
    plan(storage)
    both = storage.runs.claim("worker")
    assert both is not None
    if run == "ended":
        finish(storage, both)
    storage.studies.hold(STUDY, "why")
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    if run == "under way":
        with pytest.raises(LeaseLost):
            finish(storage, both)
    assert storage.outbox.claim("pacs", node.clock.now) == ()
    assert [one.answer for one in storage.outbox.list(state=DeliveryState.REJECTED)] == [
        "not sent: an image that it rests on was left out"
    ] * (run == "ended")
    (alone,) = plan(storage)
    assert alone.instances == (instance(1).sop_uid,)


@pytest.mark.parametrize("ending", ["given_up", "held", "rejected", "sending"])
def test_a_retry_sends_nothing_that_rests_on_what_was_left_out(node: Node, ending: str) -> None:
    """Its PACS did not take it then; a person, or a courier's start, would send it now."""
    storage = node.storage
    add(storage, instance(1), instance(2))
    plan(storage)
    both = storage.runs.claim("worker")
    assert both is not None
    finish(storage, both)
    (tried,) = storage.outbox.claim("pacs", node.clock.now)
    if ending != "sending":
        storage.outbox.record(tried, DeliveryState(ending), answer="no")
    storage.studies.hold(STUDY, "why")
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    (known,) = storage.outbox.list()
    if ending == "sending":
        assert storage.outbox.recover() == 1
    else:
        assert (known.state, known.answer) == (DeliveryState.REJECTED, RESTS_ON_IT)
        assert storage.outbox.retry(known.id, "admin")
    (again,) = storage.outbox.claim("pacs", node.clock.now)
    assert storage.outbox.stopped(again) == RESTS_ON_IT  # the courier asks, and says so
    storage.outbox.record(again, DeliveryState.REJECTED, answer=RESTS_ON_IT)
    plan(storage)
    alone = storage.runs.claim("worker")
    assert alone is not None
    finish(storage, alone)
    (good,) = storage.outbox.claim("pacs", node.clock.now)
    assert storage.outbox.stopped(good) == ""


def test_a_run_that_lost_its_lease_does_not_hold_the_study_that_a_person_released(
    node: Node,
) -> None:
    """It read the image that was left out, and says so too late."""
    storage = node.storage
    add(storage, instance(1), instance(2))
    plan(storage)
    late = storage.runs.claim("worker")
    assert late is not None
    storage.studies.hold(STUDY, "why")
    assert storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    with pytest.raises(LeaseLost):
        storage.runs.hold(late, "the name cannot be decoded", "send it again")
    assert state(storage) is StudyState.OPEN
    (alone,) = plan(storage)
    ours = storage.runs.claim("worker")
    assert ours is not None
    assert ours.id == alone.id
    storage.runs.hold(ours, "the name cannot be decoded", "send it again")
    assert state(storage) is StudyState.HELD
    ended = storage.runs.get(ours.id)
    assert ended is not None
    assert ended.state is RunState.SET_ASIDE


def test_two_contents_are_both_left_out(node: Node) -> None:
    storage = node.storage
    add(storage, instance(), instance(content="other"), on_conflict="keep_both")
    assert storage.studies.exclude(STUDY, instance().sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    assert state(storage) is StudyState.SETTLED  # nothing is left to plan
    assert tuple(storage.studies.unplanned()) == ()
    assert columns(storage) == {"not_selected": 1}


def test_a_run_that_waited_reads_nothing_that_was_left_out(node: Node) -> None:
    """Else it fails with "an instance of the study is gone" before routing has planned anew."""
    storage = node.storage
    waiting(storage)
    add(storage, instance(content="other"), on_conflict="keep_both")
    assert storage.studies.exclude(STUDY, instance().sop_uid, "admin")
    assert storage.studies.release(STUDY, "admin")
    assert storage.runs.claim("worker") is None
    assert columns(storage) == {"not_selected": 1}


def test_a_run_that_waited_goes_on_where_nothing_was_left_out(node: Node) -> None:
    storage = node.storage
    first = waiting(storage)
    storage.studies.hold(STUDY, "why")
    assert storage.studies.release(STUDY, "admin")
    assert [run.id for run in plan(storage)] == [first.id]
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    assert claimed.id == first.id


@pytest.mark.parametrize("rule", ["of", "settled", "open", "unknown"])
def test_only_instances_of_held_studies_are_left_out(node: Node, rule: str) -> None:
    waiting(node.storage)
    if rule == "open":
        add(node.storage, instance(2))
    if rule == "of":
        node.storage.studies.hold(STUDY, "why")
    uid = "1.2.3" if rule == "unknown" else STUDY
    sop_uid = "1.2.3.4" if rule == "of" else instance().sop_uid
    assert not node.storage.studies.exclude(uid, sop_uid, "admin")


def test_identity_unclear_until_a_person_released_it(node: Node) -> None:
    """The run that was set aside is wanted again, although nothing of the study changed."""
    storage = node.storage
    first = waiting(storage)
    run = storage.runs.claim("worker")
    assert run is not None
    finish(storage, run, RunState.SET_ASIDE, "the name cannot be decoded")
    storage.studies.hold(STUDY, "the name cannot be decoded")
    assert columns(storage) == {"held": 1}
    assert storage.studies.release(STUDY, "admin")
    (again,) = plan(storage)
    assert (again.id, again.state, again.tries) == (first.id, RunState.READY, 0)
    assert columns(storage) == {"waiting": 1}
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    finish(storage, claimed)
    assert columns(storage) == {"completed": 1}


def test_two_patients_while_the_run_goes_on(node: Node) -> None:
    """It may end, but nothing of it is sent before a person decided."""
    waiting(node.storage)
    run = node.storage.runs.claim("worker")
    assert run is not None
    add(node.storage, instance(2, patient="P2"))
    finish(node.storage, run)
    assert node.storage.outbox.claim("pacs", node.clock.now) == ()
    assert node.storage.studies.exclude(STUDY, instance(2).sop_uid, "admin")
    assert node.storage.studies.release(STUDY, "admin")
    assert len(node.storage.outbox.claim("pacs", node.clock.now)) == 1


@pytest.mark.parametrize(
    ("charset", "name", "taken"),
    [
        pytest.param("ISO_IR 192", "Muñoz^Después", True, id="corrected"),
        pytest.param(["", "ISO 2022 IR 100"], "Muñoz^Después", True, id="code extensions"),
        pytest.param(None, "Munoz^Despues", True, id="ASCII needs no character set"),
        pytest.param(None, "Muñoz^Después", False, id="no character set"),
        pytest.param("ISO_IR 192", "Mu\ufffdoz", False, id="not decoded"),
        pytest.param("ISO_IR 192", "A\\B", False, id="two values"),
        pytest.param("ISO_IR 192", "", False, id="empty"),
    ],
)
def test_demographics_update(node: Node, charset: object, name: str, taken: bool) -> None:
    """The row says what the newest kept instance of the same patient says surely."""
    storage = node.storage
    add(storage, instance(1, issuer=""))
    before = storage.studies.get(STUDY)
    said = Identity(STUDY, "P1", "HOSPITAL", name, "", "A2")
    add(storage, instance(2, identity=said, headers={"SpecificCharacterSet": charset}))
    after = storage.studies.get(STUDY)
    assert before is not None
    assert after is not None
    kept = before.identity.patient_name
    assert after.identity == replace(
        before.identity, patient_name=name if taken else kept, issuer="HOSPITAL", accession="A2"
    )
    (told,) = [
        r.entry for r in storage.audit.list(limit=99) if r.entry.kind == "identity.corrected"
    ]
    assert told.details["fields"] == sorted(["accession", "issuer"] + ["patient_name"] * taken)
    assert name not in str(told.details) or not name


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(Identity(STUDY, "P2", "HOSPITAL", "Otro^Nombre"), id="another patient"),
        pytest.param(Identity(STUDY, "P1", "HOSPITAL", "Otro^Nombre"), id="bytes not kept"),
    ],
)
def test_demographics_update_by_nobody_else(node: Node, wrong: Identity) -> None:
    add(node.storage, instance())
    number = 2 if wrong.patient_id == "P2" else 1
    add(node.storage, instance(number, content="other", identity=wrong))
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.identity == instance().identity


def test_late_images(node: Node) -> None:
    storage = node.storage
    first = completed(storage)
    add(storage, instance(2))
    assert state(storage) is StudyState.OPEN
    (second,) = plan(storage)
    assert (second.predecessor, len(second.instances)) == (first.id, 2)
    add(storage, instance(3))
    (third,) = plan(storage)
    ready = storage.runs.get(second.id)
    assert ready is not None
    assert ready.state is RunState.SUPERSEDED
    assert third.predecessor == first.id
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    assert claimed.id == third.id
    finish(storage, claimed)
    assert storage.runs.claim("worker") is None
    assert [one.run_id for one in storage.outbox.list()] == [first.id, third.id]
    assert columns(storage) == {"completed": 1}


def test_late_images_while_routing_decides(node: Node) -> None:
    """What came after routing had looked is not called settled."""
    add(node.storage, instance(1), instance(2))
    node.storage.studies.plan(STUDY, [], trace=[], instances_seen=1, done=True, at=NOON)
    assert state(node.storage) is StudyState.OPEN
    assert [study.uid for study in node.storage.studies.unplanned()] == [STUDY]


def test_late_images_that_leave_again(node: Node) -> None:
    """Rules that change and change back want the first run again, not nothing."""
    storage = node.storage
    first = waiting(storage)
    add(storage, instance(2))
    plan(storage)
    old = PlannedRun(first.processor, first.digest, first.instances)
    (again,) = storage.studies.plan(STUDY, [old], trace=[], instances_seen=2, done=True, at=NOON)
    assert (again.id, again.state) == (first.id, RunState.READY)


def test_duplicate_study(node: Node) -> None:
    storage = node.storage
    everything = [instance(number) for number in range(1, 4)]
    add(storage, *everything)
    plan(storage)
    run = storage.runs.claim("worker")
    assert run is not None
    finish(storage, run, reports=[report(run)])
    before = storage.audit.list(limit=1000)
    assert add(storage, *everything).kind is AddedAs.REPEAT
    assert state(storage) is StudyState.SETTLED
    assert tuple(storage.studies.unplanned()) == ()
    assert plan(storage) == ()
    assert [one.repeats for one in storage.studies.instances(STUDY)] == [1, 1, 1]
    assert len(storage.outbox.list()) == len(storage.runs.list()) == 1
    assert storage.audit.list(limit=1000) == before
    assert columns(storage) == {"completed": 1}


def _forgotten(node: Node) -> None:
    """Two images were judged, delivered and purged."""
    add(node.storage, instance(2))
    completed(node.storage)
    (sent,) = node.storage.outbox.claim("pacs", NOON)
    node.storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    assert len(node.storage.studies.forget(STUDY)) == 2
    assert node.storage.studies.forgotten(STUDY) == NOON


def test_a_part_of_a_forgotten_study_replaces_nothing(node: Node) -> None:
    """Its result stands beside the one of the whole; what follows it replaces it as ever."""
    _forgotten(node)
    add(node.storage, instance(1))
    (part,) = plan(node.storage, at=NOON + timedelta(days=9))
    assert part.predecessor is None
    assert node.storage.studies.forgotten(STUDY) == NOON
    claimed = node.storage.runs.claim("worker")
    assert claimed is not None
    finish(node.storage, claimed)
    add(node.storage, instance(3))
    (more,) = plan(node.storage, at=NOON + timedelta(days=10))
    assert more.predecessor == part.id


def test_a_shadow_result_replaces_nothing_and_is_not_replaced(node: Node) -> None:
    """Nobody got it, so no report may name it as what it follows."""
    storage = node.storage
    add(storage, instance())
    shadow = PlannedRun("chest", "d1", (instance().sop_uid,), mode="shadow")
    storage.studies.plan(STUDY, [shadow], trace=[], instances_seen=1, done=True, at=NOON)
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    finish(storage, claimed, reports=[report(claimed, to=())])
    add(storage, instance(2))
    (live,) = plan(storage)
    assert live.predecessor is None
    ours = storage.runs.claim("worker")
    assert ours is not None
    finish(storage, ours)
    add(storage, instance(3))
    again = PlannedRun("chest", "d3", (instance(3).sop_uid,), mode="shadow")
    (beside,) = storage.studies.plan(STUDY, [again], trace=[], instances_seen=3, done=True, at=NOON)
    assert beside.predecessor is None


def test_duplicate_study_after_it_was_forgotten(node: Node) -> None:
    completed(node.storage)
    (sent,) = node.storage.outbox.claim("pacs", NOON)
    node.storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    assert node.storage.studies.forget(STUDY) == (instance().path,)
    assert add(node.storage, instance()).kind is AddedAs.NEW
    assert plan(node.storage) == ()
    assert state(node.storage) is StudyState.SETTLED
    assert columns(node.storage) == {"completed": 1}
