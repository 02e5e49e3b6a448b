"""Teaches a language model to write impressions: anew, wholly, or by adapters (LoRA).

In: pairs, a Teaching, a folder to start from (none for a new network). Out: a model folder that
`processors.impressions.language_model` opens: safetensors, tokenizer, `dictamen.json`, card, log.
Goes on from the last whole checkpoint. The loop is transformers' (`language_trainer`); several
processes through accelerate (`torchrun --nproc-per-node N -m dicom_node.cli impressions train`).
Never: a folder that looks finished and is not; a file written by any process but the first.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from processors.impressions.causal import check_template
from processors.impressions.corpus import Pair
from processors.impressions.model_folder import configuration, is_encoder_decoder
from processors.impressions.prompts import LanguageModelError
from processors.training.impressions import language_work as files
from processors.training.impressions import scores
from processors.training.impressions.language_card import Taught, write_card
from processors.training.impressions.language_data import (
    Split,
    examples,
    make_tokenizer,
    split,
)
from processors.training.impressions.language_network import network_of, save
from processors.training.impressions.language_options import Teaching
from processors.training.impressions.language_trainer import trainer_of

Tell = Callable[[str], None]
_NO_EXTRA = "The extra `train` or `language` is not installed ({}): pip install 'dictamen[train]'."


@dataclass(frozen=True, slots=True)
class Places:
    """out: the finished folder, must not exist. work: checkpoints and log. start: the folder to
    start from, None for a new network."""

    out: Path
    work: Path
    start: Path | None = None


def teach(
    pairs: Sequence[Pair],
    teaching: Teaching,
    places: Places,
    *,
    cpu: bool = False,
    progress: bool = False,
    tell: Tell = lambda _: None,
) -> Path:
    """Train, or go on where it stopped; returns the finished folder.

    Raises LanguageModelError with the reason.
    """
    _check(teaching, places)
    parted = split(pairs, teaching.validation, teaching.seed)
    record = {
        "teaching": teaching.record(),
        "pairs": files.fingerprint(pairs),
        "start": str(places.start or ""),
    }
    try:
        import peft  # noqa: F401 - asked for here, so that its lack is said before any work
        from transformers import PrinterCallback, set_seed
        from transformers.utils import logging as told_by_transformers
    except ImportError as error:
        raise LanguageModelError(_NO_EXTRA.format(error)) from error
    told_by_transformers.disable_progress_bar()
    told_by_transformers.set_verbosity_error()  # it warns of tied weights that lie in no file
    set_seed(teaching.seed)
    arguments = _arguments(teaching, places.work, len(parted.teaching), cpu, progress)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            files.claim(places.work, record)
        checkpoint = files.last_checkpoint(places.work)
        tokenizer = _tokenizer(parted, teaching, places)
    if checkpoint:
        tell(f"goes on from {checkpoint.name}")
    causal = bool(places.start and not is_encoder_decoder(places.start))
    if causal:
        check_template(tokenizer, str(places.start))
    learnt, judged = (
        examples(each, tokenizer, teaching.asking, causal=causal)
        for each in (parted.teaching, parted.choosing[: teaching.judged])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about each other
        network = network_of(teaching, len(tokenizer), places.start)
        trainer = trainer_of(network, tokenizer, teaching, arguments, (learnt, judged))
        trainer.remove_callback(PrinterCallback)  # our log says the same once
        trainer.add_callback(_log(tell))
        trainer.compute_metrics = _metrics(tokenizer, parted.choosing[0].language)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    epochs, cut = float(trainer.state.epoch or 0), learnt.cut + judged.cut
    taught = Taught(len(learnt), len(judged), cut, _best(trainer), epochs)
    if trainer.is_world_process_zero():
        _finish(trainer, tokenizer, teaching, places, taught)
    trainer.accelerator.wait_for_everyone()
    return places.out


def _check(teaching: Teaching, places: Places) -> None:
    if places.out.exists():
        raise LanguageModelError(f"{places.out} exists already.", then="Name a new folder.")
    if (places.start is None) != (teaching.way == "scratch"):
        raise LanguageModelError(
            f"The way {teaching.way!r} and a folder to start from do not go together."
            if places.start
            else f"The way {teaching.way!r} needs a folder to start from.",
            then="A new network (scratch) starts from none, the others from one.",
        )
    if places.start:
        configuration(places.start)


def _arguments(teaching: Teaching, work: Path, pairs: int, cpu: bool, progress: bool) -> Any:
    import torch
    from transformers import Seq2SeqTrainingArguments

    gpu = torch.cuda.is_available() and not cpu
    each = teaching.batch * max(1, _processes())
    steps = math.ceil(pairs / each)
    return Seq2SeqTrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=teaching.batch // teaching.pieces,
        gradient_accumulation_steps=teaching.pieces,
        per_device_eval_batch_size=teaching.batch,
        num_train_epochs=teaching.epochs,
        learning_rate=teaching.learning_rate,
        warmup_steps=0.05,
        eval_strategy="steps" if teaching.every else "epoch",
        save_strategy="steps" if teaching.every else "epoch",
        eval_steps=teaching.every or None,
        save_steps=teaching.every or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="rouge",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, steps // 20),
        predict_with_generate=True,
        generation_num_beams=1,
        generation_max_length=teaching.asking.longest_output + 1,
        bf16=bool(gpu and torch.cuda.is_bf16_supported()),
        use_cpu=not gpu,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=gpu,
        seed=teaching.seed,
        report_to=[],
        disable_tqdm=not progress,
    )


def _processes() -> int:
    import os

    return int(os.environ.get("WORLD_SIZE", "1"))


def _tokenizer(parted: Split, teaching: Teaching, places: Places) -> Any:
    """The start's, or one made from the pairs that teach, kept so that a later run has the same."""
    from transformers import AutoTokenizer

    made = places.work / "tokenizer"
    source = places.start or made
    if places.start is None and not (made / "tokenizer.json").exists():
        make_tokenizer(parted.teaching, teaching.vocabulary).save_pretrained(made)
    found = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    found.padding_side = "right"
    return found


