"""What a sender hears of its instances: a status and a data set (PS3.18 10.5.3, annex I.2).

Pure. 200: all are stored. 202: some are. 409: none is, for reasons of their own. 503: none is, and
it may be tried again. 400: none is, because the body is broken. FailureReason is the status that
the other door would answer; instances whose UIDs are not known are counted in Other Failures.
No WarningReason is ever sent: nothing is coerced or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicom_node.admission import CANNOT_UNDERSTAND, is_uid

_RETRIEVE_URL, _REFERENCED, _FAILED = "00081190", "00081199", "00081198"
_OTHER_FAILURES, _REASON = "0008119A", "00081197"
_CLASS, _INSTANCE = "00081150", "00081155"
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one instance. status: 0, or why it is not stored."""

    sop_class: str
    sop_uid: str
    status: int


def answer(results: Sequence[Result], *, broken: bool = False) -> tuple[int, dict[str, Any]]:
    """HTTP status and DICOM JSON. broken: the body was no multipart/related to its end."""
    stored = [one for one in results if one.status == 0]
    failed = [one for one in results if one.status != 0]
    named = [one for one in failed if is_uid(one.sop_uid) and is_uid(one.sop_class)]
    others = [{_REASON: _number(one.status)} for one in failed if one not in named]
    if broken:
        others.append({_REASON: _number(CANNOT_UNDERSTAND)})
    said: dict[str, Any] = {_RETRIEVE_URL: {"vr": "UR"}}
    if stored:
        said[_REFERENCED] = _sequence([_reference(one) for one in stored])
    if named:
        said[_FAILED] = _sequence(
            [{**_reference(one), _REASON: _number(one.status)} for one in named]
        )
    if others:
        said[_OTHER_FAILURES] = _sequence(others)
    return _status(len(stored), failed, broken), said


def _status(stored: int, failed: Sequence[Result], broken: bool) -> int:
    if stored:
        return 202 if failed or broken else 200
    if broken or not failed:
        return 400
    return 503 if all(one.status in _OUT_OF_RESOURCES for one in failed) else 409


def _reference(one: Result) -> dict[str, Any]:
    return {
        _CLASS: {"vr": "UI", "Value": [one.sop_class]},
        _INSTANCE: {"vr": "UI", "Value": [one.sop_uid]},
        **({_RETRIEVE_URL: {"vr": "UR"}} if one.status == 0 else {}),
    }


def _number(status: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [status]}


def _sequence(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}
