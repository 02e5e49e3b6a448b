"""A sequence-to-sequence model as a writer of impressions: T5, FLAN-T5 of every size, BART.

In: a local folder (`model_folder`). Out: a Writer for `written.LanguageModel`; also how likely the
model finds a given impression, for explanations. Never: chance, a longer answer than was agreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from processors.impressions.beams import answers
from processors.impressions.drafting import Request
from processors.impressions.model_folder import Device, Opened, open_folder, tokens_of
from processors.impressions.prompts import Asking, Prompt, prompt
from processors.impressions.written import Written


class Seq2Seq:
    """Implements `written.Writer`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._tokenizer, self._network = opened.tokenizer, opened.network

    def prompt(self, request: Request, asking: Asking) -> Prompt:
        return prompt(request, asking, tokens_of(self._tokenizer))

    def write(self, prompts: Sequence[Prompt], asking: Asking) -> list[Written]:
        asked = self._tokenizer(
            [each.text for each in prompts],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=asking.longest_input,
        )
        return answers(self._opened, asked, asking)

    def likelihoods(self, prompts: Sequence[str], text: str, asking: Asking) -> list[float]:
        """Mean log-probability (nats a token) of one impression after each question."""
        import torch

        found = []
        answer = self._tokenizer(
            text_target=text, return_tensors="pt", truncation=True, max_length=asking.longest_output
        ).input_ids.to(self._network.device)
        for question in prompts:
            asked = self._tokenizer(
                question, return_tensors="pt", truncation=True, max_length=asking.longest_input
            ).to(self._network.device)
            with torch.inference_mode():
                loss = self._network(
                    input_ids=asked.input_ids, attention_mask=asked.attention_mask, labels=answer
                ).loss
            found.append(-float(loss))
        return found


def open_seq2seq(folder: Path, device: Device = "auto") -> Seq2Seq:
    """The writer of a folder. Raises LanguageModelError."""
    return Seq2Seq(open_folder(folder, device))
