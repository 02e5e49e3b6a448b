"""Sends reports to a PACS by C-STORE: batch by batch, one Outcome per instance.

An association that served a batch stays open for the next one, for `keep_open` seconds of silence.

Decides what a peer's answer means (PS3.4 B.2.3, PS3.7 annex C, PS3.8 9.3.4) and says it in words
that name both AE titles and the address. A lost answer is TRY_LATER, so the same SOP Instance UID
goes again and the PACS sees a duplicate, not a second result. Never: a retry, a new UID.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association

from config.settings import DicomDestination
from dicom_node.destinations import streaming
from dicom_node.destinations.outcome import Fate, Outcome, Parcel
from dicom_node.destinations.warm import Warm, release

HL7_KINDS = frozenset({"hl7_oru"})  # everything else that reports write is a DICOM instance
VERIFICATION = "1.2.840.10008.1.1"
OURS = frozenset(  # what reports are: an association that is kept is opened for all of them
    (
        ComprehensiveSRStorage, EnhancedSRStorage, SecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage, SegmentationStorage,
    )
)  # fmt: skip
# An A9xxH or CxxxH may be a hiccup of the peer (a locked row, a worker that died), so the same
# bytes are tried this often before a person must look.
REFUSALS_BEFORE_REJECTED = 3
SLOWEST_LINK = 2**20  # bytes a second; the answer to a large instance may take as much longer
_NO_ANSWER = "no answer"
_HUNG_UP = "took the connection but accepted no association"
_PROBES = 3
_FAREWELL = 2.0  # seconds in which pynetdicom notices that the line is dead or its abort is out
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = range(0xB000, 0xC000)
# 0111H, duplicate SOP Instance: our own earlier send whose answer was lost. The others are the
# warnings of PS3.7 annex C that no storage class should answer, yet some do.
_OTHER_WARNINGS = frozenset({0x0001, 0x0107, 0x0111, 0x0116})
_NOT_AUTHORISED = 0x0124
_CONTEXT_REFUSED = {
    1: "refused by the peer's user",
    2: "refused without a reason",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
_AE_ADVICE = {
    3: "enter {calling} with this node's address in the PACS",
    7: "correct ae_title of destination {name}",
}


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a whole association brought nothing. alarm: only a person can change that."""

    status: str
    answer: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class _Readable:
    """A parcel whose payload is a DICOM instance that can be offered; header: without pixels."""

    parcel: Parcel
    header: Dataset


