"""What all language models have in common as a Source: questions in batches, bounded, the same
question the same answer.

In: Requests and a Writer (a model that turns questions into texts). Out: candidates of origin
"generated", and what the length limits took. Never: chance (beam search alone), an empty text, the
same text twice, a mask of de-identification.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from processors.impressions.drafting import Candidate, Request
from processors.impressions.prompts import Asking, Prompt

BATCH = 8
_MASK = re.compile(r"\b[Xx]{3,}\b")


@dataclass(frozen=True, slots=True)
class Written:
    """The answers to one question, likeliest first; full: the first ended at the length limit."""

    texts: tuple[str, ...]
    full: bool = False


class Writer(Protocol):
    """A model that answers questions."""

    def prompt(self, request: Request, asking: Asking) -> Prompt: ...

    def write(self, prompts: Sequence[Prompt], asking: Asking) -> Sequence[Written]: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: its candidates, tokens of the findings that were cut, whether the answer was."""

    candidates: tuple[Candidate, ...]
    lost: int
    full: bool


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A Source (`drafting.Source`) out of a Writer."""

    name: str
    writer: Writer
    asking: Asking

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        return self.answered([request])[0].candidates

    def answered(
        self, requests: Sequence[Request], tell: Callable[[int], None] = lambda _: None
    ) -> list[Answered]:
        """Every request in order. tell: called with how many are done."""
        prompts = [self.writer.prompt(request, self.asking) for request in requests]
        # questions of one length share a batch, so that little is padded
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].text))
        found: dict[int, Answered] = {}
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            for i, written in zip(
                batch,
                self.writer.write([prompts[i] for i in batch], self.asking),
                strict=True,
            ):
                found[i] = Answered(_candidates(written.texts), prompts[i].lost, written.full)
            tell(len(found))
        return [found[i] for i in range(len(requests))]


def _candidates(texts: Iterable[str]) -> tuple[Candidate, ...]:
    plain = (" ".join(_MASK.sub(" ", text).split()) for text in texts)
    kept = dict.fromkeys(text for text in plain if any(char.isalpha() for char in text))
    return tuple(Candidate(text, "generated") for text in kept)
