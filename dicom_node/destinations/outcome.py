"""The contract of destinations: parcels in, one typed outcome each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Fate(StrEnum):
    """What a caller does next."""

    DELIVERED = "delivered"
    DELIVERED_WITH_WARNING = "delivered_with_warning"  # stored, status Bxxx
    REJECTED = "rejected"  # permanent: sending again cannot help
    HELD = (
        "held"  # the peer refused the content for good (AR, AE after its retries): a person decides
    )
    TRY_LATER = "try_later"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One report on its way. kind, uid, sop_class and payload as in `reports.Report`.

    attempts: 1 at the first try; grows while a peer is down too. refusals: how often the peer
    itself refused this very content so far; what "a few times, then held" counts.
    """

    delivery_id: int
    kind: str
    uid: str
    sop_class: str
    payload: bytes
    study_uid: str
    attempts: int
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """answer: the peer's own words: "0xB000", "RJ 1/1/7 called AE title not recognised", "AE: ..".

    An empty answer with TRY_LATER means "not tried". status: the answer without the peer's free
    text, so without any patient's data: what a log may carry. peer_wide: the peer as a whole did
    not answer, so the rest of the batch waits as well and keeps its place. refused: the peer
    refused this content, which counts as one refusal. alarm: no time heals this, a person must
    look; where it is peer-wide, retries are slow.
    """

    delivery_id: int
    fate: Fate
    answer: str
    peer_wide: bool = False
    status: str = ""
    refused: bool = False
    alarm: bool = False


class Destination(Protocol):
    """One peer. `send` never raises for what a peer or a network does."""

    @property
    def name(self) -> str: ...

    def carries(self, kind: str) -> bool:
        """Whether this peer can take that kind of report."""

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        """Try each parcel once, in order; one Outcome per parcel."""

    def close(self) -> None:
        """Let go of what is kept open for the next `send`; harmless when done twice."""

    def probe(self) -> str:
        """The peer's own reason with its address, "" if it answers (C-ECHO, connect, writable)."""
