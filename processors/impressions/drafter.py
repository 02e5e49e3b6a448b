"""Drafts an impression: sources offer, the guard sifts, what was learnt chooses, urgency orders.

In: a Request. Out: a Draft, the most urgent sentence first, each with what it rests on and where it
comes from. The same request gives the same draft. Never: a sentence that the grounding objects to;
a critical finding of the findings left out; a word of a source that was not asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from processors.analysis import Algorithm, Impression, Sentence
from processors.impressions.composing import Extracts, Normals
from processors.impressions.criticality import impression_of
from processors.impressions.drafting import Candidate, Draft, Request, Source
from processors.impressions.guarding import Kept, passed, unguarded
from processors.impressions.mending import mend
from processors.impressions.scoring import CARD, SHIPPED, Judge, open_shipped
from processors.impressions.site import LARGEST, open_site
from processors.impressions.statements import case
from processors.runtime import read_verified

# sifted, it becomes what may not be missing, also where the findings are codes without a sentence
_NOTHING = Candidate("", "rule")


class RankedDrafter:
    """A Drafter over any sources. judge: chooses; its scores also lead the extracts."""

    def __init__(self, judge: Judge, sources: Sequence[Source] = ()) -> None:
        self._judge = judge
        self._sources: tuple[Source, ...] = (Extracts(judge), Normals(), *sources)

    def draft(self, request: Request, *, guard: bool = True) -> Draft:
        found = case(request)
        offered = [c for source in self._sources for c in source.candidates(request)]
        offered.append(_NOTHING)
        left = passed(offered, found) if guard else unguarded(offered)
        if not left:
            return Draft(Impression(request.language, ()), "rule")
        worth = self._judge.worth(found, [each.candidate for each in left])
        best = left[int(worth.argmax())]
        said = [Sentence(kept.text, _concepts(kept), kept.origin) for kept in best.sentences]
        if not guard:
            return Draft(impression_of(said, request.language), best.origin)
        mended = mend(said, request)
        impression = impression_of(mended.sentences, request.language)
        return Draft(impression, best.origin, (*best.refused, *mended.refused))


def algorithm(corpus: Path | None = None) -> Algorithm:
    """What chooses, for reports and audit; its weights are all files of the folder. Raises
    BundleError."""
    _, files = read_verified(SHIPPED if corpus is None else str(corpus), largest=LARGEST)
    card = json.loads(files[CARD])
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(hashlib.sha256(files[name]).digest())
    name = SHIPPED if corpus is None else f"{SHIPPED}, site's corpus"
    return Algorithm(name, str(card.get("version", "")) or "1", digest.hexdigest())


def open_drafter(corpus: Path | None = None, sources: Sequence[Source] = ()) -> RankedDrafter:
    """The drafter of the shipped bundle, or of a site's corpus folder. Raises BundleError."""
    if corpus is None:
        return RankedDrafter(open_shipped(), sources)
    judge = open_site(corpus)
    return RankedDrafter(judge, (judge, *sources))


def _concepts(kept: Kept) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mention.concept for mention in kept.rests_on))
