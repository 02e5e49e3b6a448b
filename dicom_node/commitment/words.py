"""Requests for storage commitment and reports of it, as data sets and back (PS3.4 J.3).

Pure. A request names instances under a transaction UID; a report says of each whether it is kept,
and if not, why (PS3.3 C.14).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.admission import COMMITMENT, is_uid

PUSH_MODEL = COMMITMENT
INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known one
REQUEST, ALL_KEPT, SOME_FAILED = 1, 1, 2  # Action Type ID; Event Type IDs
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119  # failure reasons
MOST = 20_000  # instances in one request

Reference = tuple[str, str]  # SOP class and SOP instance


class BadWords(Exception):
    """The data set is no request and no report that can be understood."""


@dataclass(frozen=True, slots=True)
class Request:
    transaction_uid: str
    instances: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """failed: instance -> failure reason."""

    transaction_uid: str
    kept: tuple[Reference, ...]
    failed: Mapping[Reference, int]

    @property
    def event_type(self) -> int:
        return SOME_FAILED if self.failed else ALL_KEPT


def decoded(raw: bytes, transfer_syntax: str) -> Dataset:
    """The data set of a message. Raises BadWords."""
    try:
        found = read_dataset(BytesIO(raw), transfer_syntax == ImplicitVRLittleEndian, True)
        found.walk(lambda *_: None)  # values are read when they are asked for: now
    except Exception as error:  # whatever a parser of somebody else's bytes may raise
        raise BadWords(f"cannot be read: {type(error).__name__}") from error
    return found


def request_of(source: Dataset) -> Request:
    """Raises BadWords."""
    found = Request(_transaction(source), tuple(_references(source, "ReferencedSOPSequence")))
    if not found.instances:
        raise BadWords("names no instance")
    return found


def report_of(source: Dataset) -> Report:
    """Raises BadWords."""
    failed = {}
    for item in _items(source, "FailedSOPSequence"):
        reason = item.get("FailureReason")
        known = isinstance(reason, int) and reason > 0
        failed[_reference(item)] = reason if known else PROCESSING_FAILURE
    kept = tuple(_references(source, "ReferencedSOPSequence"))
    return Report(_transaction(source), kept, failed)


def as_request(asked: Request) -> Dataset:
    """The Action Information of an N-ACTION."""
    made = Dataset()
    made.TransactionUID = asked.transaction_uid
    made.ReferencedSOPSequence = _sequence(_item(one) for one in asked.instances)
    return made


def as_report(told: Report) -> Dataset:
    """The Event Information of an N-EVENT-REPORT."""
    made = Dataset()
    made.TransactionUID = told.transaction_uid
    if told.kept:
        made.ReferencedSOPSequence = _sequence(_item(one) for one in told.kept)
    if told.failed:
        made.FailedSOPSequence = _sequence(
            _item(one, FailureReason=reason) for one, reason in told.failed.items()
        )
    return made


def judged(
    asked: Request,
    held: Mapping[str, Sequence[Reference]],
    is_there: Callable[[str], bool],
) -> Report:
    """What we can commit to. held: SOP instance -> class and path of each copy."""
    kept, failed = [], {}
    for one in asked.instances:
        sop_class, sop_uid = one
        copies = [(of, path) for of, path in held.get(sop_uid, ()) if is_there(path)]
        if not copies:
            failed[one] = NO_SUCH_INSTANCE
        elif all(of != sop_class for of, _ in copies):
            failed[one] = CLASS_CONFLICT
        else:
            kept.append(one)
    return Report(asked.transaction_uid, tuple(kept), failed)


def _transaction(source: Dataset) -> str:
    uid = str(source.get("TransactionUID") or "")
    if not is_uid(uid):
        raise BadWords("has no valid Transaction UID")
    return uid


def _references(source: Dataset, keyword: str) -> Iterable[Reference]:
    return (_reference(item) for item in _items(source, keyword))


def _items(source: Dataset, keyword: str) -> Sequence[Dataset]:
    items = source.get(keyword) or DicomSequence()
    if not isinstance(items, DicomSequence):
        raise BadWords(f"{keyword} is no sequence")
    if len(items) > MOST:
        raise BadWords(f"names more than {MOST} instances")
    return items


def _reference(item: Dataset) -> Reference:
    found = (
        str(item.get("ReferencedSOPClassUID", "")),
        str(item.get("ReferencedSOPInstanceUID", "")),
    )
    if not (is_uid(found[0]) and is_uid(found[1])):
        raise BadWords("names an instance without valid UIDs")
    return found


def _item(one: Reference, **values: Any) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = one
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _sequence(items: Iterable[Dataset]) -> DicomSequence:
    return DicomSequence(list(items))