class DicomSender:
    """A PACS, as `node.yaml` names it."""

    def __init__(self, name: str, settings: DicomDestination, calling_ae: str) -> None:
        self._name = name
        self._settings = settings
        self._calling = calling_ae
        self._warm = Warm(settings.keep_open)

    @property
    def name(self) -> str:
        return self._name

    def carries(self, kind: str) -> bool:
        return kind not in HL7_KINDS

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        outcomes: dict[int, Outcome] = {}
        ready: list[_Readable] = []
        for parcel in parcels:
            found = _read(parcel)
            if isinstance(found, Outcome):
                outcomes[parcel.delivery_id] = found
            else:
                ready.append(found)
        if ready:
            for outcome in self._send_batch(ready, stopping):
                outcomes[outcome.delivery_id] = outcome
        return tuple(outcomes[parcel.delivery_id] for parcel in parcels)

    def probe(self) -> str:
        """Asks again where the peer hung up: a reset can swallow the rejection it had sent."""
        began = time.monotonic()
        for _ in range(_PROBES - 1):
            answer = self._probe()
            if _HUNG_UP not in answer or time.monotonic() - began > _FAREWELL:
                return answer
        return self._probe()

    def _probe(self) -> str:
        with self._association((VERIFICATION,)) as opened:
            if isinstance(opened, _Failure):
                return opened.answer
            if VERIFICATION not in _accepted(opened):
                return f"{self._peer()} does not take part in Verification (C-ECHO)"
            answer = _echo(opened)
        if answer is None:
            return f"{self._peer()} did not answer the C-ECHO within {self._settings.timeout:g} s"
        return "" if answer == 0 else f"{self._peer()} answered the C-ECHO with 0x{answer:04X}"

    # -- one batch -------------------------------------------------------------------------------

    def _send_batch(
        self, batch: Sequence[_Readable], stopping: Callable[[], bool]
    ) -> Iterator[Outcome]:
        classes = frozenset(str(item.header.SOPClassUID) for item in batch)
        if found := self._warm.take(classes):
            outcomes = list(self._over(found[0], batch, stopping))
            if stopping() or (outcomes[0].status != _NO_ANSWER and outcomes[0].answer):
                if not self._warm.keep(*found):
                    release(found[0])
                yield from outcomes
                return
            # The peer had let go of it meanwhile, or lost the answer: the same UIDs, once more.
        proposed = classes | OURS if self._warm.seconds else classes
        with self._association(tuple(sorted(proposed)), keep=True) as opened:
            if isinstance(opened, _Failure):
                yield from (_later(item.parcel, opened) for item in batch)
                return
            yield from self._over(opened, batch, stopping)

    def _over(
        self, opened: Association, batch: Sequence[_Readable], stopping: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """One outcome of each over this association."""
        accepted = _accepted(opened)
        for place, item in enumerate(batch):
            if stopping():
                yield from (_not_tried(rest.parcel) for rest in batch[place:])
                return
            if str(item.header.SOPClassUID) not in accepted:
                yield self._class_refused(item, opened)
                continue
            outcome = self._store(opened, item)
            yield outcome
            if outcome.status == _NO_ANSWER or not opened.is_established:
                lost = _Failure("association lost", f"{self._peer()} dropped the association")
                yield from (_later(rest.parcel, lost) for rest in batch[place + 1 :])
                return

    def close(self) -> None:
        """Release the association that is kept, if one is."""
        self._warm.close()

    def _store(self, association: Association, item: _Readable) -> Outcome:
        payload = item.parcel.payload
        association.dimse_timeout = self._settings.timeout + len(payload) / SLOWEST_LINK
        try:
            with streaming.answers_for_us(association):
                if streaming.can_stream(association, item.header):
                    answer = streaming.store(association, item.header, payload)
                else:
                    answer = association.send_c_store(dcmread(BytesIO(payload)))
        except RuntimeError:  # the peer aborted between two instances
            return _not_tried(item.parcel)
        except (ValueError, AttributeError) as error:
            return _rejected(item.parcel, "not sendable", f"not sendable: {type(error).__name__}")
        if "Status" not in answer:
            what = f"{self._peer()} did not answer the C-STORE in time, or hung up"
            association.join(_FAREWELL)
            return Outcome(item.parcel.delivery_id, Fate.TRY_LATER, what, status=_NO_ANSWER)
        return judge(item.parcel, answer.Status, str(answer.get("ErrorComment", "")))

    def _class_refused(self, item: _Readable, association: Association) -> Outcome:
        wanted = item.header.SOPClassUID
        result = {str(cx.abstract_syntax): cx.result for cx in association.rejected_contexts}
        why = _CONTEXT_REFUSED.get(result.get(str(wanted)) or 0, "no answer to this context")
        words = f"{self._peer()} does not take {wanted.name} ({wanted}): {why}"
        return _rejected(item.parcel, f"context refused: {wanted.name}", words)

    # -- one association -------------------------------------------------------------------------

    @contextmanager
    def _association(
        self, classes: Sequence[str], *, keep: bool = False
    ) -> Iterator[Association | _Failure]:
        """An established association, or one without any accepted context, or why there is none.

        keep: afterwards it waits for the next batch, as far as the settings say so.
        """
        entity = AE(ae_title=self._calling)
        entity.acse_timeout = entity.dimse_timeout = self._settings.timeout
        entity.network_timeout = entity.connection_timeout = self._settings.timeout
        for uid in classes:
            entity.add_requested_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        connected: list[bool] = []

        def tune(event: evt.Event) -> None:
            connected.append(True)
            _tune(event.assoc.dul.socket.socket, self._settings.timeout)

        try:
            association = entity.associate(
                self._settings.host,
                self._settings.port,
                ae_title=self._settings.ae_title,
                evt_handlers=[(evt.EVT_CONN_OPEN, tune)],
            )
        except OSError as error:  # the name does not resolve
            yield _Failure("unreachable", self._unreachable(error))
            return
        try:
            if association.is_established or association.rejected_contexts:
                yield association
            elif connected:
                yield self._refusal(association)
            else:
                yield _Failure("unreachable", self._unreachable(self._connect_error()))
        finally:
            if not (keep and self._warm.keep(association, frozenset(classes))):
                release(association)

    def _refusal(self, association: Association) -> _Failure:
        primitive = association.acceptor.primitive
        if not association.is_rejected or primitive is None:
            what = f"{self._peer()} {_HUNG_UP} within {self._settings.timeout:g} s"
            titles = f"does it know the AE titles {self._settings.ae_title} and {self._calling}?"
            return _Failure("no association", f"{what}; {titles}")
        return rejection_words(
            (primitive.result, primitive.result_source, primitive.diagnostic),
            primitive.reason_str,
            f"{self._peer()}, called by {self._calling}",
            _AE_ADVICE.get(primitive.diagnostic, "").format(calling=self._calling, name=self._name),
        )

    def _connect_error(self) -> OSError:
        """pynetdicom only logs why a connection failed: ask once more, without a PDU."""
        address = (self._settings.host, self._settings.port)
        try:
            socket.create_connection(address, timeout=self._settings.timeout).close()
        except OSError as error:
            return error
        return OSError("it answers only now and then")

    def _unreachable(self, error: OSError) -> str:
        if isinstance(error, socket.gaierror):
            return f"host name {self._settings.host!r} of destination {self._name} does not resolve"
        return f"no connection to {self._peer()}: {(error.strerror or str(error)).lower()}"

    def _peer(self) -> str:
        return f"{self._settings.ae_title} at {self._settings.host}:{self._settings.port}"


def judge(parcel: Parcel, status: int, comment: str = "") -> Outcome:
    """What one C-STORE status means for one instance (PS3.4 table B.2-1, PS3.7 annex C)."""
    code = f"0x{status:04X}"
    answer = f"{code}: {_clean(comment)}" if comment else code
    number = parcel.delivery_id
    if status == 0:
        return Outcome(number, Fate.DELIVERED, answer, status=code)
    if status in _WARNINGS or status in _OTHER_WARNINGS:
        return Outcome(number, Fate.DELIVERED_WITH_WARNING, answer, status=code)
    if status in _OUT_OF_RESOURCES:
        return Outcome(number, Fate.TRY_LATER, answer, status=code)
    if status == _NOT_AUTHORISED:
        return Outcome(number, Fate.TRY_LATER, answer, peer_wide=True, status=code, alarm=True)
    if parcel.refusals + 1 < REFUSALS_BEFORE_REJECTED:
        return Outcome(number, Fate.TRY_LATER, answer, status=code, refused=True)
    return Outcome(number, Fate.REJECTED, answer, status=code, refused=True, alarm=True)


def rejection_words(
    code: tuple[int, int, int], reason: str, between: str, advice: str = ""
) -> _Failure:
    """An A-ASSOCIATE-RJ (result, source, reason; PS3.8 table 9-21) in words."""
    result, source, diagnostic = code
    status = f"RJ {result}/{source}/{diagnostic}"
    permanent = result == 1
    words = f"{status} {reason[:1].lower()}{reason[1:]} ({between})"
    hint = f"; {advice}" if advice and source == 1 else ""
    return _Failure(status, words + hint, alarm=permanent)


def _tune(connection: socket.socket, timeout: float) -> None:
    # Nagle's algorithm costs 40 ms an instance; without a time-out a peer that stops reading
    # would hold the sending thread for ever.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(timeout)


def _read(parcel: Parcel) -> _Readable | Outcome:
    try:
        dataset = streaming.read_header(parcel.payload)
    except (InvalidDicomError, EOFError, ValueError) as error:
        return _rejected(parcel, "not DICOM", f"not a DICOM file: {type(error).__name__}")
    if str(dataset.get("SOPInstanceUID", "")) != parcel.uid or "SOPClassUID" not in dataset:
        return _rejected(parcel, "not DICOM", f"the file is not instance {parcel.uid}")
    if "TransferSyntaxUID" not in dataset.file_meta:
        return _rejected(parcel, "not DICOM", "the file names no transfer syntax")
    return _Readable(parcel, dataset)


def _accepted(association: Association) -> frozenset[str]:
    return frozenset(str(UID(cx.abstract_syntax)) for cx in association.accepted_contexts)


def _echo(association: Association) -> int | None:
    try:
        with streaming.answers_for_us(association):
            answer: Any = association.send_c_echo()
    except (RuntimeError, ValueError):
        return None
    return int(answer.Status) if "Status" in answer else None


def _later(parcel: Parcel, failure: _Failure) -> Outcome:
    return Outcome(
        parcel.delivery_id,
        Fate.TRY_LATER,
        failure.answer,
        peer_wide=True,
        status=failure.status,
        alarm=failure.alarm,
    )


def _not_tried(parcel: Parcel) -> Outcome:
    return Outcome(parcel.delivery_id, Fate.TRY_LATER, "")


def _rejected(parcel: Parcel, status: str, answer: str) -> Outcome:
    return Outcome(parcel.delivery_id, Fate.REJECTED, answer, status=status, alarm=True)


def _clean(text: str) -> str:
    # A peer's comment ends on terminals and in the audit log: no control characters, no novel.
    return "".join(char if char.isprintable() else " " for char in text)[:200].strip()
