"""Sentences of a findings section of which no phrase list knows a thing.

In: a findings section. Out: the sentences that name no known finding, deny nothing, call nothing
normal and are not about how the images were made: "right hilar fullness"; those, too, that only
deny known findings behind such words: "acute appendicitis without abscess". What they say is not
understood, so a draft may not call the rest well beside them, and quotes them.
Never: a guess at what they mean; a sentence of which a mask hides a word.
"""

from __future__ import annotations

import re
from functools import lru_cache

from processors.impressions.assertion import Assertion
from processors.impressions.labeller import read
from processors.impressions.lexicon import Lexicon, lexicon
from processors.impressions.text import MASK, fold, sentences

# behind which nothing but denials follows: "acute appendicitis without perforation"
_WITHOUT = re.compile(r"(?:(?<! is)(?<! are),? (?:without|sin)|, no)\b", re.I)
_LONG = re.compile(r"[^\W\d_]{4,}")


@lru_cache(maxsize=256)
def unread(findings: str, language: str) -> tuple[str, ...]:
    """The sentences as written, in order. Raises ValueError for a language without phrase list."""
    words = lexicon(language)
    return tuple(
        span.text for span in sentences(findings) if _is_unread(span.text, language, words)
    )


def _is_unread(sentence: str, language: str, words: Lexicon) -> bool:
    mentions = read(sentence, language)
    if mentions:
        denied = all(m.state is Assertion.ABSENT for m in mentions)
        lead = sentence[: min(m.start for m in mentions)] if denied else ""
        begun = _WITHOUT.search(lead)
        return begun is not None and _is_unread(lead[: begun.start()], language, words)
    folded = fold(sentence)
    if MASK.search(sentence) or words.plain.search(folded):
        return False
    cues = (*words.before.finditer(folded), *words.after.finditer(folded))
    if any(cue.lastgroup in ("negated", "history", "hypothetical") for cue in cues):
        return False
    return any(
        not words.idle.fullmatch(folded, *m.span()) and not words.parts.fullmatch(folded, *m.span())
        for m in _LONG.finditer(folded)
    )
