"""How far a final impression agrees with the draft that its reader had: words and findings.

In: both texts and their language. Out: an Agreement: edits (words), ROUGE (Lin 2004), findings that
both assert, and what the reader added, removed or contradicted, as the labeller reads them.
Accents are folded before words are compared: rouge-score keeps a-z and 0-9 alone and would cut
"neumotórax" in two. Never: a judgement on the reader; a difference says that two texts differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from rapidfuzz.distance import Levenshtein

from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.labeller import Mention, read, summary
from processors.impressions.text import fold

ROUGE = ("rouge1", "rouge2", "rougeL")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one draft with one final impression.

    edits: word edits from draft to final; words: of the longer text. rouge1, rouge2, rougeL: F1,
    0..1, the final as reference. both, added, removed: findings asserted by both, by the final
    alone, by the draft alone. contradicted: asserted by one and denied by the other, or on
    different sides; these stand in no other list.
    """

    edits: int
    words: int
    rouge1: float
    rouge2: float
    rougeL: float
    both: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    contradicted: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def compare(draft: str, final: str, language: str) -> Agreement:
    """Compare a draft with the final impression. Raises ValueError for an unknown language."""
    ours, theirs = _WORD.findall(fold(draft)), _WORD.findall(fold(final))
    scores = _scorer(language).score(final, draft)
    mentions = read(draft, language), read(final, language)
    drafted, signed = (summary(each) for each in mentions)
    asserted, kept = _asserted(drafted), _asserted(signed)
    sides = {f for f in asserted & kept if _apart(f, *mentions)}
    denied = {f for f in asserted if signed.get(f) is Assertion.ABSENT}
    denied |= {f for f in kept if drafted.get(f) is Assertion.ABSENT}
    rouge1, rouge2, rouge_l = (round(float(scores[name].fmeasure), 4) for name in ROUGE)
    return Agreement(
        edits=Levenshtein.distance(ours, theirs),
        words=max(len(ours), len(theirs)),
        rouge1=rouge1,
        rouge2=rouge2,
        rougeL=rouge_l,
        both=_sorted(asserted & kept - sides),
        added=_sorted(kept - asserted - denied),
        removed=_sorted(asserted - kept - denied),
        contradicted=_sorted(denied | sides),
    )


def _asserted(states: Mapping[str, Assertion]) -> set[str]:
    return {finding for finding, state in states.items() if state in ASSERTED}


def _apart(finding: str, ours: tuple[Mention, ...], theirs: tuple[Mention, ...]) -> bool:
    """Whether both texts name sides of a finding, and none in common."""
    mine, yours = (
        {side for m in each if m.finding == finding and m.state in ASSERTED for side in m.sides}
        for each in (ours, theirs)
    )
    return bool(mine and yours and not mine & yours)


def _sorted(findings: set[str]) -> tuple[str, ...]:
    return tuple(sorted(findings))


@cache
def _scorer(language: str) -> Any:
    # loaded here: nltk below it takes a second, and most workers never compare
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    inner = DefaultTokenizer(use_stemmer=language == "en")  # its stemmer knows English alone

    class Folded:
        def tokenize(self, text: str) -> list[str]:
            found: list[str] = inner.tokenize(fold(text))
            return found

    return RougeScorer(list(ROUGE), tokenizer=Folded())
