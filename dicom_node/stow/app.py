"""One request from its headers to its answer; what uvicorn calls (ASGI 3, HTTP alone).

Who is it, what is wanted, is there room: all answered before the body is read, so that a sender
that waits for 100 Continue sends nothing in vain. Then the body goes to an `Errand`, piece by piece
in a thread, since the disk may make it wait; meanwhile nothing more is read from this sender. A
sender that is silent, or slower than `slowest` on average while we wait for it, is let go.
Never: an exception to the server, a data set in a log line.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from config.settings import StowLimits
from dicom_node.intake import ledger
from dicom_node.intake.ledger import Sender
from dicom_node.intake.reception import House
from dicom_node.stow import request
from dicom_node.stow.answer import answer
from dicom_node.stow.errand import Errand
from dicom_node.stow.events import EventName
from dicom_node.stow.keys import Keys
from dicom_node.stow.parts import BadBody
from dicom_node.stow.request import JSON, Problem, Wanted

CALLED = "STOW-RS"  # names this door in rows and audit, as our AE title names the other one
RETRY_AFTER = 10  # seconds
BUSY = "too many requests at once"
_DRAINED, _DRAINING = 1 << 26, 2.0  # bytes and seconds, so that a refusal is read by its sender
_GONE = Problem(0, "the sender hung up")

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class App:
    """threads: where the disk is waited for; as many as there may be connections."""

    house: House
    keys: Keys
    limits: StowLimits
    threads: Executor

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = request.headers_of(scope["headers"])
        if scope["path"] == "/healthz" and scope["method"] == "GET":
            await _say(send, 200, {"alive": True})
            return
        sender = self._sender(scope, headers)
        try:
            found = self._wanted(scope, headers, sender)
            if isinstance(found, Problem):
                waits = "100-continue" in headers.get("expect", "").lower()
                await self._refuse(found, sender, None if waits else receive, send)
            else:
                await self._store(found, sender, receive, send)
        except asyncio.CancelledError:  # the service stops
            raise
        except Exception:  # the edge: a bug costs this request alone
            log.exception(EventName.FAILED, **sender.fields())
            self.house.on_event(EventName.FAILED)
            with suppress(Exception):
                await _say(send, 500, {"error": "unexpected error"}, close=True)

    # ---- before the body --------------------------------------------------------------------
    def _sender(self, scope: Event, headers: Mapping[str, str]) -> Sender:
        """calling: the name of the token, else of the certificate; "" if there is neither."""
        subject = str(scope["state"].get("subject", ""))
        name = self.keys.name_of(request.bearer(headers))
        if self.keys.digests is None:
            name = subject[:16]
        address, port = scope["client"] or ("", 0)
        with_subject = f" {subject}" if subject else ""
        return Sender(name, CALLED, address, f"web {address}:{port}{with_subject}")

    def _wanted(self, scope: Event, headers: Mapping[str, str], sender: Sender) -> Wanted | Problem:
        if not sender.calling:
            return Problem(401, "no token that we know", (("www-authenticate", "Bearer"),))
        found = request.wanted(scope["method"], scope["path"], headers)
        if isinstance(found, Problem):
            return found
        if request.length(headers) > self.limits.body:
            return Problem(413, "longer than intake.stow.limits.body")
        busy = BUSY if scope["state"].get("crowded") else self.house.room.why_not()
        return Problem(503, busy) if busy else found

    async def _refuse(
        self, problem: Problem, sender: Sender, receive: Receive | None, send: Send
    ) -> None:
        """receive: None if the sender waits for our word before it sends the body."""
        self._note(EventName.REQUEST_REFUSED, problem, sender)
        await _drain(receive)
        await _say(
            send, problem.status, {"error": problem.why}, headers=problem.headers, close=True
        )

    # ---- the body ---------------------------------------------------------------------------
    async def _store(self, wanted: Wanted, sender: Sender, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        errand = Errand(self.house, sender, wanted, self.limits.parts)
        trouble: Problem | None = None
        try:
            trouble = await self._body(errand, receive)
        finally:  # also where the service stops: shielded, since the thread goes on
            with suppress(OSError):
                await asyncio.shield(loop.run_in_executor(self.threads, errand.close))
        if trouble is _GONE:
            self._note(EventName.REQUEST_BROKEN, trouble, sender)
            return
        if trouble:
            self._note(EventName.REQUEST_BROKEN, trouble, sender)
            await _drain(receive if trouble.status != 408 else None)
        if trouble and not any(one.status == 0 for one in errand.results):
            await _say(send, trouble.status, {"error": trouble.why}, close=True)
            return
        status, said = answer(errand.results, broken=trouble is not None)
        kinds = Counter("stored" if one.status == 0 else "failed" for one in errand.results)
        log.info(EventName.REQUEST_DONE, status=status, **kinds, **sender.fields())
        self.house.on_event(EventName.REQUEST_DONE)
        await _say(send, status, said, kind=JSON, close=trouble is not None)

    async def _body(self, errand: Errand, receive: Receive) -> Problem | None:
        """Read all of it; what is wrong with it, if anything is."""
        loop = asyncio.get_running_loop()
        size, waited, more = 0, 0.0, True
        try:
            while more:
                before = loop.time()
                async with asyncio.timeout(self.limits.idle):
                    event = await receive()
                waited += loop.time() - before
                if event["type"] == "http.disconnect":
                    return _GONE
                chunk, more = event.get("body", b""), event.get("more_body", False)
                size += len(chunk)
                if size > self.limits.body:
                    return Problem(413, "longer than intake.stow.limits.body")
                if more and waited > self.limits.idle and size < self.limits.slowest * waited:
                    return Problem(408, "slower than intake.stow.limits.slowest")
                if chunk:
                    await loop.run_in_executor(self.threads, errand.feed, chunk)
            errand.finish()
        except TimeoutError:
            return Problem(408, "nothing came for intake.stow.limits.idle")
        except BadBody as error:
            return Problem(400, str(error))
        return None

    def _note(self, event: EventName, problem: Problem, sender: Sender) -> None:
        log.warning(event, status=problem.status, why=problem.why, **sender.fields())
        self.house.on_event(event)
        if problem.status != 503:  # what is tried again stands in readiness
            kind = ledger.NODE_AUTHENTICATION if problem.status == 401 else event.value
            self.house.books.write(
                ledger.alert(sender, problem.why, kind=kind, http_status=problem.status)
            )


async def _drain(receive: Receive | None) -> None:
    """Drop a little of what is on its way: closing at once would destroy the answer."""
    size, more = 0, receive is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINING):
            while receive is not None and more and size < _DRAINED:
                event = await receive()
                size += len(event.get("body", b""))
                more = event.get("more_body", False)


async def _say(
    send: Send, status: int, said: Event, *, kind: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (), close: bool = False,
) -> None:  # fmt: skip
    body = json.dumps(said).encode()
    pairs = [("content-type", kind), ("content-length", str(len(body))), *headers]
    pairs += [("retry-after", str(RETRY_AFTER))] if status == 503 else []
    pairs += [("connection", "close")] if close else []
    raw = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
