"""Asks an opened network by beam search: the same question, the same answers.

In: a network and its tokenizer (`model_folder.Opened`), questions as tokens, how they are asked.
Out: what was written to each. Never: chance; a longer answer than was agreed.
"""

from __future__ import annotations

from typing import Any

from processors.impressions.model_folder import Opened
from processors.impressions.prompts import Asking
from processors.impressions.written import Written


def answers(opened: Opened, questions: Any, asking: Asking, *, behind: int = 0) -> list[Written]:
    """The answers to a batch of questions (`input_ids`, `attention_mask`), likeliest first.

    behind: tokens that the network repeats before its answer: a causal one, the padded question.
    """
    import torch

    asked = questions.to(opened.network.device)
    with torch.inference_mode():
        found = opened.network.generate(
            input_ids=asked.input_ids,
            attention_mask=asked.attention_mask,
            do_sample=False,
            num_beams=asking.beams,
            num_return_sequences=asking.outputs,
            max_new_tokens=asking.longest_output,
        )[:, behind:]
    said = opened.tokenizer.batch_decode(found, skip_special_tokens=True)
    n = asking.outputs
    return [
        Written(tuple(said[i : i + n]), full=opened.ends.isdisjoint(found[i].tolist()))
        for i in range(0, len(said), n)
    ]
