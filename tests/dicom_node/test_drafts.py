"""Runs over texts without a network: what a draft becomes, what a final report is compared with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from courier_bench import file_study, storage_in
from destination_peers import dicom_bytes
from inbox_lab import STUDY, findings, impression, oru
from inbox_lab import settings as settings_at
from storage_fixtures import instance

from config.settings import DicomDestination, Impressions, MllpDestination
from dicom_node import comparison, drafts, wiring
from dicom_node.drafts import Scribe
from dicom_node.inbox import desk as desks
from dicom_node.inbox.desk import Desk
from processors.analysis import Impression, Sentence
from processors.impressions.drafting import Draft, Refused, Request
from reports import hl7_text
from storage import DeliveryState, Identity, MessageState, Run, RunState, Storage

TEXT = "Silueta cardíaca normal. Derrame pleural derecho. Neumotórax izquierdo pequeño."


@dataclass
class Room:
    """A storage, a desk that takes messages, a scribe that drafts; nothing listens."""

    storage: Storage
    desk: Desk
    scribe: Scribe

    def take(self, message: str) -> None:
        assert desks.take(self.desk, message.encode(), "10.1.2.4").code == "AA"

    def run(self) -> Run:
        """Carry the next run to its end."""
        claimed = self.storage.runs.claim("worker")
        assert claimed is not None
        over = {"impressions": drafts.run, "agreement": comparison.run}[claimed.processor]
        over(self.storage, claimed, self.scribe)
        ended = self.storage.runs.get(claimed.id)
        assert ended is not None
        return ended

    def sent(self, run: Run, kind: str = "hl7_oru") -> list[str]:
        """The reports of a run as text."""
        found = [r for r in self.storage.runs.reports(run.id) if r.kind == kind]
        return [self.storage.spool.read(r.path).decode("utf-8", "replace") for r in found]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    ris = MllpDestination(kind="mllp", host="h", application="RIS", facility="H")
    settings = settings_at(tmp_path, 1)
    settings = settings.model_copy(
        update={
            "node": settings.node.model_copy(update={"language": "es"}),
            "destinations": {"ris": ris},
            "impressions": Impressions(send_to=("ris",)),
        }
    )
    assert settings.intake.mllp is not None
    with storage_in(tmp_path) as storage:
        desk = Desk(settings, settings.intake.mllp, storage, lambda _event: None)
        yield Room(storage, desk, wiring.scribe(settings))


class Speaker:
    """A Drafter that says what it is told."""

    def __init__(self, *sentences: str, refused: Sequence[Refused] = (), source: str = "generated"):
        self._said = tuple(Sentence(text, (), source) for text in sentences)
        self._refused = tuple(refused)

    def draft(self, request: Request, *, guard: bool = True) -> Draft:
        return Draft(Impression(request.language, self._said), "generated", self._refused)


def segments(message: str, name: str) -> list[list[str]]:
    return list(hl7_text.Parsed(message).rows(name))


def test_a_draft_goes_back_under_the_numbers_of_its_order(room: Room) -> None:
    room.take(oru(findings(TEXT), study="", accession="A7", filler="F7"))
    run = room.run()
    (message,) = room.sent(run)
    (obr,) = segments(message, "OBR")
    assert (obr[3], obr[18], obr[25]) == ("F7", "A7", "P")
    assert obr[4] == "399208008^Plain X-ray of chest^SCT"
    rows = [(row[3].split("^")[0], row[5]) for row in segments(message, "OBX")]
    assert [text for code, text in rows if code == "59776-5"] == [TEXT]
    drafted = [text for code, text in rows if code == "19005-8"]
    assert drafted == ["Neumotórax izquierdo pequeño.", "Derrame pleural derecho."]
    assert {row[11] for row in segments(message, "OBX")} == {"P"}
    assert segments(message, "PID")[0][5].startswith("Muñoz^Ángela")


def test_an_order_without_a_study_names_none(room: Room) -> None:
    room.take(oru(findings(TEXT), study=""))
    (message,) = room.sent(room.run())
    assert "113014^" not in message
    assert "order:" not in message


def test_without_an_image_the_text_report_is_withheld_and_the_message_says_so(room: Room) -> None:
    room.take(oru(findings(TEXT)))
    run = room.run()
    assert room.sent(run, "text_report") == []
    notes = [row[3] for row in segments(room.sent(run)[0], "NTE")]
    assert any(note.startswith("Sin informe de texto para el PACS") for note in notes)


def test_with_an_image_the_text_report_refers_to_it(room: Room) -> None:
    file_study(room.storage, 1, ())
    message = oru(findings(TEXT), study="2.25.7001", patient="P-1^^^H^MR", accession="")
    room.take(message)
    run = room.run()
    assert run.state is RunState.COMPLETED, run.reason
    (report,) = room.sent(run, "text_report")
    assert "Neumotórax izquierdo pequeño." in report
    assert "2.25.7001.1.1" in report
    assert "Automated draft from dictated findings" in report
    assert "image analysis" not in report


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("es", "Neumotórax izquierdo. No hay derrame.", "Neumotórax izquierdo."),
        ("en", "Left pneumothorax. No effusion.", "Left pneumothorax."),
        ("fr", "Neumotórax izquierdo.", "Neumotórax izquierdo."),
    ],
)
def test_the_draft_speaks_the_language_of_its_findings(
    room: Room, language: str, text: str, expected: str
) -> None:
    room.take(oru(findings(text), language=language))
    analysis = room.storage.runs.analysis(room.run().id)
    assert analysis is not None
    assert analysis["impression"]["text"] == expected
    assert analysis["impression"]["language"] == ("en" if language == "en" else "es")


@pytest.mark.parametrize("announced", ["", "es"])
def test_findings_that_are_plainly_in_the_other_language_are_read_in_it(
    room: Room, announced: str
) -> None:
    """Read as Spanish this would be no finding, and nobody would be told within minutes."""
    room.take(oru(findings("Large left tension pneumothorax."), language=announced))
    run = room.run()
    analysis = room.storage.runs.analysis(run.id)
    assert analysis is not None
    assert analysis["impression"]["language"] == "en"
    assert analysis["impression"]["criticality"] == "minutes"
    notes = [row[3] for row in segments(room.sent(run)[0], "NTE")]
    assert any(note.startswith("Los hallazgos se leyeron como inglés") for note in notes)


def test_a_newer_draft_names_the_one_that_it_replaces(room: Room) -> None:
    room.take(oru(findings("Cardiomegalia.")))
    first = room.run()
    room.take(oru(findings("Cardiomegalia. Derrame pleural derecho.")))
    second = room.run()
    older = room.storage.runs.reports(first.id)[0].uid
    assert second.predecessor == first.id
    assert older in room.sent(second)[0]


@pytest.mark.parametrize(
    ("state", "named"),
    [(DeliveryState.DELIVERED, True), (DeliveryState.WAITING, True)]
    + [(state, False) for state in (DeliveryState.REJECTED, DeliveryState.GIVEN_UP)],
)
def test_a_report_that_no_archive_took_is_not_named_as_replaced(
    room: Room, state: DeliveryState, named: bool
) -> None:
    """A document that refers to one which nobody has sends a reader looking for it."""
    pacs = {"pacs": DicomDestination(kind="dicom", ae_title="PACS", host="h", port=104)}
    changes = {"destinations": pacs, "impressions": Impressions(send_to=("pacs",))}
    room.scribe = wiring.scribe(room.desk.settings.model_copy(update=changes))
    file_study(room.storage, 1, ())
    dictated = ("Cardiomegalia.", "Cardiomegalia. Derrame pleural derecho.")
    runs = []
    for text in dictated:
        room.take(oru(findings(text), study="2.25.7001", patient="P-1^^^H^MR", accession=""))
        runs.append(room.run())
        if state is DeliveryState.WAITING:
            continue
        for sent in room.storage.outbox.claim("pacs", datetime.now(UTC)):
            room.storage.outbox.record(sent, state, answer="0xA900")
    older = next(r for r in room.storage.runs.reports(runs[0].id) if r.kind == "text_report")
    (report,) = room.sent(runs[1], "text_report")
    assert (older.uid in report) == named


@pytest.mark.parametrize(
    ("then", "told"),
    [
        pytest.param(("emr", "ris"), [False, True], id="another receiver before it"),
        pytest.param(("emr",), [False], id="another receiver in its place"),
    ],
)
def test_a_receiver_is_told_of_no_message_that_another_one_got(
    room: Room, then: tuple[str, ...], told: list[bool]
) -> None:
    room.take(oru(findings("Cardiomegalia.")))
    older = room.storage.runs.reports(room.run().id)[0].uid
    peers = {name: MllpDestination(kind="mllp", host="h", application=name.upper(), facility="H")
             for name in ("ris", "emr")}  # fmt: skip
    changes = {"destinations": peers, "impressions": Impressions(send_to=then)}
    room.scribe = wiring.scribe(room.desk.settings.model_copy(update=changes))
    room.take(oru(findings("Cardiomegalia. Derrame pleural derecho.")))
    sent = room.sent(room.run())
    assert [older in message for message in sent] == told


@pytest.mark.parametrize(
    ("drafter", "reason"),
    [
        pytest.param(Speaker(), "ninguna frase", id="nothing left"),
        pytest.param(Speaker("Dr. Ruiz fue avisado."), "borrador retenido", id="a name"),
        pytest.param(Speaker("Nódulo de 7 mm."), "borrador retenido", id="a number"),
        pytest.param(Speaker("Muñoz con derrame."), "borrador retenido", id="the patient"),
    ],
)
def test_a_draft_that_must_not_leave_is_answered_with_its_reason(
    room: Room, drafter: Speaker, reason: str
) -> None:
    room.scribe = replace(room.scribe, drafter=drafter)
    room.take(oru(findings(TEXT)))
    run = room.run()
    assert run.state is RunState.UNSUITABLE
    assert run.reason.startswith(reason)
    (message,) = room.sent(run)
    assert "19005-8" not in message
    assert reason in message


def test_a_document_in_the_place_of_findings_is_answered_at_once(room: Room) -> None:
    room.take(oru(findings("Sin " + "derrame " * 3000)))
    began = time.monotonic()
    run = room.run()
    assert time.monotonic() - began < 5  # read, it would take minutes
    assert run.state is RunState.UNSUITABLE
    (message,) = room.sent(run)
    assert "24003 caracteres" in message
    assert "19005-8" not in message


class Broken:
    """A Drafter with a bug."""

    def draft(self, request: Request, *, guard: bool = True) -> Draft:
        raise KeyError(request.findings)


def test_a_bug_in_a_drafter_fails_the_run_and_sends_nothing(room: Room) -> None:
    room.scribe = replace(room.scribe, drafter=Broken())
    drafts.warm(room.scribe)  # does not stop a worker's start
    room.take(oru(findings(TEXT)))
    run = room.run()
    assert run.state is RunState.FAILED
    assert run.reason.startswith("No valorado por un error interno")
    assert room.sent(run) == []


def test_what_the_guard_left_out_stands_in_the_notes(room: Room) -> None:
    refused = [Refused("Neumonía.", "la neumonía no figura en los hallazgos")]
    room.scribe = replace(room.scribe, drafter=Speaker("Cardiomegalia.", refused=refused))
    room.take(oru(findings("Cardiomegalia.")))
    (message,) = room.sent(room.run())
    notes = [row[3] for row in segments(message, "NTE")]
    assert any("la neumonía no figura en los hallazgos" in note for note in notes)
    assert not any("Neumonía." in note for note in notes)


def compared(room: Room, final: str) -> Run:
    room.take(oru(findings(TEXT)))
    room.run()
    room.take(final)
    return room.run()


def test_a_final_report_is_compared_with_its_draft(room: Room) -> None:
    final = oru(impression("Neumotórax izquierdo."), status="F", reader="7&Ruiz&Eva")
    assert compared(room, final).state is RunState.COMPLETED
    (row,) = room.storage.agreements.all()
    assert row.figures["both"] == ["pneumothorax"]
    assert row.figures["removed"] == ["pleural_effusion"]
    assert row.findings == TEXT  # the draft's own, where the final report has none
    assert row.impression == "Neumotórax izquierdo."


@pytest.mark.parametrize(("how", "stored"), [("hashed", "12 hex"), ("named", "7"), ("none", "")])
def test_a_reader_is_remembered_as_the_site_wants(room: Room, how: str, stored: str) -> None:
    wanted = Impressions.model_validate({"readers": how})
    settings = room.desk.settings.model_copy(update={"impressions": wanted})
    room.scribe = wiring.scribe(settings)
    compared(room, oru(impression("Nada."), status="F", reader="7&Ruiz&Eva"))
    (row,) = room.storage.agreements.all()
    if how == "hashed":
        assert len(row.reader) == 12
        assert row.reader != "7"
    else:
        assert row.reader == stored


@pytest.mark.parametrize(
    ("final", "reason"),
    [
        (oru(findings(TEXT), status="F"), comparison.NO_IMPRESSION),
        (oru(impression("Sin " + "derrame " * 3000), status="F"), comparison.TOO_LONG),
    ],
    ids=["none", "a document"],
)
def test_a_final_report_that_says_no_impression(room: Room, final: str, reason: str) -> None:
    run = compared(room, final)
    assert (run.state, run.reason) == (RunState.UNSUITABLE, reason)


EARLIER, LATER = "20261120101530", "20261120101931"


@pytest.mark.parametrize(
    ("final", "dictated", "drafted"),
    [
        pytest.param({"MSH7": LATER}, {}, False, id="the queue of an engine in another order"),
        pytest.param({"MSH7": LATER, "study": ""}, {}, False, id="known by its order"),
        pytest.param({"MSH7": f"{LATER}.02+0100"}, {"MSH7": f"{EARLIER}+0100"}, False, id="zones"),
        pytest.param({"MSH7": "202611201015+0000"}, {"MSH7": "202611201115+0100"}, True, id="same"),
        pytest.param({"MSH7": EARLIER}, {"MSH7": LATER}, True, id="an addendum"),
        pytest.param({"MSH7": LATER, "filler": "F2"}, {}, True, id="of another order"),
        pytest.param({"MSH7": LATER, "accession": "A2"}, {}, True, id="another accession number"),
        pytest.param({"MSH7": "20261121"}, {}, True, id="the day alone"),
        pytest.param({"MSH7": f"{LATER}+0100"}, {}, True, id="one without its zone"),
        pytest.param({"MSH7": ""}, {}, True, id="no time"),
    ],
)
def test_findings_that_come_after_their_final_report_give_no_draft(
    room: Room, final: dict[str, str], dictated: dict[str, str], drafted: bool
) -> None:
    """A preliminary text behind the signed one: some RIS would take it for what holds."""
    room.take(oru(impression("Neumotórax izquierdo."), status="F", **final))
    room.take(oru(findings(TEXT), **dictated))
    assert [run.processor for run in room.storage.runs.list()] == ["impressions"] * drafted
    if not drafted:
        (late, _) = room.storage.inbox.list()
        assert late.state is MessageState.OUTDATED
        assert late.reason == "the final report came before (message 1, written later)"


@pytest.mark.parametrize("drafted", [True, False], ids=["drafted already", "before it is read"])
def test_older_findings_replace_no_newer_ones(room: Room, drafted: bool) -> None:
    """A correction, and then what it corrects."""
    room.take(oru(findings("Neumotórax izquierdo."), MSH7=LATER))
    if drafted:
        room.run()
    room.take(oru(findings("Sin neumotórax."), MSH7=EARLIER))
    (late, _) = room.storage.inbox.list()
    assert (late.state, late.run_id) == (MessageState.OUTDATED, None)
    assert late.reason == "newer findings came before (message 1, written later)"
    (run,) = room.storage.runs.list()
    assert run.state is (RunState.COMPLETED if drafted else RunState.READY)
    room.take(oru(findings("Neumotórax derecho."), MSH7=f"{LATER[:-2]}59"))
    assert room.storage.inbox.list()[0].state is MessageState.TAKEN


def test_a_message_that_comes_again_takes_the_place_of_its_lost_file(room: Room) -> None:
    """What a failed run asks for: send the report again, then retry."""
    said = oru(findings(TEXT), control="C-lost")
    room.take(said)
    (message,) = room.storage.inbox.list()
    room.storage.spool.remove(message.path)
    lost = room.run()
    assert lost.state is RunState.FAILED
    room.take(said)
    assert room.storage.runs.retry(lost.id, "admin")
    assert room.run().state is RunState.COMPLETED
    room.take(said)  # and once more: the first copy counts
    assert list(room.storage.spool.listing("messages")) == [message.path]


def test_a_draft_that_still_waits_for_its_ris_is_overtaken_by_the_final_report(room: Room) -> None:
    room.take(oru(findings(TEXT)))
    draft = room.run()
    assert not room.storage.inbox.answered(draft.id)
    room.take(oru(impression("Abdomen normal."), status="F", filler="F2"))  # of another order
    assert not room.storage.inbox.answered(draft.id)
    room.take(oru(impression("Neumotórax izquierdo."), status="F"))
    assert room.storage.inbox.answered(draft.id)
    room.run()
    room.take(oru(findings(f"{TEXT} Añadido: fractura costal.")))
    assert not room.storage.inbox.answered(room.run().id)


def test_a_final_report_waits_for_a_draft_under_way(room: Room) -> None:
    room.take(oru(findings(TEXT)))
    draft = room.storage.runs.claim("worker")
    room.take(oru(impression("Nada."), status="F"))
    assert draft is not None
    run = room.run()
    assert run.state is RunState.WAITING
    assert run.tries == 0


def test_a_message_whose_file_is_gone_fails_with_a_reason(room: Room) -> None:
    room.take(oru(findings(TEXT)))
    (message,) = room.storage.inbox.list()
    room.storage.spool.remove(message.path)
    run = room.run()
    assert run.state is RunState.FAILED
    assert "Send the report again" in run.reason


def image_of(
    room: Room,
    patient: str,
    number: int = 1,
    charset: str = "ISO_IR 192",
    name: str = "Muñoz^Ángela",
) -> str:
    """An image of the messages' study, as the intake files it; its SOP Instance UID."""
    uid = f"{STUDY}.7.{number}"
    data = dicom_bytes(uid, study=STUDY).replace(b"P-1 ", patient.encode().ljust(4))
    data = data.replace(b"ISO_IR 192", charset.encode().ljust(10))
    path = room.storage.spool.write("objects", f"{uid}.dcm", data)
    whose = Identity(STUDY, patient, "", name, "19700101", "A1")
    new = instance(study=STUDY, identity=whose, path=path)
    room.storage.studies.add(new, on_conflict="keep_first")
    return uid


