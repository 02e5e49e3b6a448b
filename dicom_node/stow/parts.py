"""The parts of a multipart/related body, piece by piece as it comes (RFC 2046 5.1, RFC 2387).

python-multipart finds the boundaries; what it leaves open is decided here: how many parts, that a
body begins with its boundary and ends with it. A part is handed on and never collected.
"""

from __future__ import annotations

from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

MOST_HEADERS, LONGEST_HEADER = 16, 4096  # of each part


class BadBody(Exception):
    """The body is no multipart/related, or more than we take."""


class Taker(Protocol):
    """Takes the parts. None of these may raise for what a part holds."""

    def begin(self, content_type: str) -> None: ...
    def data(self, chunk: memoryview) -> None: ...
    def end(self) -> None: ...


class Parts:
    """One body. Feed it, then `close` it."""

    def __init__(self, boundary: bytes, most: int, taker: Taker) -> None:
        self._most, self._taker = most, taker
        self._count = 0
        self._name, self._value, self._type = b"", b"", ""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._taker.end,
                "on_end": self._end,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
        )

    def feed(self, chunk: bytes) -> None:
        """The next bytes. Raises BadBody."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadBody("the body is not what its boundary promises") from error

    def close(self) -> None:
        """The body is over. Raises BadBody if it is cut short."""
        if not self._ended:
            raise BadBody("the body ends without its closing boundary")

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise BadBody(f"more than {self._most} parts")
        self._type = ""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-type":
            self._type = self._value.decode("latin-1")
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self._taker.begin(self._type)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._taker.data(memoryview(data)[start:end])

    def _end(self) -> None:
        self._ended = True
