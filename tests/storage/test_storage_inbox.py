"""The inbox gateway on both databases: whose a message is, what it plans, what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from storage_fixtures import NOON, STUDY, Node, add, columns, finish, instance

from storage import (
    AgreementRecord,
    Identity,
    MessageKind,
    MessageRecord,
    MessageState,
    NewMessage,
    RunState,
    Taken,
    TakenAs,
)

F, FINAL = MessageKind.FINDINGS, MessageKind.FINAL


def message(control: str = "C1", kind: MessageKind = F, **changes: Any) -> NewMessage:
    """Findings of the patient and study that `storage_fixtures.instance` has."""
    study = changes.pop("study", STUDY)
    accession = changes.pop("accession", "A1")
    patient, birth = changes.pop("patient", "P1"), changes.pop("birth", "19700101")
    who = Identity(study, patient, "HOSPITAL", "Muñoz^Ana", birth, accession)
    values: dict[str, Any] = {
        "sender": "RIS|HOSPITAL",
        "control_id": control,
        "sha256": f"{control}{kind}".encode().hex().ljust(64, "0")[:64],
        "size": 500,
        "path": f"messages/{control}.hl7",
        "kind": kind,
        "identity": who,
        "patients": ((patient, "HOSPITAL"),),
        "digest": f"of {control}",
        "placer": "",
        "filler": "",
        "address": "10.1.2.4",
        "received_at": NOON,
    }
    return NewMessage(**{**values, **changes})


def taken(node: Node, new: NewMessage) -> Taken:
    return node.storage.inbox.add(new)


def test_a_message_is_planned_with_its_row(node: Node) -> None:
    found = taken(node, message()).message
    (run,) = node.storage.runs.list()
    assert (found.state, found.run_id, found.study_uid) == (MessageState.TAKEN, run.id, STUDY)
    assert (run.processor, run.state) == ("impressions", RunState.READY)
    assert node.storage.inbox.of_run(run.id) == found
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert (study.identity.patient_id, study.instances) == ("P1", 0)
    assert columns(node.storage) == {"waiting": 1}
    assert not node.storage.audit.verify()


def test_the_same_message_again_changes_nothing(node: Node) -> None:
    first, second = taken(node, message()), taken(node, message())
    assert (first.kind, second.kind) == (TakenAs.NEW, TakenAs.REPEAT)
    assert second.message == replace(first.message, repeats=1)
    assert len(node.storage.runs.list()) == 1


def test_the_same_control_id_with_other_bytes_is_a_second_message(node: Node) -> None:
    taken(node, message())
    other = taken(node, message(sha256="f" * 64, digest="other", path="messages/other.hl7"))
    assert other.kind is TakenAs.CONFLICT
    assert [m.path for m in node.storage.inbox.list()] == ["messages/other.hl7", "messages/C1.hl7"]
    (entry,) = [r.entry for r in node.storage.audit.list() if r.entry.kind == "message.conflict"]
    assert entry.details["sha256_received"] == "f" * 64


def test_a_control_id_belongs_to_its_sender(node: Node) -> None:
    taken(node, message())
    other = taken(node, message(sender="OTHER|HOSPITAL", sha256="f" * 64))
    assert other.kind is TakenAs.NEW


def test_the_same_findings_again_give_no_second_draft(node: Node) -> None:
    first = taken(node, message("C1", digest="same"))
    second = taken(node, message("C2", digest="same"))
    assert second.message.run_id == first.message.run_id


def test_findings_that_were_changed_and_changed_back_are_drafted_again(node: Node) -> None:
    runs = []
    for control, digest in (("C1", "a"), ("C2", "b"), ("C3", "a"), ("C4", "a")):
        runs.append(taken(node, message(control, digest=digest)).message.run_id)
        if run := node.storage.runs.claim("worker"):
            finish(node.storage, run, reports=[])
    assert len(set(runs)) == 3
    assert runs[3] == runs[2]
    third = node.storage.runs.get(runs[2] or 0)
    assert third is not None
    assert third.predecessor == runs[1]


def test_a_study_that_retention_blanked_is_named_again(node: Node) -> None:
    taken(node, message())
    run = node.storage.runs.claim("worker")
    assert run is not None
    finish(node.storage, run, reports=[])
    assert node.storage.studies.blank(NOON + timedelta(days=100)) == 1
    assert taken(node, message("C2", patient="P2")).message.state is MessageState.TAKEN
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.identity.patient_id == "P2"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        pytest.param({}, MessageState.TAKEN, id="the same patient"),
        pytest.param({"patient": "P2"}, MessageState.HELD, id="another number"),
        pytest.param({"birth": "19700102"}, MessageState.HELD, id="another birth date"),
        pytest.param({"birth": ""}, MessageState.TAKEN, id="no birth date"),
        pytest.param({"patients": (("P1", "OTHER"),)}, MessageState.HELD, id="another issuer"),
        pytest.param({"patients": (("P1", ""),)}, MessageState.TAKEN, id="no issuer"),
        pytest.param(
            {"patients": (("99", "SNS"), ("P1", "HOSPITAL"))}, MessageState.TAKEN, id="one of two"
        ),
    ],
)
def test_same_patient_only(node: Node, changes: dict[str, Any], state: MessageState) -> None:
    add(node.storage, instance())
    found = taken(node, message(**changes)).message
    assert found.state is state
    assert (found.run_id is None) == (state is MessageState.HELD)
    study = node.storage.studies.get(STUDY)
    assert study is not None
    assert study.state == "open"  # a wrong message does not stop the images
    kinds = [record.entry.kind for record in node.storage.audit.list()]
    assert ("identity.mismatch" in kinds) == (state is MessageState.HELD)
    assert "P2" not in str([r.entry.details for r in node.storage.audit.list()])


def test_a_held_message_is_taken_once_its_study_is_corrected(node: Node) -> None:
    add(node.storage, instance())
    held = taken(node, message(birth="19700102")).message
    again = node.storage.inbox.reconsider(held.id, message(birth="19700102"), "ana")
    assert again is not None
    assert again.state is MessageState.HELD
    found = node.storage.inbox.reconsider(held.id, message(), "ana")
    assert found is not None
    assert (found.state, found.run_id is None) == (MessageState.TAKEN, False)
    assert node.storage.inbox.reconsider(held.id, message(), "ana") is None


@pytest.mark.parametrize("how", ["looked at again", "sent again"])
def test_findings_that_their_study_disowned_are_drafted_once_it_is_put_right(
    node: Node, how: str
) -> None:
    """The run that was set aside for it is the one that their text asks for."""
    storage, study = node.storage, instance().identity
    first = taken(node, message(digest="text")).message
    wrong = replace(study, birth_date="19700102")
    add(storage, instance(1, identity=wrong))
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    assert storage.inbox.disowned(claimed, message(digest="text"))
    add(storage, instance(2, identity=study))
    if how == "sent again":
        found: MessageRecord | None = taken(node, message("C2", digest="text")).message
    else:
        found = storage.inbox.reconsider(first.id, message(digest="text"), "ana")
    assert found is not None
    assert (found.state, found.run_id) == (MessageState.TAKEN, claimed.id)
    again = storage.runs.claim("worker")
    assert again is not None
    assert (again.id, again.tries) == (claimed.id, 1)


@pytest.mark.parametrize(
    ("changes", "study"),
    [
        pytest.param({"study": "", "accession": "A1"}, STUDY, id="by its accession number"),
        pytest.param({"study": "", "accession": "A9"}, "order:", id="unknown accession"),
        pytest.param({"study": "1.2.3"}, "1.2.3", id="a study that never came"),
        pytest.param({"study": "", "patient": "P2"}, "order:", id="never across patients"),
    ],
)
def test_which_study_findings_are_of(node: Node, changes: dict[str, Any], study: str) -> None:
    add(node.storage, instance())
    found = taken(node, message(**changes)).message
    assert found.state is MessageState.TAKEN
    assert found.study_uid.startswith(study)


def test_two_studies_with_one_accession_number_are_no_answer(node: Node) -> None:
    add(node.storage, instance(), instance(2, study="1.2.9"))
    assert taken(node, message(study="")).message.study_uid.startswith("order:")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param({"accession": "A7", "filler": "F7"}, False, id="other examination"),
        pytest.param({"accession": "", "filler": "F7"}, False, id="other filler number"),
        pytest.param({"accession": "A7", "filler": ""}, False, id="other accession number"),
        pytest.param({"accession": "", "filler": ""}, True, id="nothing but the placer's number"),
        pytest.param({"accession": "A7", "filler": "F1"}, True, id="the same filler number"),
    ],
)
def test_one_order_of_two_examinations(node: Node, other: dict[str, str], same: bool) -> None:
    order = {"study": "", "placer": "P7"}
    first = taken(node, message("C1", filler="F1", **order)).message
    second = taken(node, message("C2", **order, **other)).message
    assert (first.study_uid == second.study_uid) is same


def test_examinations_of_one_order_that_have_accession_numbers_alone(node: Node) -> None:
    found = {
        taken(
            node, message(f"C{place}", study="", placer="P7", accession=accession)
        ).message.study_uid
        for place, accession in enumerate(("A7", "A8", "A9"))
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param({"study": ""}, {"study": ""}, id="order, order"),
        pytest.param({"study": ""}, {"study": STUDY}, id="order, then the study is known"),
        pytest.param({"study": STUDY}, {"study": ""}, id="study, then the order alone"),
        pytest.param({"study": STUDY}, {"study": STUDY}, id="study, study"),
        pytest.param(
            {"study": "", "accession": "", "filler": "F7"},
            {"study": "", "accession": "A7", "filler": "F7"},
            id="by the filler number",
        ),
    ],
)
def test_a_final_report_finds_its_draft(
    node: Node, first: dict[str, Any], then: dict[str, Any]
) -> None:
    findings = taken(node, message("C1", **first)).message
    final = taken(node, message("C2", FINAL, **then)).message
    assert final.state is MessageState.TAKEN
    assert final.study_uid == findings.study_uid
    assert {run.processor for run in node.storage.runs.list()} == {"impressions", "agreement"}


@pytest.mark.parametrize("accession", ["A2", "A1", ""])
@pytest.mark.parametrize("study", [STUDY, ""], ids=["study named", "not named"])
def test_two_orders_of_one_study_are_drafted_apart(node: Node, study: str, accession: str) -> None:
    """Chest and abdomen in one examination: the second neither ends nor replaces the first."""
    own = {"filler": "F2", "accession": accession, "study": study}
    add(node.storage, instance())
    first = taken(node, message("C1", filler="F1", study=study)).message
    second = taken(node, message("C2", **own)).message
    again = taken(node, message("C3", **own)).message
    assert first.study_uid == STUDY
    assert second.study_uid == again.study_uid != STUDY
    states = {run.id: run.state for run in node.storage.runs.list()}
    assert states == {
        first.run_id: RunState.READY,
        second.run_id: RunState.SUPERSEDED,
        again.run_id: RunState.READY,
    }
    of_order = node.storage.studies.get(second.study_uid or "")
    assert of_order is not None
    assert of_order.identity.accession == accession
    final = taken(node, message("C4", FINAL, **own)).message
    assert final.study_uid == second.study_uid
    third = taken(node, message("C6", FINAL, **{**own, "filler": "F9"})).message
    assert third.state is MessageState.UNMATCHED
    foreign = taken(node, message("C5", filler="F3", accession="A3", patient="P2")).message
    assert (foreign.state, foreign.study_uid) == (MessageState.HELD, STUDY)


def test_the_final_report_of_a_second_order_finds_its_draft_by_any_number(node: Node) -> None:
    add(node.storage, instance())
    taken(node, message("C1"))
    second = taken(node, message("C2", accession="A2", filler="F2")).message
    while run := node.storage.runs.claim("worker"):
        finish(node.storage, run, reports=[])
    final = taken(node, message("C3", FINAL, accession="A2")).message
    assert (final.state, final.study_uid) == (MessageState.TAKEN, second.study_uid)


def test_one_order_whose_images_say_another_accession_number_keeps_its_study(node: Node) -> None:
    add(node.storage, instance())  # A1
    for control in ("C1", "C2"):
        found = taken(node, message(control, filler="F1", accession="HOSPITAL-A1")).message
        assert found.study_uid == STUDY


def test_a_final_report_without_a_draft_is_kept_and_plans_nothing(node: Node) -> None:
    found = taken(node, message("C2", FINAL)).message
    assert (found.state, found.run_id) == (MessageState.UNMATCHED, None)
    assert node.storage.runs.list() == ()
    assert node.storage.studies.books(None, None).received == 0


def drafted(node: Node, text: str = "Cardiomegaly.") -> int:
    """Findings, and their draft; the number of its run."""
    taken(node, message())
    run = node.storage.runs.claim("worker")
    assert run is not None
    said = {"impression": {"text": text, "language": "en"}}
    finish(node.storage, run, analysis=said, reports=[])
    return run.id


def test_the_draft_of_a_study(node: Node) -> None:
    assert node.storage.agreements.draft(STUDY).run is None
    taken(node, message())
    assert node.storage.agreements.draft(STUDY).waits
    run = node.storage.runs.claim("worker")
    assert run is not None
    finish(node.storage, run, analysis={"impression": {"text": "x"}}, reports=[])
    found = node.storage.agreements.draft(STUDY)
    assert found.run is not None
    assert found.run.id == run.id
    assert found.analysis["impression"]["text"] == "x"


def agreement(run_id: int, draft: int, **changes: Any) -> AgreementRecord:
    values: dict[str, Any] = {
        "run_id": run_id, "draft_run_id": draft, "study_uid": STUDY, "reader": "ab",
        "language": "es", "figures": {"edits": 1}, "findings": "Índice normal.", "draft": "Ñ.",
        "impression": "Neumotórax.", "received_at": NOON,
    }  # fmt: skip
    return AgreementRecord(**{**values, **changes})


def test_an_agreement_stored_twice_is_one(node: Node) -> None:
    draft = drafted(node)
    final = taken(node, message("C2", FINAL)).message
    assert final.run_id is not None
    node.storage.agreements.record(agreement(final.run_id, draft, figures={"edits": 9}))
    node.storage.agreements.record(agreement(final.run_id, draft))
    assert list(node.storage.agreements.all()) == [agreement(final.run_id, draft)]
    later = NOON + timedelta(days=1)
    assert list(node.storage.agreements.all(since=later)) == []
    assert len(list(node.storage.agreements.all(until=later))) == 1


def test_a_comparison_is_no_answer_to_a_study(node: Node) -> None:
    drafted(node)
    taken(node, message("C2", FINAL))
    assert columns(node.storage) == {"completed": 1}


def test_retention_forgets_texts_and_numbers_and_keeps_figures(node: Node) -> None:
    draft = drafted(node)
    final = taken(node, message("C2", FINAL, filler="F2")).message
    assert final.run_id is not None
    node.storage.agreements.record(agreement(final.run_id, draft))
    later = NOON + timedelta(days=100)
    assert node.storage.inbox.forget(later) == ("messages/C1.hl7",)  # the final is still unread
    run = node.storage.runs.claim("worker")
    assert run is not None
    finish(node.storage, run, reports=[])
    assert node.storage.inbox.forget(later) == ("messages/C2.hl7",)
    assert node.storage.inbox.forget(later) == ()
    (kept,) = node.storage.agreements.all()
    assert (kept.findings, kept.draft, kept.impression) == ("", "", "")
    assert kept.figures == {"edits": 1}
    assert node.storage.inbox.known_paths(["messages/C1.hl7"]) == frozenset()
    assert node.rows("SELECT DISTINCT filler || placer || accession FROM messages") == [("",)]
    assert taken(node, message()).kind is TakenAs.REPEAT  # known for ever


def test_what_is_held_waits_for_a_person(node: Node) -> None:
    add(node.storage, instance())
    taken(node, message(patient="P2"))
    assert node.storage.inbox.forget(NOON + timedelta(days=1000)) == ()


def test_images_of_another_patient_than_the_message_hold_the_study(node: Node) -> None:
    taken(node, message())
    added = add(node.storage, instance(patient="P2"))
    assert "another patient" in added.held
    assert node.storage.runs.claim("worker") is None  # its draft does not leave
