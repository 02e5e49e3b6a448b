"""Takes out of candidates what the grounding does not let pass; puts in what may not be missing.

In: candidates of any source and the Case they are for. Out: for each what is left of it, every
sentence with the mentions it rests on, and what was taken out with its reason. A critical finding
that a candidate leaves out is told in the findings' own sentence. That is done before the choice,
so that what is chosen is what will be read; `mending` has the last word. Never: a changed sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processors.impressions.drafting import Candidate, Origin, Refused
from processors.impressions.facts import facts_of
from processors.impressions.features import pieces
from processors.impressions.grounding import Verdict, judge
from processors.impressions.labeller import Mention, read
from processors.impressions.omissions import left_out
from processors.impressions.phrasing import said
from processors.impressions.statements import Case


@dataclass(frozen=True, slots=True)
class Kept:
    """A sentence that may be said, the mentions of the findings behind it, and its source."""

    text: str
    rests_on: tuple[Mention, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left of a candidate; refused: what was taken out of it."""

    origin: Origin
    sentences: tuple[Kept, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """As the choice sees it."""
        return Candidate(" ".join(s.text for s in self.sentences), self.origin)


def unguarded(candidates: Sequence[Candidate]) -> tuple[Passed, ...]:
    """Every candidate as offered, resting on nothing."""
    return tuple(
        Passed(c.origin, tuple(Kept(text, (), c.origin) for text in pieces(c.text)))
        for c in candidates
        if pieces(c.text)
    )


def passed(candidates: Sequence[Candidate], found: Case) -> tuple[Passed, ...]:
    """What may be said of each candidate; those of which nothing is left are gone."""
    request = found.request
    facts = facts_of(request.findings, request.language, request.known)
    own = _own_words(found)
    offered = (*(c.text for c in candidates), *own.values())
    verdicts = {t: judge(t, facts) for t in dict.fromkeys(p for o in offered for p in pieces(o))}
    left: dict[tuple[str, ...], Passed] = {}
    for candidate in candidates:
        kept, refused = [], []
        for text in dict.fromkeys(pieces(candidate.text)):
            verdict = verdicts[text]
            if verdict.supported:
                kept.append(Kept(text, verdict.rests_on, candidate.origin))
            else:
                refused.append(Refused(text, verdict.objections[0].reason))
        kept += _missing(kept, found, own, verdicts)
        if kept:
            whole = Passed(candidate.origin, tuple(kept), tuple(refused))
            left.setdefault(tuple(k.text for k in kept), whole)
    return tuple(left.values())


def _own_words(found: Case) -> Mapping[Mention, str]:
    """The sentence that tells each mention: of the findings, or by rule if coded."""
    language = found.request.language
    told = {m: s.short for s in found.statements for m in s.mentions}
    return told | {m: text for m in found.request.known if (text := said(m, language))}


def _missing(
    kept: Sequence[Kept],
    found: Case,
    own: Mapping[Mention, str],
    verdicts: Mapping[str, Verdict],
) -> list[Kept]:
    """The sentences that tell the critical findings which those kept leave out."""
    told = [m for k in kept for m in read(k.text, found.request.language)]
    known = (*(m for s in found.statements for m in s.mentions), *found.request.known)
    added: dict[str, Kept] = {}
    for mention in left_out(known, told, found.request.language):
        for piece in pieces(own.get(mention, "")):
            if verdicts[piece].supported:
                behind = verdicts[piece].rests_on or (mention,)
                added.setdefault(piece, Kept(piece, behind, "rule"))
    return list(added.values())
