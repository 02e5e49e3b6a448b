"""Decodes a message by the character set that it declares (MSH-18, table 0211).

In: bytes and the declared name. Out: text, or Undecodable with the reason. The rule: nothing is
guessed, and what contradicts its declaration is refused, because a wrong accent today is a wrong
name tomorrow. Without a declaration only what is plainly UTF-8 (or ASCII) is read.
"""

from __future__ import annotations

import re

_CODECS = {
    "": "utf-8",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/15": "iso8859-15",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
}
_CONTROLS = re.compile("[\x80-\x9f]")  # no text has them: Windows-1252 under another name


class Undecodable(Exception):
    """The bytes are not what MSH-18 says. unknown: the name itself is not known here."""

    def __init__(self, why: str, *, unknown: bool = False) -> None:
        super().__init__(why)
        self.unknown = unknown


def decode(data: bytes, declared: str) -> str:
    """The text. declared: MSH-18, first repetition. Raises Undecodable."""
    name = declared.strip().upper()
    codec = _CODECS.get(name)
    if codec is None:
        known = ", ".join(filter(None, _CODECS))
        raise Undecodable(f"character set not known here; known are {known}", unknown=True)
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        said = f"not {name}" if name else "neither ASCII nor UTF-8, and MSH-18 names no set"
        raise Undecodable(f"the bytes are {said} (at byte {error.start})") from None
    if codec.startswith("iso8859") and not text.isascii():
        if _CONTROLS.search(text):
            raise Undecodable(f"control characters that {name} does not use in texts")
        if _is_utf8(data):
            raise Undecodable(f"the bytes are UTF-8, not {name}")
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
