"""Data sets that must not be stored, or only in a certain way: status, disk, rows, quarantine."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import intake_lab as lab
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from storage.records import StudyState


@pytest.fixture(scope="module", params=["", lab.STOCK], ids=["fast", "stock"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lab.Node]:
    with lab.running(tmp_path_factory.mktemp("intake"), patch=request.param) as found:
        yield found


@pytest.fixture
def before(node: lab.Node) -> dict[str, Any]:
    return _everything(node)


def _everything(node: lab.Node) -> dict[str, Any]:
    return {"rows": set(node.stored()), "objects": set(node.objects())}


def _quarantined(node: lab.Node) -> list[dict[str, Any]]:
    names = [name for name in node.storage.spool.listing("quarantine") if name.endswith(".json")]
    return [json.loads(node.storage.spool.read(name)) for name in names]


def _nothing_stored(node: lab.Node, before: dict[str, Any], why: str) -> None:
    assert _everything(node) == before
    assert node.storage.spool.temporary() == []
    assert lab.eventually(lambda: any(why in str(entry.details) for entry in node.audit("110113")))


def test_ds_none(node: lab.Node, before: dict[str, Any]) -> None:
    assert lab.send_raw(node, None, sop_uid="1.2.3") == 0xC000
    _nothing_stored(node, before, "without a data set")


def test_ds_uid_mismatch(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set()
    other = generate_uid()
    assert lab.send_raw(node, lab.encoded(made), sop_uid=other) == 0xA900
    _nothing_stored(node, before, "SOP Instance UID of data set and command differ")
    (case,) = [one for one in _quarantined(node) if one["sop_instance_uid"] == other]
    assert (case["status"], case["calling_ae_title"]) == ("0xA900", "PACS")
    kept = node.storage.spool.path(f"quarantine/{case['sha256']}-A900.dcm")
    assert lab.bytes_of(kept) == lab.encoded(made)


def test_ds_class_mismatch(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set(lab.DX)
    assert lab.send_raw(node, lab.encoded(made), sop_uid=made.SOPInstanceUID) == 0xA900
    _nothing_stored(node, before, "SOP Class UID of data set and command differ")


def test_ds_class_not_context(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set(lab.DX)
    raw = lab.encoded(made)
    assert lab.send_raw(node, raw, sop_uid=made.SOPInstanceUID, sop_class=lab.DX) == 0xA900
    _nothing_stored(node, before, "not the one of its presentation context")


def _named(uid: str) -> bytes:
    """A data set with any text for its SOP Instance UID."""
    raw, known = lab.encoded(lab.data_set(SOPInstanceUID="1.2.3.4")), b"1.2.3.4\0"
    text = uid.encode() + b"\0" * (len(uid) % 2)
    old = struct.pack("<HH2sH", 8, 0x18, b"UI", len(known)) + known
    assert old in raw
    return raw.replace(old, struct.pack("<HH2sH", 8, 0x18, b"UI", len(text)) + text)


PATH = "../../../outside/x"


def test_ds_path_uid(node: lab.Node, before: dict[str, Any]) -> None:
    assert lab.send_raw(node, _named(PATH), sop_uid=PATH) == 0x0117
    _nothing_stored(node, before, "no valid UID")
    assert not list(node.data.parent.rglob("outside"))


def test_ds_long_uid(node: lab.Node, before: dict[str, Any]) -> None:
    uid = "1.2." + "3" * 66
    assert lab.send_raw(node, _named(uid), sop_uid=uid) == 0x0117
    _nothing_stored(node, before, "no valid UID")


def test_ds_empty_uid(node: lab.Node, before: dict[str, Any]) -> None:
    assert lab.send_raw(node, _named(""), sop_uid="") == 0x0117
    _nothing_stored(node, before, "no valid UID")


def test_a_study_uid_is_no_path_either(node: lab.Node, before: dict[str, Any]) -> None:
    raw = lab.encoded(lab.data_set(SOPInstanceUID="1.2.7", StudyInstanceUID="1.2.3.4.5.6"))
    raw = raw.replace(b"1.2.3.4.5.6\0", b"../../../../")
    assert lab.send_raw(node, raw, sop_uid="1.2.7") == 0xA900
    _nothing_stored(node, before, "Study Instance UID is no valid UID")


def test_ds_duplicate_same(node: lab.Node) -> None:
    made = lab.data_set(StudyInstanceUID=generate_uid())
    assert lab.send(node, made, made) == [0x0000, 0x0000]
    assert lab.send(node, made) == [0x0000]
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert row.repeats == 2
    assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == lab.encoded(made)


@pytest.mark.parametrize(
    ("policy", "status", "rows", "held"),
    [
        pytest.param("keep_first", 0x0000, 1, False, id="keep_first"),
        pytest.param("keep_both", 0x0000, 2, True, id="keep_both"),
        pytest.param("refuse", 0xA900, 1, False, id="refuse"),
    ],
)
def test_ds_duplicate_other(
    policy: str, status: int, rows: int, held: bool, tmp_path: Path
) -> None:
    first = lab.data_set(Manufacturer="one")
    second = lab.data_set(SOPInstanceUID=first.SOPInstanceUID, Manufacturer="two")
    with lab.running(tmp_path, on_conflict=policy) as node:
        assert lab.send(node, first, second) == [0x0000, status]
        kept = node.storage.studies.instances(first.StudyInstanceUID)
        contents = {lab.bytes_of(node.storage.spool.path(one.path)) for one in kept}
        assert len(kept) == len(contents) == len(node.objects()) == rows
        assert lab.encoded(first) in contents
        study = node.storage.studies.get(first.StudyInstanceUID)
        assert study is not None
        assert (study.state is StudyState.HELD) is held
        assert [one.kind for one in node.audit("110104")].count("instance.conflict") == 1
        aside = [one["status"] for one in _quarantined(node)]
        assert aside == ([] if rows == 2 else [f"0x{status:04X}"])


def test_ds_odd_length(node: lab.Node) -> None:
    made = lab.data_set(StudyInstanceUID=generate_uid())
    even = b"PN" + struct.pack("<H", 12) + b"TEST^PERSON "
    raw = lab.encoded(made).replace(even, b"PN" + struct.pack("<H", 11) + b"TEST^PERSON")
    assert lab.send_raw(node, raw, sop_uid=made.SOPInstanceUID) == 0x0000
    assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == raw
    notes = [entry for entry in node.audit("110104") if entry.kind == "instance.note"]
    assert [one.details["note"] for one in notes if one.study_uid == made.StudyInstanceUID] == [
        "a value of odd length"
    ]


def _nested(depth: int) -> bytes:
    begin = b"\x20\0\x12\x92SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return begin * depth + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth


def test_ds_truncated(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set()
    assert lab.send_raw(node, lab.encoded(made)[:-100], sop_uid=made.SOPInstanceUID) == 0xC000
    _nothing_stored(node, before, "truncated")


def test_ds_garbage(node: lab.Node, before: dict[str, Any]) -> None:
    assert lab.send_raw(node, os.urandom(20_000), sop_uid="1.2.3") == 0xC000
    assert _everything(node) == before


def test_ds_empty(node: lab.Node, before: dict[str, Any]) -> None:
    assert lab.send_raw(node, b"", sop_uid="1.2.3") == 0xC000
    _nothing_stored(node, before, "empty data set")


def test_ds_deep_nesting(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set()
    raw = lab.encoded(made)
    at = raw.index(b"\x28\0\x02\0US")
    deep = raw[:at] + _nested(2000) + raw[at:]
    assert lab.send_raw(node, deep, sop_uid=made.SOPInstanceUID) == 0xC000
    _nothing_stored(node, before, "nested deeper")


def test_ds_meta_inside(node: lab.Node, before: dict[str, Any]) -> None:
    made = lab.data_set()
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
    raw = meta + lab.encoded(made)
    assert lab.send_raw(node, raw, sop_uid=made.SOPInstanceUID) == 0xC000
    _nothing_stored(node, before, "group 0002")


def test_ds_no_pixels(node: lab.Node) -> None:
    made = lab.data_set(PixelData=None, StudyInstanceUID=generate_uid())
    assert lab.send(node, made) == [0x0000]
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert row.headers["HasPixelData"] is False


def test_two_patient_ids_in_one_data_set(node: lab.Node, before: dict[str, Any]) -> None:
    raw = lab.encoded(lab.data_set(SOPInstanceUID="1.2.8"))
    one = struct.pack("<HH2sH", 0x10, 0x20, b"LO", 4)
    raw = raw.replace(one + b"ID-1", one + b"ID-1" + one + b"ID-2")
    assert lab.send_raw(node, raw, sop_uid="1.2.8") == 0xC000
    _nothing_stored(node, before, "PatientID occurs more than once")


def test_a_refusal_does_not_end_the_association(node: lab.Node) -> None:
    good = lab.data_set()
    with lab.associated(node) as assoc:
        assert lab.talk(assoc, lab.store_rq(lab.CT, "1.2.3"), b"") == 0xC000
        assert assoc.send_c_store(good).Status == 0x0000
        assert assoc.send_c_echo().Status == 0x0000


def test_other_operations_are_answered(node: lab.Node) -> None:
    find = lab.command((2, lab.CT), (0x100, 0x20), (0x110, 1), (0x700, 2), (0x800, 0x0101))
    with lab.associated(node) as assoc:
        assert lab.talk(assoc, find, None) == 0x0211


def test_quarantine_can_be_switched_off(tmp_path: Path) -> None:
    with lab.running(tmp_path, quarantine=False) as node:
        assert lab.send_raw(node, b"nonsense", sop_uid="1.2.3") == 0xC000
        assert list(node.storage.spool.listing("quarantine")) == []


def _ours() -> Dataset:
    purpose, equipment = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    equipment.Manufacturer = "dictamen project"
    equipment.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return lab.data_set(ContributingEquipmentSequence=Sequence([equipment]))


def test_own_loop(node: lab.Node, before: dict[str, Any]) -> None:
    """By Contributing Equipment; by the UID in our table see the next test."""
    made = _ours()
    made.StudyInstanceUID = generate_uid()
    assert lab.send(node, made) == [0x0000]
    assert _everything(node) == before
    assert node.storage.studies.get(made.StudyInstanceUID) is None

    def told() -> list[Any]:
        return [one for one in node.audit("110104") if one.study_uid == made.StudyInstanceUID]

    assert lab.eventually(lambda: [one.details["instances"] for one in told()] == [{"ours": 1}])


def test_own_loop_by_the_uid_in_our_table(tmp_path: Path) -> None:
    made, back = lab.data_set(), lab.data_set()
    patch = (
        "from storage._studies import Studies\n"
        f"Studies.ours_among = lambda self, uids: frozenset([{back.SOPInstanceUID!r}])"
    )
    with lab.running(tmp_path, patch=patch) as node:
        assert lab.send(node, made, back) == [0x0000, 0x0000]
        assert set(node.stored()) == {made.SOPInstanceUID}
