"""What the choice among candidates looks at: numbers of a candidate against the findings.

In: a Case, the scores of its statements, what is expected of the impression, candidates. Out: a
table (candidates, len(FEATURES)). All of it is counted or linked by our phrase lists, whoever
offered the candidate. Never: a word of a report as a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from processors.impressions.assertion import ASSERTED
from processors.impressions.drafting import Candidate
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import concepts
from processors.impressions.overlap import content, words
from processors.impressions.phrasing import counts, phrasing
from processors.impressions.statements import Case, Numbers, fourteen, names
from processors.impressions.text import sentences

_ORIGINS = ("rule", "nearest", "generated")
_FLAGS = tuple(phrasing("en").flags)
_MATCH = 0.9  # how far a sentence that names a statement's concept in other words says the same
_COVERED = 0.5

FEATURES = (
    *(f"origin {name}" for name in _ORIGINS),
    *("normal phrase", "normal first", "normal last", "sentences", "words", "words over expected"),
    *("foreign words", "foreign sentences", "longest sentence"),
    *("covered", "score sum", "score max", "score min", "score missed", "score mean"),
    *("asserted both", "asserted only here", "asserted only there", "critical missed", "denied"),
    *("doubted", "asserts nothing", "as written"),
    *(f"words {name}" for name in _FLAGS),
    *("expected to assert", "expected length", "statements", "asserting", "score first"),
    *("score second", "score third", "urgent", "asked length", "shown length"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an impression of these findings is expected to be. asserts: probability that it names
    a finding. length: words."""

    asserts: float
    length: float


@dataclass(frozen=True, slots=True)
class _Piece:
    """One sentence of a candidate, read once however many candidates hold it."""

    text: str
    words: tuple[str, ...]
    content: frozenset[str]
    mentions: tuple[Mention, ...]


@lru_cache(maxsize=2048)
def _piece(text: str, language: str) -> _Piece:
    return _Piece(text, words(text), content(text), read(text, language))


@lru_cache(maxsize=2048)
def pieces(text: str) -> tuple[str, ...]:
    """The sentences of a candidate."""
    return tuple(span.text for span in sentences(text))


def features(
    case: Case, scores: Numbers, expected: Expected, candidates: Sequence[Candidate]
) -> Numbers:
    """The numbers of each candidate: (candidates, len(FEATURES)) float32."""
    language = case.request.language
    said = {text: _piece(text, language) for c in candidates for text in pieces(c.text)}
    links = {text: _links(piece, case) for text, piece in said.items()}
    known = frozenset(w for s in case.statements for w in words(s.text))
    rows = [
        _row(case, c, [said[t] for t in pieces(c.text)], links, scores, expected, known)
        for c in candidates
    ]
    return np.asarray(rows, np.float32).reshape(len(rows), len(FEATURES))


def _links(piece: _Piece, case: Case) -> Numbers:
    """How far a sentence says each statement: share of its words, or the same thing asserted."""
    ours = {m.concept for m in piece.mentions if names(m)}
    found = np.zeros(len(case.statements), np.float32)
    for i, statement in enumerate(case.statements):
        shared = len(piece.content & content(statement.text)) / max(1, len(piece.content))
        same = ours & {m.concept for m in statement.mentions if names(m)}
        found[i] = max(shared, _MATCH if same else 0.0)
    return found


def findings(mentions: Sequence[Mention]) -> frozenset[str]:
    """The findings that mentions assert; of the fourteen by their name, others by concept."""
    return frozenset(concepts()[m.concept].finding or m.concept for m in mentions if names(m))


def asserts(candidates: Sequence[Candidate], language: str) -> Numbers:
    """1 for each candidate that asserts one of the fourteen findings."""
    said = ((_piece(t, language) for t in pieces(c.text)) for c in candidates)
    told = [float(bool(fourteen(m for p in each for m in p.mentions))) for each in said]
    return np.asarray(told, np.float32)


def _row(
    case: Case,
    candidate: Candidate,
    said: Sequence[_Piece],
    links: Mapping[str, Numbers],
    scores: Numbers,
    expected: Expected,
    known: frozenset[str],
) -> list[float]:
    phrases = phrasing(case.request.language)
    mentions = [m for piece in said for m in piece.mentions]
    count = sum(len(piece.words) for piece in said)
    foreign = sum(w not in known for piece in said for w in piece.words)
    covers = [links[piece.text] for piece in said]
    cover = np.max(covers, axis=0) if covers and len(scores) else np.zeros(len(scores), np.float32)
    held = scores[cover >= _COVERED]
    left = scores[cover < _COVERED]
    best = np.sort(scores)[::-1]
    ours, theirs = findings(mentions), findings([m for s in case.statements for m in s.mentions])
    named = {m.concept for m in mentions} | {m.finding for m in mentions if m.finding}
    calm = [*phrases.normals, *phrases.unremarkable]
    place = [calm.index(piece.text) if piece.text in calm else -1 for piece in said]
    return [
        *(float(candidate.origin == name) for name in _ORIGINS),
        float(max(place, default=-1)),
        float(bool(place) and place[0] >= 0),
        float(bool(place) and place[-1] >= 0),
        float(len(said)),
        float(count),
        float(count - expected.length),
        foreign / max(1, count),
        float(sum(not len(c) or float(c.max()) < _COVERED for c in covers)),
        float(max((len(piece.words) for piece in said), default=0)),
        float(len(held)),
        float(np.sum(scores * cover)),
        float(np.max(scores * cover, initial=0.0)),
        float(np.min(held, initial=1.0)),
        float(np.max(left, initial=0.0)),
        float(np.sum(held) / max(1, len(held))),
        float(len(ours & theirs)),
        float(len(ours - theirs)),
        float(len(theirs - ours)),
        float(sum(m.concept not in named and m.finding not in named for m in case.critical)),
        float(sum(m.state not in ASSERTED for m in mentions)),
        float(sum(m.state in ASSERTED for m in mentions) - len(ours)),
        float(not ours),
        float(sum(piece.text in {s.text for s in case.statements} for piece in said)),
        *counts(candidate.text, phrases.flags),
        expected.asserts,
        expected.length,
        float(len(case.statements)),
        float(sum(s.asserts for s in case.statements)),
        *(float(best[i]) if i < len(best) else 0.0 for i in range(3)),
        float(min((s.urgency for s in case.statements), default=4)),
        float(len(case.request.indication.split())),
        float(len(known)),
    ]