def test_findings_of_another_patient_than_the_released_study_are_held(room: Room) -> None:
    """The images contradict the message that was there first; a person sides with the images."""
    room.take(oru(findings(TEXT), patient="P1^^^^MR"))
    image_of(room, "P-2")
    assert room.storage.runs.claim("worker") is None  # held
    assert room.storage.studies.release(STUDY, "a person")
    study = room.storage.studies.get(STUDY)
    assert study is not None
    assert study.identity.patient_id == "P-2"
    run = room.run()
    assert run.state is RunState.SET_ASIDE
    assert room.storage.runs.reports(run.id) == ()
    (message,) = room.storage.inbox.list()
    assert (message.state, message.run_id) == (MessageState.HELD, None)
    assert message.reason == run.reason == "the message names another patient than its study"
    alarms = [r.entry for r in room.storage.audit.list(limit=99) if r.entry.event == "110113"]
    assert alarms[-1].details["message"] == message.id


def test_a_draft_is_written_again_under_the_name_that_its_images_say(room: Room) -> None:
    room.take(oru(findings(TEXT), patient="P-1^^^^MR"))
    older = room.run()
    image_of(room, "P-1", name="Peña^José")
    new = room.storage.runs.renew(older.id)
    assert new is not None
    assert room.storage.runs.renew(older.id) == new
    newer = room.run()
    assert (newer.id, newer.state) == (new, RunState.COMPLETED)
    assert room.storage.runs.renew(newer.id) is None
    old, message = (room.sent(run)[0] for run in (older, newer))
    assert segments(message, "PID")[0][5].startswith("Peña^José")
    assert segments(message, "MSH")[0][9] != segments(old, "MSH")[0][9]
    room.take(oru(findings(TEXT), patient="P-1^^^^MR"))  # the same findings: no second draft
    assert [run.id for run in room.storage.runs.list()] == [older.id, newer.id]


def test_a_draft_that_held_its_study_is_made_after_the_release(room: Room) -> None:
    """Routing plans the images anew; a run over a message is planned by nobody else."""
    room.take(oru(findings(TEXT), patient="P-1^^^^MR"))
    unclear = image_of(room, "P-1", charset="ISO_IR 6")
    assert room.run().state is RunState.SET_ASIDE  # the name of the image cannot be decoded
    assert room.storage.studies.exclude(STUDY, unclear, "a person")
    assert room.storage.studies.release(STUDY, "a person")
    assert room.run().state is RunState.COMPLETED


def test_no_log_line_holds_what_was_dictated(room: Room, capsys: Any) -> None:
    compared(room, oru(impression("Neumotórax."), status="F", reader="7&Ruiz&Eva"))
    said = "".join(capsys.readouterr())
    for word in ("Muñoz", "Ruiz", "Derrame", "P1", "19700101"):
        assert word not in said
