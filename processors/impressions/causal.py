"""A causal model with a chat template as a writer of impressions.

In: a local folder (`model_folder`) whose tokenizer has a chat template: the question is the user's
turn, the impression the model's. Out: a Writer for `written.LanguageModel`. Never: chance; a
template cut away; what a model thinks aloud before its answer is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from processors.impressions.drafting import Request
from processors.impressions.model_folder import Device, Opened, open_folder, tokens_of
from processors.impressions.prompts import Asking, LanguageModelError, Prompt, prompt
from processors.impressions.written import Written

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)


class Causal:
    """Implements `written.Writer`."""

    def __init__(self, opened: Opened) -> None:
        """Raises LanguageModelError without a chat template."""
        self._tokenizer, self._network = opened.tokenizer, opened.network
        self._ends = opened.ends
        if not self._tokenizer.chat_template:
            raise LanguageModelError(
                f"{opened.name} has no chat template: how it is to be asked is not known.",
                then="Take the model that was tuned for conversation.",
            )
        # answers of a batch begin where their questions end
        self._tokenizer.padding_side = "left"

    def prompt(self, request: Request, asking: Asking) -> Prompt:
        found = prompt(request, asking, tokens_of(self._tokenizer, self._turn))
        return Prompt(self._turn(found.text), found.lost)

    def _turn(self, text: str) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
        )

    def write(self, prompts: Sequence[Prompt], asking: Asking) -> list[Written]:
        import torch

        asked = self._tokenizer(
            [each.text for each in prompts],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        ).to(self._network.device)
        with torch.inference_mode():
            found = self._network.generate(
                input_ids=asked.input_ids,
                attention_mask=asked.attention_mask,
                do_sample=False,
                num_beams=asking.beams,
                num_return_sequences=asking.outputs,
                max_new_tokens=asking.longest_output,
            )[:, asked.input_ids.shape[1] :]
        said = self._tokenizer.batch_decode(found, skip_special_tokens=True)
        said = [_THOUGHT.sub("", text) for text in said]
        n = asking.outputs
        return [
            Written(tuple(said[i : i + n]), full=self._ends.isdisjoint(found[i].tolist()))
            for i in range(0, len(said), n)
        ]


def open_causal(folder: Path, device: Device = "auto") -> Causal:
    """The writer of a folder. Raises LanguageModelError."""
    return Causal(open_folder(folder, device))
