"""Carries the instances of one request to the intake: what a C-STORE would do with each of them.

A `parts.Taker`. The head of a file names class, UID and transfer syntax, as command and context do
at the other door; what follows streams into a `Reception`, and `receive.finish` decides. An
instance is durable when its part has ended, the answer comes when all have.
Every method may block on the disk.
"""

from __future__ import annotations

import threading
from collections import Counter

from dicom_node import admission
from dicom_node.admission import CANNOT_UNDERSTAND, PROCESSING_FAILURE, Asked, Refused
from dicom_node.intake import receive
from dicom_node.intake.ledger import Sender
from dicom_node.intake.post import Ended
from dicom_node.intake.reception import House, Reception
from dicom_node.stow import part10
from dicom_node.stow.answer import Result
from dicom_node.stow.part10 import Head, NotAFile
from dicom_node.stow.parts import Parts
from dicom_node.stow.request import Wanted

TOO_LONG = Refused(PROCESSING_FAILURE, "an instance longer than limits.instance")
NO_FILE_PART = Refused(CANNOT_UNDERSTAND, "a part that is not application/dicom")


class Errand:
    """results: what became of each part that has ended, in their order."""

    def __init__(self, house: House, sender: Sender, wanted: Wanted, most_parts: int) -> None:
        self._house, self._sender, self._study_uid = house, sender, wanted.study_uid
        self._parts = Parts(wanted.boundary, most_parts, self)
        self.results: list[Result] = []
        self._postponed: Counter[str] = Counter()
        self._head: Head | None = None
        self._raw = bytearray()
        self._refused: Refused | None = None
        self._reception: Reception | None = None
        self._lock = threading.Lock()  # a stop closes it while a thread still waits for the disk
        self._closed = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body. Raises parts.BadBody."""
        with self._lock:
            if not self._closed:
                self._parts.feed(chunk)

    def finish(self) -> None:
        """The body is over. Raises parts.BadBody."""
        self._parts.close()

    def close(self) -> None:
        """Forget what is open and close the account; always call it."""
        with self._lock:
            self._closed = True
            self._drop()
        self._house.post.tell(Ended(self._sender, dict(self._postponed)))

    # ---- one part ---------------------------------------------------------------------------
    def begin(self, content_type: str) -> None:
        self._head, self._refused = None, None
        self._raw = bytearray()
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in ("", "application/dicom"):
            self._refused = NO_FILE_PART

    def data(self, chunk: memoryview) -> None:
        if self._refused:
            return
        if self._reception is None:
            self._raw += chunk
            self._look(whole=False)
        else:
            self._write(chunk)

    def end(self) -> None:
        if self._reception is None and not self._refused:
            self._look(whole=True)
        head = self._head or Head("", "", "", 0)
        if self._reception is not None:
            reception, self._reception = self._reception, None
            status = receive.finish(reception, self._postponed)
        else:
            refused = self._refused or TOO_LONG
            status = receive.refuse(self._house, self._sender, refused, self._study_uid)
        self.results.append(Result(head.sop_class, head.sop_uid, status))

    def _look(self, *, whole: bool) -> None:
        try:
            head = part10.read(self._raw, whole=whole)
        except NotAFile as error:
            self._refused = Refused(CANNOT_UNDERSTAND, str(error))
            return
        if head is None:
            return
        self._head = head
        self._refused = admission.admit_file(head.sop_class, head.transfer_syntax)
        if self._refused:
            return
        asked = Asked(head.sop_class, head.sop_uid, head.sop_class, study_uid=self._study_uid)
        self._reception = Reception(self._house, self._sender, asked, head.transfer_syntax)
        rest, self._raw = memoryview(bytes(self._raw))[head.size :], bytearray()
        if rest:
            self._write(rest)

    def _write(self, chunk: memoryview) -> None:
        if self._reception is None:
            return
        self._reception.write(chunk)
        if self._reception.size > self._house.settings.intake.limits.instance:
            self._refused = TOO_LONG
            self._drop()

    def _drop(self) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.discard()
