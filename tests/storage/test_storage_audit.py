"""What the audit gives out: by sequence, as messages of PS3.15 A.5, as JSON lines."""

from __future__ import annotations

import base64
import json
from xml.etree import ElementTree

import pytest
from pydicom.sr.codedict import codes
from storage_fixtures import KEY, NOON, STUDY, Node, add, completed, instance

from storage import AuditEntry, AuditRecord, DeliveryState
from storage._messages import message

ODD = 'PACS<&>"\x07\ud800'
# children of AuditMessage and of its parts, in the order of the schema in PS3.15 A.5.1
ORDER = [
    "EventIdentification",
    "ActiveParticipant",
    "AuditSourceIdentification",
    "ParticipantObjectIdentification",
]


def record(entry: AuditEntry) -> AuditRecord:
    return AuditRecord(7, NOON, entry, "0" * 64, "f" * 64)


def parsed(entry: AuditEntry, patient: str = "") -> ElementTree.Element:
    return ElementTree.fromstring(message(record(entry), patient))


def test_a_message_as_the_standard_wants_it() -> None:
    details = {"calling_ae": "PACS", "address": "10.1.2.3", "instances": 2}
    root = parsed(AuditEntry("110104", "C", 0, "110153", STUDY, "intake", details), "P1")
    tags = [child.tag for child in root]
    assert sorted(set(tags), key=tags.index) == ORDER
    event = root[0]
    assert event.attrib == {
        "EventActionCode": "C",
        "EventDateTime": "2026-03-01T12:00:00+00:00",
        "EventOutcomeIndicator": "0",
    }
    assert event[0].attrib == {
        "csd-code": codes.DCM.DICOMInstancesTransferred.value,
        "codeSystemName": "DCM",
        "originalText": codes.DCM.DICOMInstancesTransferred.meaning,
    }
    us, them = root.findall("ActiveParticipant")
    assert us.attrib == {"UserID": "intake", "UserIsRequestor": "true"}
    assert them.attrib["NetworkAccessPointID"] == "10.1.2.3"
    assert them[0].attrib["csd-code"] == codes.DCM.SourceRoleID.value
    study, patient = root.findall("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == STUDY
    assert study[0].attrib["csd-code"] == codes.DCM.StudyInstanceUID.value
    assert [child.tag for child in study][:2] == [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
    ]
    told = {d.attrib["type"]: d.attrib["value"] for d in study.findall("ParticipantObjectDetail")}
    assert base64.b64decode(told["instances"]) == b"2"
    assert patient.attrib["ParticipantObjectID"] == "P1"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("110100", "Application Activity"),
        ("110102", "Begin Transferring DICOM Instances"),
        ("110103", "DICOM Instances Accessed"),
        ("110104", "DICOM Instances Transferred"),
        ("110105", "DICOM Study Deleted"),
        ("110106", "Export"),
        ("110113", "Security Alert"),
    ],
)
def test_events_have_the_standard_s_meaning(code: str, meaning: str) -> None:
    root = parsed(AuditEntry(code, "E"))
    assert root[0][0].attrib["originalText"] == meaning
    assert root[0][0].attrib["codeSystemName"] == "DCM"


def test_a_kind_of_ours_says_so() -> None:
    kind = parsed(AuditEntry("110100", "E", kind="run.planned"))[0][1]
    assert kind.tag == "EventTypeCode"
    assert kind.attrib["codeSystemName"] == "99DICTAMEN"


def test_what_others_wrote_stays_text() -> None:
    root = parsed(AuditEntry("110113", "E", 8, who=ODD, details={"calling_ae": ODD, "a": ODD}))
    assert root.findall("ActiveParticipant")[1].attrib["UserID"] == 'PACS<&>"\ufffd\ufffd'


def test_the_story_of_a_study(node: Node) -> None:
    """From its first byte to the destination's answer, each change with its event."""
    completed(node.storage)
    (sent,) = node.storage.outbox.claim("pacs", NOON)
    node.storage.outbox.record(sent, DeliveryState.DELIVERED, answer="0x0000")
    add(node.storage, instance(study="1.2.3"))
    story = node.storage.audit.list(study_uid=STUDY)
    assert [(one.entry.event, one.entry.kind) for one in story] == [
        ("110104", "study.opened"),
        ("110100", "run.planned"),
        ("110100", "study.settled"),
        ("110100", "run.started"),
        ("110100", "run.completed"),
        ("110102", "delivery.sending"),
        ("110104", "delivery.delivered"),
    ]
    assert {one.entry.who for one in story} == {"tests"}
    assert [one.sequence for one in node.storage.audit.list(after=5, limit=2)] == [6, 7]


def test_exports(node: Node) -> None:
    completed(node.storage)
    node.storage.audit.append(AuditEntry("110100", "E", kind="110120"))
    lines = list(node.storage.audit.export("jsonl"))
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all("\n" not in line for line in lines)
    messages = [ElementTree.fromstring(line) for line in node.storage.audit.export("dicom", 4)]
    assert len(messages) == 2
    objects = [root.findall("ParticipantObjectIdentification") for root in messages]
    assert [one.attrib["ParticipantObjectID"] for one in objects[0]] == [STUDY, "P1"]
    assert len(objects[1]) == 1
    whole = "".join([*lines, *node.storage.audit.export("dicom")])
    assert "Muñoz" not in whole
    assert KEY.decode() not in whole


def test_long_exports_come_in_pages(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage._audit._PAGE", 4)
    node.storage.audit.append(*(AuditEntry("110100", "E") for _ in range(10)))
    assert len(list(node.storage.audit.export("jsonl"))) == 10
    assert node.storage.audit.verify() == ()


def test_a_failed_transaction_leaves_no_event(node: Node) -> None:
    def work(transaction: object) -> None:
        transaction.audit(AuditEntry("110100", "E"))  # type: ignore[attr-defined]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        node.storage._database.write(work)
    assert node.storage.audit.head()[0] == 0


def test_whoever_it_was_can_be_filed(node: Node) -> None:
    """A title of a peer, or a name typed in another character set than the terminal's."""
    node.storage.audit.append(AuditEntry("110113", "E", who="Jos\udce9\0 Ruiz"))
    (found,) = node.storage.audit.list()
    assert found.entry.who == "Jos\ufffd Ruiz"
    assert node.storage.audit.verify() == ()
