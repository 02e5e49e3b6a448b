"""The contract of drafting: what a draft is made from, who offers its text, what comes out.

In: a Request. Out: a Draft. A Source offers candidates and knows nothing of the others; a Drafter
asks its sources, chooses, and lets the guard judge. Never: the source of a text decides whether it
may be said (`grounding` does, for all of them alike); a report's patient, a clock, a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from processors.analysis import Impression
from processors.impressions.labeller import Mention

Origin = Literal["generated", "nearest", "rule"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a draft is made from.

    findings: the section as the radiologist wrote it, or sentences made of coded findings.
    language: en or es, of findings and draft. known: coded findings (`grounding.coded`).
    """

    findings: str
    language: str
    indication: str = ""
    known: tuple[Mention, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole impression that a source offers, and what kind of source it is."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Refused:
    """A sentence that the guard did not let pass, and why, in the draft's language."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted impression and what the guard took out of it.

    origin: of the candidate that was chosen; each sentence says where it comes from itself.
    """

    impression: Impression
    origin: Origin
    refused: tuple[Refused, ...] = ()


class Source(Protocol):
    """Offers impressions for a request: none is a good answer."""

    def candidates(self, request: Request) -> tuple[Candidate, ...]: ...


class Drafter(Protocol):
    """Drafts one impression. guard=False is for measuring what the guard costs, never for a node.

    Raises ValueError for a language without phrase list.
    """

    def draft(self, request: Request, *, guard: bool = True) -> Draft: ...
