"""Opens a local Hugging Face folder: weights as safetensors alone, nothing fetched, no code run.

In: a folder (config.json, *.safetensors, a tokenizer), a device. Out: tokenizer and network in
torch, bfloat16 on a GPU and float32 on a CPU, ready to answer. Never: a download, a pickle, a
module that lies in the folder. Only here, in `beams`, `seq2seq` and `causal` is
transformers imported, and only when a model is opened: a node without one loads no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from processors.impressions.prompts import LanguageModelError, Tokens

Device = Literal["auto", "cpu", "cuda"]
_EXTRA = "The extra `language` is not installed ({error}): pip install 'dictamen[language]'."


@dataclass(frozen=True, slots=True)
class Opened:
    """A tokenizer and a network of transformers. ends: tokens that end an answer."""

    tokenizer: Any
    network: Any
    name: str
    ends: frozenset[int]


def configuration(folder: Path) -> Mapping[str, Any]:
    """The folder's config.json. Raises LanguageModelError for a folder that is no model."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LanguageModelError(
            f"{folder} is no Hugging Face model folder ({error}).",
            then="It needs config.json, *.safetensors and the tokenizer's files.",
        ) from error
    if not isinstance(config, dict):
        raise LanguageModelError(f"{file} holds no JSON object.")
    if not any(folder.glob("*.safetensors")):
        raise LanguageModelError(
            f"{folder} has no weights as safetensors; pickled ones are never loaded.",
            then="Convert them where they come from.",
        )
    if "auto_map" in config:
        raise LanguageModelError(f"{folder} asks to run code of its own, which is never done.")
    return config


def is_encoder_decoder(folder: Path) -> bool:
    """Whether the folder holds a sequence-to-sequence model rather than a causal one."""
    config = configuration(folder)
    return bool(config.get("is_encoder_decoder")) or config.get("model_type") in ("t5", "mt5")


def open_folder(folder: Path, device: Device = "auto") -> Opened:
    """Load tokenizer and network. Raises LanguageModelError with the reason."""
    encoder_decoder = is_encoder_decoder(folder)
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForSeq2SeqLM,
            AutoTokenizer,
            GenerationConfig,
        )
        from transformers.utils import logging
    except ImportError as error:
        raise LanguageModelError(_EXTRA.format(error=error)) from error
    logging.disable_progress_bar()
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cuda" and place == "cpu":
        raise LanguageModelError("There is no GPU that torch can use.", then="Ask for cpu or auto.")
    kind = AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        network = kind.from_pretrained(
            folder,
            dtype=torch.bfloat16 if place == "cuda" else torch.float32,
            use_safetensors=True,
            **safe,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise LanguageModelError(f"{folder} cannot be opened: {first}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    told = network.generation_config
    # of the folder's own settings only the tokens count: no sampling, no length but ours
    network.generation_config = GenerationConfig(
        bos_token_id=told.bos_token_id,
        eos_token_id=told.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=told.decoder_start_token_id,
    )
    ends = told.eos_token_id if isinstance(told.eos_token_id, list) else [told.eos_token_id]
    known = frozenset(int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None)
    return Opened(tokenizer, network.to(place).eval(), folder.name, known)


def tokens_of(tokenizer: Any, turn: Callable[[str], str] | None = None) -> Tokens:
    """How a tokenizer of transformers counts. turn: wraps a question in a chat template, which
    brings its own special tokens."""

    def encode(text: str) -> list[int]:
        return [*tokenizer(text, add_special_tokens=False, verbose=False).input_ids]

    def length(text: str) -> int:
        if turn:
            return len(encode(turn(text)))
        return len(tokenizer(text, verbose=False).input_ids)

    return Tokens(length, encode, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)))
