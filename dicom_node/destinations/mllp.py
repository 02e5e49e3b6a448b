"""Sends HL7 messages over MLLP: one in flight, the next one after its acknowledgement.

Decides what an acknowledgement means (HL7 v2.5.1 2.9.2): AA delivered; AE retried a few times,
then held; AR held. Only an acknowledgement whose MSA-2 is our MSH-10 counts, everything else is
silence, after which the same bytes go again. Order is kept: what must wait makes the rest wait.
Never: an unbounded read, a changed message.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config.settings import MllpDestination
from dicom_node.destinations.outcome import Fate, Outcome, Parcel

START, END = b"\x0b", b"\x1c\r"
MAX_ACK_BYTES = 65536  # an acknowledgement has some hundred bytes; an unending frame ends here
_GOOD, _ERROR, _REFUSED = frozenset({"AA", "CA"}), frozenset({"AE", "CE"}), frozenset({"AR", "CR"})
_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """MSA-1, MSA-2, and MSA-3 with the ERR segments in words."""

    code: str
    control: str
    text: str


@dataclass(frozen=True, slots=True)
class _Silence:
    """No acknowledgement. unused: the peer hung up before it said anything at all."""

    status: str
    answer: str
    unused: bool = False


class MllpSender:
    """A RIS or an interface engine, as `node.yaml` names it."""

    def __init__(self, name: str, settings: MllpDestination) -> None:
        self._name = name
        self._settings = settings

    @property
    def name(self) -> str:
        return self._name

    def carries(self, kind: str) -> bool:
        return kind == "hl7_oru"

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        outcomes: list[Outcome] = []
        line = _Line(self._settings)
        try:
            for parcel in parcels:
                if stopping():
                    outcomes.append(Outcome(parcel.delivery_id, Fate.TRY_LATER, ""))
                elif outcomes and outcomes[-1].fate is Fate.TRY_LATER:
                    outcomes.append(_waits_behind(parcel, outcomes[-1]))
                else:
                    outcomes.append(self._deliver(line, parcel))
        finally:
            line.close()
        return tuple(outcomes)

    def close(self) -> None:
        """Nothing is kept open."""

    def probe(self) -> str:
        line = _Line(self._settings)
        silence = line.open()
        line.close()
        return "" if silence is None else silence.answer

    def _deliver(self, line: _Line, parcel: Parcel) -> Outcome:
        control = control_id(parcel.payload)
        if not control:
            return _stopped(parcel, Fate.REJECTED, "no MSH-10", "the message has no MSH-10")
        if START in parcel.payload or b"\x1c" in parcel.payload:
            words = "the message holds bytes that would break its MLLP frame"
            return _stopped(parcel, Fate.REJECTED, "frame bytes", words)
        answer = line.exchange(START + parcel.payload + END, control)
        if isinstance(answer, _Silence):
            return Outcome(
                parcel.delivery_id,
                Fate.TRY_LATER,
                answer.answer,
                peer_wide=True,
                status=answer.status,
            )
        return judge(parcel, answer, self._settings.ae_retries)


def judge(parcel: Parcel, ack: Acknowledgement, ae_retries: int) -> Outcome:
    """What an acknowledgement of this very message means for it."""
    words = f"{ack.code}: {ack.text}" if ack.text else ack.code
    if ack.code in _GOOD:
        return Outcome(parcel.delivery_id, Fate.DELIVERED, words, status=ack.code)
    if ack.code in _ERROR and parcel.refusals < ae_retries:
        return Outcome(
            parcel.delivery_id,
            Fate.TRY_LATER,
            words,
            peer_wide=True,  # order is kept, so the rest waits behind it
            status=ack.code,
            refused=True,
        )
    return _stopped(parcel, Fate.HELD, ack.code, words)


def control_id(message: bytes) -> str:
    """MSH-10 of a message, "" if there is none."""
    head = message.split(b"\r", 1)[0]
    if head[:3] != b"MSH" or len(head) < 4:
        return ""
    fields = head.split(head[3:4])
    return fields[9].decode("utf-8", "replace").strip() if len(fields) > 9 else ""


def parse_acknowledgement(frame: bytes) -> Acknowledgement | None:
    """The acknowledgement in a frame; None if it is none (no MSH, no MSA, unknown code)."""
    lines = [line for line in re.split(r"[\r\n]+", frame.decode("utf-8", "replace")) if line]
    if not lines or not lines[0].startswith("MSH") or len(lines[0]) < 4:
        return None
    rows = [line.split(lines[0][3]) for line in lines]
    found = next((row for row in rows if row[0] == "MSA" and len(row) > 2), None)
    if found is None or found[1].strip() not in _GOOD | _ERROR | _REFUSED:
        return None
    texts = [found[3] if len(found) > 3 else ""]
    for row in rows:
        if row[0] == "ERR":
            # 2 where, 3 code, 7 diagnostic, 8 message for the user; 1 is what v2.3 had
            texts.append(" ".join(row[n] for n in (1, 2, 3, 7, 8) if n < len(row) and row[n]))
    return Acknowledgement(found[1].strip(), found[2].strip(), _clean(texts))


class _Line:
    """One connection, opened at the first message and again where the peer has hung up."""

    def __init__(self, settings: MllpDestination) -> None:
        self._settings = settings
        self._peer = f"{settings.host}:{settings.port}"
        self._socket: socket.socket | None = None
        self._used = False

    def open(self) -> _Silence | None:
        address = (self._settings.host, self._settings.port)
        try:
            self._socket = socket.create_connection(address, timeout=self._settings.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except socket.gaierror:
            words = f"host name {self._settings.host!r} of the HL7 receiver does not resolve"
            return _Silence("unreachable", words)
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            return _Silence("unreachable", f"no connection to {self._peer}: {words}")
        self._used = False
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, framed: bytes, control: str) -> Acknowledgement | _Silence:
        reused = self._used and self._socket is not None
        answer = self._once(framed, control)
        if reused and isinstance(answer, _Silence) and answer.unused:
            # Some receivers close after each message: that was an old connection, not an answer.
            answer = self._once(framed, control)
        return answer

    def _once(self, framed: bytes, control: str) -> Acknowledgement | _Silence:
        if self._socket is None and (silence := self.open()) is not None:
            return silence
        connection = self._socket
        assert connection is not None  # noqa: S101 - opened in the line above
        try:
            connection.settimeout(self._settings.timeout)
            connection.sendall(framed)
            answer = self._await(connection, control)
        except TimeoutError:
            answer = self._silence("did not read the message in time")
        except OSError:
            answer = self._hung_up(unused=True)
        if isinstance(answer, _Silence):
            self.close()  # whatever still comes on this connection would answer the wrong message
        self._used = True
        return answer

    def _await(self, connection: socket.socket, control: str) -> Acknowledgement | _Silence:
        deadline = time.monotonic() + self._settings.timeout
        buffer, total, stray = b"", 0, ""
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                chunk = connection.recv(4096)
            except TimeoutError:
                break
            if not chunk:
                return self._hung_up(unused=total == 0)
            total += len(chunk)
            frames, buffer = split_frames(buffer + chunk)
            for frame in frames:
                ack = parse_acknowledgement(frame)
                if ack is None:
                    return self._silence("answered with something that is no acknowledgement")
                if ack.control == control:
                    return ack
                stray = "; it acknowledged another message"  # whose id is not ours to repeat
            if total > MAX_ACK_BYTES:
                return self._silence(f"sent {MAX_ACK_BYTES} bytes and no acknowledgement")
        return self._silence(f"no acknowledgement within {self._settings.timeout:g} s{stray}")

    def _silence(self, what: str) -> _Silence:
        return _Silence("no acknowledgement", f"{self._peer}: {what}")

    def _hung_up(self, *, unused: bool) -> _Silence:
        what = f"{self._peer}: closed the connection without an acknowledgement"
        return _Silence("no acknowledgement", what, unused)


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """The complete MLLP frames in `data`, and what is left; bytes outside frames are dropped.

    The CR after FS is one of them: an answer of a peer that forgets it is an answer.
    """
    frames: list[bytes] = []
    while (end := data.find(END[:1])) >= 0:
        _, start, frame = data[:end].partition(START)
        if start:
            frames.append(frame)
        data = data[end + 1 :].removeprefix(END[1:])
    return frames, data


def _waits_behind(parcel: Parcel, first: Outcome) -> Outcome:
    why = first.answer.removeprefix("waits: ")
    return Outcome(parcel.delivery_id, Fate.TRY_LATER, why and f"waits: {why}", peer_wide=True)


def _stopped(parcel: Parcel, fate: Fate, status: str, words: str) -> Outcome:
    return Outcome(parcel.delivery_id, fate, words, status=status, alarm=True)


def _clean(texts: Sequence[str]) -> str:
    joined = "; ".join(text.strip() for text in texts if text.strip())
    plain = re.sub(r"\\([FSTRE])\\", lambda found: _ESCAPES[found[1]], joined)
    return "".join(char if char.isprintable() else " " for char in plain)[:500].strip()
