"""A causal model with a chat template as a writer of impressions.

In: a local folder (`model_folder`) whose tokenizer has a chat template: the question is the user's
turn, the impression the model's. Out: a Writer for `written.LanguageModel`. Never: chance; a
template cut away; what a model thinks aloud before its answer is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from processors.impressions.beams import answers
from processors.impressions.drafting import Request
from processors.impressions.model_folder import Device, Opened, open_folder, tokens_of
from processors.impressions.prompts import Asking, LanguageModelError, Prompt, prompt
from processors.impressions.written import Written

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)


def check_template(tokenizer: Any, name: str) -> None:
    """Raises LanguageModelError without a chat template."""
    if not tokenizer.chat_template:
        raise LanguageModelError(
            f"{name} has no chat template: how it is to be asked is not known.",
            then="Take the model that was tuned for conversation.",
        )


def asked(request: Request, asking: Asking, tokenizer: Any) -> Prompt:
    """The question as the user's turn of a conversation, the model's begun."""

    def turn(text: str) -> str:
        said = [{"role": "user", "content": text}]
        return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))

    found = prompt(request, asking, tokens_of(tokenizer, turn))
    return Prompt(turn(found.text), found.lost)


class Causal:
    """Implements `written.Writer`."""

    def __init__(self, opened: Opened) -> None:
        """Raises LanguageModelError without a chat template."""
        self._opened, self._tokenizer = opened, opened.tokenizer
        check_template(self._tokenizer, opened.name)
        # answers of a batch begin where their questions end
        self._tokenizer.padding_side = "left"

    def prompt(self, request: Request, asking: Asking) -> Prompt:
        return asked(request, asking, self._tokenizer)

    def write(self, prompts: Sequence[Prompt], asking: Asking) -> list[Written]:
        questions = self._tokenizer(
            [each.text for each in prompts],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        found = answers(self._opened, questions, asking, behind=questions.input_ids.shape[1])
        return [
            replace(each, texts=tuple(_THOUGHT.sub("", t) for t in each.texts)) for each in found
        ]


def open_causal(folder: Path, device: Device = "auto") -> Causal:
    """The writer of a folder. Raises LanguageModelError."""
    return Causal(open_folder(folder, device))
