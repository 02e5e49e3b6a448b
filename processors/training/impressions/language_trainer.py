"""The loop of transformers that teaches a network, and how validation lets it write.

In: a network, examples, how it is taught. Out: a Seq2SeqTrainer. A causal network reads question
and answer in one row and learns the answer (`labels` are -100 elsewhere); at validation it writes
after the question alone, as the finished model will. Never: chance; an answer that the network
saw before it was to write it.
"""

from __future__ import annotations

from typing import Any

from processors.training.impressions.language_data import Examples
from processors.training.impressions.language_options import Teaching


def trainer_of(
    network: Any,
    tokenizer: Any,
    teaching: Teaching,
    arguments: Any,
    data: tuple[Examples, Examples],
) -> Any:
    """data: what teaches, what chooses."""
    from transformers import DataCollatorForSeq2Seq, EarlyStoppingCallback, Seq2SeqTrainer

    causal = not network.config.is_encoder_decoder
    longest = teaching.asking.longest_output
    kind = _causal(longest, tokenizer.pad_token_id) if causal else Seq2SeqTrainer
    return kind(
        model=network,
        args=arguments,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=network),
        train_dataset=data[0],
        eval_dataset=data[1],
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(teaching.patience)],
    )


def _causal(longest: int, padding: int) -> Any:
    """A Seq2SeqTrainer for causal networks. longest: tokens of an answer. padding: its number."""
    import torch
    from transformers import Seq2SeqTrainer

    class CausalTrainer(Seq2SeqTrainer):  # type: ignore[misc]
        """Loss over question and answer; texts written after the question."""

        def prediction_step(
            self, model: Any, inputs: Any, *_: Any, **__: Any
        ) -> tuple[Any, Any, Any]:
            batch = self._prepare_inputs(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = model(**batch).loss.detach().mean()
            asked = questions(batch, padding)
            network = self.accelerator.unwrap_model(model)
            found = network.generate(
                **asked,
                do_sample=False,
                num_beams=1,
                max_new_tokens=longest,
                pad_token_id=padding,
            )
            return loss, found[:, asked["input_ids"].shape[1] :], batch["labels"]

    return CausalTrainer


def questions(batch: Any, padding: int) -> dict[str, Any]:
    """The questions of a batch alone, padded in front, so that all answers begin together."""
    import torch

    ids, asked = batch["input_ids"], (batch["labels"] < 0) & (batch["attention_mask"] > 0)
    widest = int(asked.sum(dim=1).max())
    found = torch.full((len(ids), widest), padding, dtype=ids.dtype, device=ids.device)
    for row, text, mask in zip(found, ids, asked, strict=True):
        row[widest - int(mask.sum()) :] = text[mask]
    lengths = asked.sum(dim=1, keepdim=True)
    places = torch.arange(widest, device=ids.device)
    return {"input_ids": found, "attention_mask": (places >= widest - lengths).long()}
