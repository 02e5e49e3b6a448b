"""Takes out of candidates what the grounding does not let pass; puts in what may not be missing.

In: candidates of any source and the Case they are for. Out: for each what is left of it, every
sentence with the mentions it rests on, and what was taken out with its reason. A critical finding
that a candidate leaves out is told in the findings' own sentence. All candidates are judged in one
pass, before the choice among them. Never: a changed sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processors.impressions.assertion import Assertion
from processors.impressions.criticality import Category
from processors.impressions.drafting import Candidate, Origin, Refused, Request
from processors.impressions.faults import REASONS, Fault
from processors.impressions.features import pieces
from processors.impressions.grounding import Verdict, check
from processors.impressions.labeller import Mention, read
from processors.impressions.phrasing import said
from processors.impressions.statements import Case

_CALM = "acute_disease"


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
    own = _own_words(found)
    offered = (*(c.text for c in candidates), *own.values())
    wanted = dict.fromkeys(piece for text in offered for piece in pieces(text))
    verdicts = _verdicts(tuple(wanted), request)
    left: dict[tuple[str, ...], Passed] = {}
    for candidate in candidates:
        kept, refused = [], []
        for text in dict.fromkeys(pieces(candidate.text)):
            verdict = verdicts[text]
            if reason := _reason(verdict, found):
                refused.append(Refused(text, reason))
            else:
                kept.append(Kept(text, verdict.rests_on, candidate.origin))
        kept += _missing(kept, found, own, verdicts)
        if kept:
            whole = Passed(candidate.origin, tuple(kept), tuple(refused))
            left.setdefault(tuple(k.text for k in kept), whole)
    return tuple(left.values())


def _verdicts(texts: Sequence[str], request: Request) -> Mapping[str, Verdict]:
    """The verdict on each sentence: of all in one pass, and alone where the pass cut it otherwise,
    as it does a sentence whose last word looks like the number of a list."""

    def judged(draft: str) -> tuple[Verdict, ...]:
        return check(draft, request.findings, request.language, request.known).sentences

    verdicts = {verdict.sentence: verdict for verdict in judged("\n".join(texts))}
    for text in texts:
        if text not in verdicts:
            verdicts[text] = judged(text)[0]
    return verdicts


def _own_words(found: Case) -> Mapping[Mention, str]:
    """The sentence that tells each critical mention: of the findings, or by rule if coded."""
    language = found.request.language
    told = {m: s.short for s in found.statements for m in s.mentions if m in found.critical}
    return told | {m: text for m in found.request.known if (text := said(m, language))}


def _reason(verdict: Verdict, found: Case) -> str:
    """Why a sentence may not be said; "" where it may."""
    if verdict.objections:
        return verdict.objections[0].reason
    language = found.request.language
    urgent = [s for s in found.statements if s.urgency <= Category.HOURS]
    calm = [m for m in read(verdict.sentence, language) if m.concept == _CALM]
    if urgent and any(m.state is Assertion.ABSENT for m in calm):
        return REASONS[language][Fault.NEGATION].format(what=urgent[0].text.rstrip("."))
    return ""


def _missing(
    kept: Sequence[Kept],
    found: Case,
    own: Mapping[Mention, str],
    verdicts: Mapping[str, Verdict],
) -> list[Kept]:
    """The sentences that tell the critical findings which those kept leave out."""
    mentions = [m for k in kept for m in read(k.text, found.request.language)]
    names = {m.concept for m in mentions} | {m.finding for m in mentions if m.finding}
    added: dict[str, Kept] = {}
    for mention in found.critical:
        text = own.get(mention, "")
        if text and mention.concept not in names and mention.finding not in names:
            for piece in pieces(text):
                added.setdefault(piece, Kept(piece, verdicts[piece].rests_on or (mention,), "rule"))
    return list(added.values())
