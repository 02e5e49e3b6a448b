"""Language models small enough for a test: random weights, the shapes of the real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_reports import pairs

from processors.impressions.corpus import Pair
from processors.training.impressions.language_data import make_tokenizer
from processors.training.impressions.language_network import new_network

torch.set_num_threads(1)  # so small a network only loses by sharing its work
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)


def flan_shaped(folder: Path, taught_words: Sequence[Pair] = ()) -> Path:
    """As FLAN-T5 comes: T5 v1.1 with a head of its own, safetensors, tokenizer.json."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(taught_words or pairs(), 400)
    network = new_network("tiny", len(tokenizer))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    head = torch.randn_like(weights["shared.weight"]) * 0.1
    save_file(
        weights | {"lm_head.weight": head}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text())
    del config["scale_decoder_outputs"]  # a key of transformers 5; published folders lack it
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return folder


def chat_shaped(folder: Path, template: str | None = CHAT) -> Path:
    """A causal model with a chat template."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = make_tokenizer(pairs(), 400)
    tokenizer.chat_template = template
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=1,
        bos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
