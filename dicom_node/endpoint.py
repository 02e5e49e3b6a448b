"""Carries a question to a model's HTTP endpoint and its answer back: one POST, strictly bounded.

In: the endpoint's settings. Out: a function for `processors.adapters.http_endpoint`. TLS with the
system's authorities or the site's own; no proxy, no cookie, no redirect, no other host; a size
limit both ways, one time limit for the whole answer; what may pass by itself is tried again
(tenacity). Never: a word about the patient in an error or a log.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

import config.settings as cfg
from processors.adapters.http_endpoint import (
    EndpointRefuses,
    EndpointSilent,
    Post,
    Question,
    TooLarge,
    shown,
)

CHUNK = 64 * 1024
TRY_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class _Way:
    """One endpoint, ready to be asked."""

    address: SplitResult
    settings: cfg.Endpoint
    context: ssl.SSLContext | None
    headers: Mapping[str, str]

    @property
    def shown(self) -> str:
        return f"{self.address.scheme}://{self.address.netloc}"


def poster(settings: cfg.Endpoint) -> Post:
    """The way to one endpoint. Raises EndpointRefuses without its certificate or token."""
    address = urlsplit(settings.url)
    context, headers = None, {"User-Agent": "dictamen"}
    try:
        if address.scheme == "https":
            trusted = str(settings.trusted) if settings.trusted else None
            context = ssl.create_default_context(cafile=trusted)
        if settings.token_file:
            headers["Authorization"] = f"Bearer {_token(settings.token_file)}"
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointRefuses(
            f"The certificate or token of the endpoint cannot be read: {error}.",
            then="Correct endpoint.trusted or endpoint.token_file.",
        ) from error
    way = _Way(address, settings, context, headers)
    return lambda question: _asked(way, question)


def _token(file: Path) -> str:
    """Raises EndpointRefuses: a header cannot carry it, and what says so later quotes it."""
    token = file.read_text().strip()
    if not token or not token.isascii() or not token.isprintable():
        raise EndpointRefuses(
            f"{file} holds no token, which is one line of ASCII.",
            then="Correct endpoint.token_file.",
        )
    return token


def _asked(way: _Way, question: Question) -> bytes:
    if len(question.body) > way.settings.largest_request:
        raise TooLarge(
            f"The image is {len(question.body)} bytes for the endpoint, more than agreed.",
            then="Raise endpoint.largest_request if the endpoint takes more.",
        )
    tries = Retrying(
        retry=retry_if_exception_type(EndpointSilent),
        stop=stop_after_attempt(way.settings.attempts),
        wait=wait_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    return tries(_once, way, question)


def _once(way: _Way, question: Question) -> bytes:
    until = time.monotonic() + way.settings.timeout
    link = _link(way)
    try:
        path = way.address.path or "/"
        link.request(
            "POST",
            f"{path}?{way.address.query}" if way.address.query else path,
            body=question.body,
            headers={**way.headers, **question.headers},
        )
        answer = http.client.HTTPResponse(_Timed(link.sock, until), method="POST")  # type: ignore[arg-type]
        answer.begin()
        _judge(way, answer)
        return _read(way, answer)
    except ssl.SSLCertVerificationError as error:
        raise EndpointRefuses(
            f"The certificate of {way.shown} is not to be trusted: {error.verify_message}.",
            then="Name the authority in endpoint.trusted.",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        what = shown(str(error).strip()) or type(error).__name__
        raise EndpointSilent(
            f"The endpoint {way.shown} does not answer ({what}).",
            then="See that it runs, then: dictamen runs retry.",
        ) from error
    finally:
        link.close()


def _link(way: _Way) -> http.client.HTTPConnection:
    host, port, limit = way.address.hostname or "", way.address.port, way.settings.timeout
    if way.context is None:
        return http.client.HTTPConnection(host, port, timeout=limit)
    return http.client.HTTPSConnection(host, port, timeout=limit, context=way.context)


def _judge(way: _Way, answer: http.client.HTTPResponse) -> None:
    """Passes 200 alone."""
    if 300 <= answer.status < 400:
        raise EndpointRefuses(
            f"The endpoint {way.shown} sends us elsewhere (HTTP {answer.status}), where no image "
            "may go.",
            then="Correct endpoint.url.",
        )
    if answer.status in TRY_AGAIN:
        raise EndpointSilent(
            f"The endpoint {way.shown} cannot answer just now (HTTP {answer.status}).",
            then="See its log, then: dictamen runs retry.",
        )
    if answer.status != 200:
        raise EndpointRefuses(
            f"The endpoint {way.shown} refuses (HTTP {answer.status}).",
            then="See its log; correct endpoint.url or endpoint.token_file.",
        )


class _Timed(io.RawIOBase):
    """What comes in over a socket, headers too, until the time for the whole answer runs out."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


def _read(way: _Way, answer: http.client.HTTPResponse) -> bytes:
    """The body, as long as its size does not run out."""
    found = bytearray()
    while part := answer.read1(CHUNK):
        found += part
        if len(found) > way.settings.largest_answer:
            raise TooLarge(
                f"The endpoint {way.shown} answers more than {way.settings.largest_answer} bytes.",
                then="Raise endpoint.largest_answer if that is meant.",
            )
    if answer.length:  # the body ended before its stated length
        raise http.client.IncompleteRead(bytes(found), answer.length)
    return bytes(found)
