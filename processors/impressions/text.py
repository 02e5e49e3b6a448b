"""A report's text as the phrase lists expect it: folded, and cut into sentences.

In: raw text, English or Spanish. Out: Sentences with their place in it. Never: a changed length;
a character of the folded text stands where its original stands. Text is expected composed (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# what ends a sentence: a stop that is no decimal point, title or list number, or a new line
_ABBREVIATION = r"(?<!\bdr)(?<!\bdra)(?<!\bsr)(?<!\bvs)(?<!\bapprox)(?<!\baprox)"
_END = re.compile(_ABBREVIATION + r"(?:[.!]+|(?<=\S)\?+)(?=\s|$)\s*|\n+", re.I)
_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)](?=\s+\D|[A-Za-zÁÉÍÓÚÑ])")
# each letter of the Latin blocks to its lower-case base letter, one for one
_PLAIN = {
    code: base
    for code in range(0x41, 0x250)
    if len(base := unicodedata.normalize("NFD", chr(code))[0].lower()) == 1
}
MASK = re.compile(r"\bx{3,}\b", re.I)


@dataclass(frozen=True, slots=True)
class Span:
    """One sentence: `text` as written, without its list number; `start` its place in the whole."""

    text: str
    start: int


@lru_cache(maxsize=256)
def fold(text: str) -> str:
    """Lower case without accents, of the same length; a de-identification mask becomes blanks."""
    return MASK.sub(lambda m: " " * len(m[0]), text.translate(_PLAIN))


def sentences(text: str) -> tuple[Span, ...]:
    """Sentences in order; "1. ... 2. ..." are two, "4.5 mm" and "Dr. X" are none."""
    blank = _NUMBER.sub(lambda m: "\n" + " " * (len(m[0]) - 1), text)
    found, begin = [], 0
    for end in [*(m.end() for m in _END.finditer(blank)), len(blank)]:
        piece = blank[begin:end]
        if any(char.isalpha() for char in piece):
            lead = len(piece) - len(piece.lstrip())
            found.append(Span(piece.strip(), begin + lead))
        begin = end
    return tuple(found)
