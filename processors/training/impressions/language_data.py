"""From pairs to what a network is taught with: the split, a tokenizer, numbered texts.

In: pairs, a Teaching. Out: pairs that teach and pairs that choose, which share no near-duplicate
group; a tokenizer made from the first; examples within the length limits, and what these cut.
Never: a pair of a split other than `train` or none. A tokenizer made here holds words of the
reports: it stays where the reports are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from processors.impressions.causal import asked
from processors.impressions.corpus import Pair
from processors.impressions.drafting import Request
from processors.impressions.model_folder import tokens_of
from processors.impressions.prompts import Asking, LanguageModelError, prompt

_UNTAUGHT = -100  # the number by which torch knows what no loss is counted for
SPECIAL = ("<pad>", "</s>", "<unk>")  # in T5's order: the numbers 0, 1, 2


@dataclass(frozen=True, slots=True)
class Split:
    """What teaches and what chooses."""

    teaching: tuple[Pair, ...]
    choosing: tuple[Pair, ...]


def split(pairs: Sequence[Pair], share: float, seed: int) -> Split:
    """A share of the near-duplicate groups, drawn by seed, chooses; at least one pair.

    Raises LanguageModelError where there are too few pairs.
    """
    usable = [pair for pair in pairs if pair.impression and pair.split in ("", "train")]
    groups = sorted({_group(pair) for pair in usable})
    if len(groups) < 2:
        raise LanguageModelError(
            f"{len(usable)} pairs to learn from are too few.",
            then="Rows of the split 'train', or of none, count.",
        )
    drawn = random.Random(seed).sample(groups, max(1, round(share * len(groups))))  # noqa: S311
    chosen = frozenset(drawn)
    return Split(
        tuple(pair for pair in usable if _group(pair) not in chosen),
        tuple(pair for pair in usable if _group(pair) in chosen),
    )


def _group(pair: Pair) -> str:
    return f"g{pair.group}" if pair.group else f"u{pair.uid}"


def make_tokenizer(pairs: Sequence[Pair], vocabulary: int) -> Any:
    """A tokenizer for a new network, from the pairs that teach: pieces of bytes, so that no letter
    of any language is unknown (BPE; Sennrich et al., ACL 2016)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token=SPECIAL[2]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for pair in pairs for text in (pair.findings, pair.indication, pair.impression))
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        unk_token=SPECIAL[2],
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True, slots=True)
class Examples:
    """Numbered texts; a torch Dataset by its two methods. cut: pairs whose findings or impression
    were longer than the limits."""

    rows: tuple[dict[str, list[int]], ...]
    cut: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        return self.rows[number]


def examples(
    pairs: Sequence[Pair], tokenizer: Any, asking: Asking, *, causal: bool = False
) -> Examples:
    """Question and answer of each pair, as the finished model will be asked.

    causal: both in one row, of which the answer alone is to be learnt.
    """
    counted, rows, cut = tokens_of(tokenizer), [], 0
    for pair in pairs:
        request = Request(pair.findings, pair.language, pair.indication)
        said = " ".join(pair.impression.split())
        if causal:
            question = asked(request, asking, tokenizer)
            given = tokenizer(question.text, add_special_tokens=False).input_ids
            answer = [*tokenizer(said, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        else:
            question = prompt(request, asking, counted)
            given = tokenizer(question.text).input_ids
            answer = tokenizer(text_target=said).input_ids
        cut += bool(question.lost) or len(answer) > asking.longest_output
        if len(answer) > asking.longest_output:
            answer = [*answer[: asking.longest_output - 1], tokenizer.eos_token_id]
        rows.append(
            {"input_ids": [*given, *answer], "labels": [_UNTAUGHT] * len(given) + [*answer]}
            if causal
            else {"input_ids": given, "labels": [*answer]}
        )
    return Examples(tuple(rows), cut)
