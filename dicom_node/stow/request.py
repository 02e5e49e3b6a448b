"""What a request asks for, from its line and its headers; or the status and why not.

Pure. PS3.18 10.5.1 (store transaction), 8.3.3 (target resources), RFC 2046 5.1.1 (boundary).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from dicom_node.admission import is_uid

JSON = "application/dicom+json"
# RFC 2046 allows 70 characters; Orthanc sends 73
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,99}[0-9A-Za-z'()+_,\-./:=?]")
_STUDIES = re.compile(r"/studies(?:/([^/]*))?/?")
_ONCE = frozenset(("authorization", "content-encoding", "content-type"))
_TAKEN = frozenset((JSON, "application/json", "application/*", "*/*"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A store transaction. study_uid: all instances must belong to it; "": to any."""

    study_uid: str
    boundary: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer without a result. headers: beside the usual ones."""

    status: int
    why: str
    headers: tuple[tuple[str, str], ...] = ()


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; what came twice is joined (RFC 9110 5.3), or void if it may not."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in found:
            text = "" if key in _ONCE else f"{found[key]}, {text}"
        found[key] = text
    return found


def wanted(method: str, path: str, headers: Mapping[str, str]) -> Wanted | Problem:
    """What this request wants of us."""
    found = _STUDIES.fullmatch(path)
    if found is None:
        return Problem(404, "there is /studies and /studies/{study} here")
    if method != "POST":
        return Problem(405, "instances are stored by POST", (("allow", "POST"),))
    study_uid = found[1] or ""
    if study_uid and not is_uid(study_uid):
        return Problem(400, "the study in the address is no valid UID")
    if not _answer_taken(headers.get("accept", "")):
        return Problem(406, f"the answer is {JSON}")
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "no content encoding is taken")
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/related":
        return Problem(415, 'multipart/related; type="application/dicom" is taken')
    if options.get(b"type", b"").lower() != b"application/dicom":
        return Problem(415, 'type="application/dicom" alone is taken: whole DICOM files')
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        return Problem(400, "Content-Type has no usable boundary")
    return Wanted(study_uid, boundary)


def bearer(headers: Mapping[str, str]) -> str:
    """The bearer token that was shown, or "" (RFC 6750 2.1)."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def length(headers: Mapping[str, str]) -> int:
    """The announced length of the body; 0 if none is announced."""
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdecimal() else 0


def _answer_taken(accept: str) -> bool:
    ranges = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    return not accept.strip() or any(one in _TAKEN for one in ranges)
