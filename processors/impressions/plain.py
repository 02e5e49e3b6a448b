"""Drafts an impression out of the findings' own sentences: nothing learnt, nothing rephrased.

In: a Request. Out: a Draft: the sentences that assert a finding, most urgent first; one of our own
phrases where none does. Every sentence passes the grounding like any other. The drafter of a node
that has no other. Never: a sentence that the findings do not hold, but the phrase for none.
"""

from __future__ import annotations

import hashlib
from importlib import resources

from processors.analysis import Algorithm, Impression, Sentence
from processors.impressions import grounding
from processors.impressions.assertion import ASSERTED
from processors.impressions.criticality import in_order, ranked
from processors.impressions.drafting import Draft, Refused, Request
from processors.impressions.labeller import Mention, read
from processors.impressions.text import sentences

NOTHING = {
    "en": "The findings describe no abnormality.",
    "es": "Los hallazgos no describen alteraciones.",
}
_VERSION = "1.0.0"


class PlainDrafter:
    """A Drafter by rule alone."""

    def draft(self, request: Request, *, guard: bool = True) -> Draft:
        """Raises ValueError for a language without phrase list."""
        spoken = tuple(span.text for span in sentences(request.findings))
        telling = [one for one in spoken if _asserts(read(one, request.language))]
        chosen = in_order(tuple(dict.fromkeys(telling)), request.language)
        kept, refused = [], []
        for text in chosen or (NOTHING[request.language],):
            found = grounding.check(text, request.findings, request.language, request.known)
            faults = [o for verdict in found.sentences for o in verdict.objections]
            if guard and faults:
                refused.append(Refused(text, "; ".join(o.reason for o in faults)))
            else:
                rests = [m for verdict in found.sentences for m in verdict.rests_on]
                kept.append(Sentence(text, tuple(dict.fromkeys(m.concept for m in rests))))
        urgent = ranked(read(" ".join(s.text for s in kept), request.language), request.language)
        criticality = urgent[0].category.name.lower() if urgent else "routine"
        impression = Impression(request.language, tuple(kept), criticality)
        return Draft(impression, "rule", tuple(refused))


def algorithm() -> Algorithm:
    """Name, version, and the digest of the phrase lists, which are its weights."""
    lists = resources.files(__package__) / "phrases"
    content = hashlib.sha256()
    for file in sorted(lists.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            content.update(file.read_bytes())
    return Algorithm("findings-in-order", _VERSION, content.hexdigest())


def _asserts(mentions: tuple[Mention, ...]) -> bool:
    return any(mention.state in ASSERTED for mention in mentions)
