"""MLLP frames out of a stream, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.inbox.frames import Frames, TooLong

A, B = b"\x0bfirst\x1c\r", b"\x0bsecond\x1c\r"


@pytest.mark.parametrize(
    ("stream", "messages", "stray", "cut"),
    [
        pytest.param(A, [b"first"], 0, 0, id="one"),
        pytest.param(A + B, [b"first", b"second"], 0, 0, id="two in one packet"),
        pytest.param(b"\x0bfirst\x1c" + B, [b"first", b"second"], 0, 0, id="FS without CR"),
        pytest.param(b"\r\n" + A + b"\r\n", [b"first"], 0, 0, id="line ends between"),
        pytest.param(b"MSH|no VT\x1c\r", [], 9, 0, id="no VT"),
        pytest.param(b"\x0bhalf" + B, [b"second"], 0, 1, id="no FS before the next"),
        pytest.param(b"\x0b\x1c\r", [b""], 0, 0, id="empty"),
        pytest.param(b"\x0bcr\ronly\x1c\r", [b"cr\ronly"], 0, 0, id="CR is content"),
    ],
)
def test_frames(stream: bytes, messages: list[bytes], stray: int, cut: int) -> None:
    whole = Frames(100)
    assert whole.feed(stream) == messages
    assert (whole.stray, whole.cut) == (stray, cut)
    slow = Frames(100)
    assert [m for i in range(len(stream)) for m in slow.feed(stream[i : i + 1])] == messages


@given(st.lists(st.binary(max_size=20).filter(lambda b: not {0x0B, 0x1C} & set(b)), max_size=4))
def test_what_is_framed_comes_out(messages: list[bytes]) -> None:
    assert Frames(100).feed(b"".join(b"\x0b" + m + b"\x1c\r" for m in messages)) == messages


def test_an_endless_message_ends_at_the_limit() -> None:
    frames = Frames(1000)
    frames.feed(b"\x0bMSH|" + b"x" * 900)
    with pytest.raises(TooLong) as stop:
        frames.feed(b"x" * 100)
    assert stop.value.head.startswith(b"MSH|")