def _metrics(tokenizer: Any, language: str) -> Callable[[Any], dict[str, float]]:
    """ROUGE-1, -2, -L of generated texts, and their mean, which chooses the weights."""

    def figures(told: Any) -> dict[str, float]:
        said, meant = (
            tokenizer.batch_decode(
                np.where(numbers < 0, tokenizer.pad_token_id, numbers), skip_special_tokens=True
            )
            for numbers in (told.predictions, told.label_ids)
        )
        found = [scores.rouge(a, b, language)[:3] for a, b in zip(said, meant, strict=True)]
        means = np.array(found).mean(axis=0)
        return {**dict(zip(scores.KINDS, map(float, means), strict=False)),
                "rouge": float(means.mean())}  # fmt: skip

    return figures


def _log(tell: Tell) -> Any:
    from transformers import TrainerCallback

    class Log(TrainerCallback):  # type: ignore[misc]
        """Writes the log and tells of each validation."""

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if not state.is_world_process_zero:
                return
            found = files.rows(state.log_history)
            files.write_log(Path(args.output_dir), found)
            if "eval_loss" in (state.log_history or [{}])[-1]:
                row = found[-1]
                tell(
                    f"epoch {row['epoch']:.2f}, step {row['step']}: validation loss "
                    f"{row['validation_loss']:.3f}, ROUGE {row['rouge']:.3f}"
                )

    return Log()


def _best(trainer: Any) -> dict[str, float]:
    """The row of the log of the weights that are kept."""
    found = [row for row in files.rows(trainer.state.log_history) if "rouge" in row]
    return max(found, key=lambda row: row["rouge"], default={})


def _finish(
    trainer: Any, tokenizer: Any, teaching: Teaching, places: Places, taught: Taught
) -> None:
    """Writes beside its place and moves it there, so that what has the name is whole."""
    partial = places.out.with_name(f".{places.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    network = trainer.accelerator.unwrap_model(trainer.model)
    save(network, teaching.way, partial)
    tokenizer.save_pretrained(partial)
    for name in (files.LOG, files.TABLE):
        if (places.work / name).is_file():
            shutil.copyfile(places.work / name, partial / name)
    write_card(partial, teaching, places.start.name if places.start else "", taught)
    partial.replace(places.out)
