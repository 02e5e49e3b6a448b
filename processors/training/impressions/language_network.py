"""The networks that are taught: a new T5, a given model, or adapters beside one; and their files.

In: a Teaching, a local folder to start from. Out: a network of transformers in float32, on the CPU;
a folder with its weights as safetensors. Never: a download, a pickle, code that lies in a folder.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from processors.impressions.model_folder import is_encoder_decoder
from processors.training.files import write_json
from processors.training.impressions.language_options import SHAPES, Teaching, Way


def network_of(teaching: Teaching, tokens: int, start: Path | None) -> Any:
    """The network that a Teaching begins with, float32; tokens: of a new one's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if start is None:
        return new_network(teaching.shape, tokens)
    causal = not is_encoder_decoder(start)
    network = (AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM).from_pretrained(
        start,
        dtype=torch.float32,  # updates of bfloat16 weights would be rounded away
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if teaching.way == "full":
        return network
    from peft import LoraConfig, TaskType, get_peft_model

    known = ["q", "v"] if network.config.model_type in ("t5", "mt5") else None
    adapters = LoraConfig(
        task_type=TaskType.CAUSAL_LM if causal else TaskType.SEQ_2_SEQ_LM,
        r=teaching.rank,
        lora_alpha=2 * teaching.rank,
        lora_dropout=0.05,
        target_modules="all-linear" if causal else known,  # of every architecture
    )
    return get_peft_model(network, adapters)


def new_network(shape: str, tokens: int) -> Any:
    """A T5 with gated GELU, of one of SHAPES, with random weights; one table of embeddings for both
    halves and the output, because small sets teach one better than two."""
    from transformers import T5Config, T5ForConditionalGeneration

    width, inner, layers, heads = SHAPES[shape]
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=tokens,
            d_model=width,
            d_kv=64,
            d_ff=inner,
            num_layers=layers,
            num_heads=heads,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


def save(network: Any, way: Way, folder: Path) -> None:
    """Weights and configuration; adapters alone in `adapter/`, and merged into the whole."""
    if way == "lora":
        network.save_pretrained(folder / "adapter")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of embeddings that were not tied before either
            network = network.merge_and_unload()
    network.save_pretrained(folder)
    _say_how_outputs_are_scaled(folder / "config.json")


def _say_how_outputs_are_scaled(file: Path) -> None:
    """T5 says by `tie_word_embeddings` whether outputs are scaled; transformers 5 writes true for
    FLAN-T5 too, beside a key of its own that other readers (CTranslate2, older versions) miss."""
    config = json.loads(file.read_text(encoding="utf-8"))
    if "scale_decoder_outputs" in config:
        config["tie_word_embeddings"] = config["scale_decoder_outputs"]
        write_json(file, config)
