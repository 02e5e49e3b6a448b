"""Bodies and files as they may come: in any pieces, cut, altered, random."""

from __future__ import annotations

from itertools import pairwise

import intake_lab as lab
import pytest
import stow_lab
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.stow import part10
from dicom_node.stow.part10 import Head, NotAFile
from dicom_node.stow.parts import BadBody, Parts

BOUNDARY = b"part"


class Collected:
    """A taker that remembers."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.kinds: list[str] = []
        self._open: bytes | None = None

    def begin(self, content_type: str) -> None:
        assert self._open is None
        self.kinds.append(content_type)
        self._open = b""

    def data(self, chunk: memoryview) -> None:
        assert self._open is not None
        self._open += bytes(chunk)

    def end(self) -> None:
        assert self._open is not None
        self.parts.append(self._open)
        self._open = None


def _parsed(body: bytes, cuts: list[int], most: int = 100) -> Collected:
    found = Collected()
    parts = Parts(BOUNDARY, most, found)
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    for start, end in pairwise(places):
        parts.feed(body[start:end])
    parts.close()
    return found


# bytes that are likely to look like a boundary in the wrong place
_PIECES = st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--par", b"part", b"\r\n--parT", b"x\0"])
_CONTENTS = st.lists(st.one_of(_PIECES, st.binary(max_size=20)), max_size=8).map(b"".join)
_SAFE = _CONTENTS.filter(lambda raw: b"\r\n--part" not in b"\r\n" + raw + b"\r\n")
_CUTS = st.lists(st.integers(0, 400), max_size=40)


@given(st.lists(_SAFE, min_size=1, max_size=4), _CUTS)
def test_parts_come_whole_however_they_are_cut(files: list[bytes], cuts: list[int]) -> None:
    found = _parsed(stow_lab.body_of(*files, boundary="part"), cuts)
    assert found.parts == files
    assert found.kinds == ["application/dicom"] * len(files)


@given(st.lists(_CONTENTS, max_size=4), _CUTS, st.integers(0, 300), st.binary(max_size=9))
def test_a_broken_body_is_said_to_be_one(
    files: list[bytes], cuts: list[int], at: int, noise: bytes
) -> None:
    """Whatever comes: parts, or BadBody; nothing else is raised."""
    body = stow_lab.body_of(*files, boundary="part")
    body = body[:at] + noise + body[at + len(noise) :]
    try:
        _parsed(body, cuts)
    except BadBody:
        return


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no boundary at all", id="no-boundary"),
        pytest.param(stow_lab.body_of(b"x" * 50, boundary="part")[:-9], id="cut"),
        pytest.param(stow_lab.body_of(b"x", boundary="other"), id="another-boundary"),
        pytest.param(b"--part\r\n" + b"a: b\r\n" * 20 + b"\r\nx\r\n--part--\r\n", id="headers"),
        pytest.param(b"--part\r\nA: " + b"b" * 5000 + b"\r\n\r\nx\r\n--part--\r\n", id="header"),
        pytest.param(stow_lab.body_of(*[b"x"] * 101, boundary="part"), id="too-many-parts"),
    ],
)
def test_bodies_that_are_not_taken(body: bytes) -> None:
    with pytest.raises(BadBody):
        _parsed(body, [])


# ---- DICOM files ----------------------------------------------------------------------------
def _file() -> bytes:
    return stow_lab.file_of(lab.data_set(SOPInstanceUID="1.2.3.4"))


def _read(raw: bytes) -> Head:
    """The head, as it is found when the bytes come one by one."""
    for end in range(0, len(raw) + 1, 7):
        if found := part10.read(raw[:end]):
            return found
    found = part10.read(raw, whole=True)
    assert found is not None
    return found


def test_the_data_set_begins_after_the_meta_information() -> None:
    raw = _file()
    head = _read(raw)
    assert (head.sop_class, head.sop_uid) == (lab.CT, "1.2.3.4")
    assert head.transfer_syntax == "1.2.840.10008.1.2.1"
    assert raw[head.size :] == lab.encoded(lab.data_set(SOPInstanceUID="1.2.3.4"))


def test_without_a_length_the_group_ends_where_another_begins() -> None:
    raw = _file()
    short = raw[:132] + raw[144:]  # without (0002,0000)
    assert _read(short).size == _read(raw).size - 12
    head = _read(raw)
    assert part10.read(raw[: head.size], whole=True) == head  # and no data set behind it


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(lab.encoded(lab.data_set()), id="a-data-set-alone"),
        pytest.param(_file()[:200], id="cut"),
        pytest.param(_file()[:140] + b"\xff\xff\0\0" + _file()[144:], id="length-too-long"),
        pytest.param(_file()[:140] + b"\x20\0\0\0" + _file()[144:], id="length-inside-an-element"),
        pytest.param(bytes(128) + b"DICM" + b"\2\0\1\0OB\0\0\xff\xff\xff\xff" * 9, id="absurd"),
        pytest.param(bytes(128) + b"DICM" + b"\2\0\1\0SH\xf0\xff" * 20_000, id="unending"),
    ],
)
def test_what_is_no_file(raw: bytes) -> None:
    with pytest.raises(NotAFile):
        part10.read(raw, whole=True)


@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_are_a_file_or_none(noise: bytes, at: int, whole: bool) -> None:
    raw = _file()
    raw = raw[:at] + noise + raw[at + len(noise) :]
    try:
        head = part10.read(raw, whole=whole)
    except NotAFile:
        return
    assert head is None or 132 < head.size <= len(raw)
