"""A converted sequence-to-sequence model as a writer: CTranslate2, 8-bit integers, on a CPU.

In: a folder made by `dictamen impressions convert`. Out: a Writer for `written.LanguageModel`,
without torch. CTranslate2's weights (model.bin) are plain numbers in its own format, no pickle.
Never: chance, a GPU, a longer answer than was agreed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processors.impressions.drafting import Request
from processors.impressions.model_folder import is_encoder_decoder
from processors.impressions.prompts import (
    SETTINGS,
    Asking,
    LanguageModelError,
    Prompt,
    Tokens,
    prompt,
)
from processors.impressions.written import Written

_MARKS = ("model.bin", "shared_vocabulary.json", "tokenizer.json")
_EXTRA = "The extra `ctranslate` is not installed ({}): pip install 'dictamen[ctranslate]'."


def is_converted(folder: Path) -> bool:
    """Whether a folder holds a model that was converted for CTranslate2."""
    return all((folder / name).is_file() for name in _MARKS)


def convert(folder: Path, out: Path) -> Path:
    """Convert a sequence-to-sequence folder to 8-bit integers; `out` must not exist yet.

    Raises LanguageModelError.
    """
    if not is_encoder_decoder(folder):
        raise LanguageModelError(f"{folder} is no sequence-to-sequence model.")
    if not (folder / "tokenizer.json").is_file():
        raise LanguageModelError(
            f"{folder} has no tokenizer.json.", then="Save its tokenizer again with transformers."
        )
    if out.exists():
        raise LanguageModelError(f"{out} exists already.", then="Name a new folder.")
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise LanguageModelError(_EXTRA.format(error)) from error

    class Converter(TransformersConverter):  # type: ignore[misc]
        """CTranslate2 4.8 asks `tie_word_embeddings` whether T5's outputs are scaled, which
        transformers 5 sets for every T5; FLAN-T5's are not."""

        def load_model(self, *told: Any, **more: Any) -> Any:
            network = super().load_model(*told, **more, use_safetensors=True, local_files_only=True)
            scaled = getattr(network.config, "scale_decoder_outputs", None)
            if scaled is not None:
                network.config.tie_word_embeddings = scaled
            return network

    try:
        Converter(str(folder)).convert(str(out), quantization="int8")
    except (ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise LanguageModelError(f"CTranslate2 cannot convert {folder}: {error}") from error
    for name in ("tokenizer.json", SETTINGS):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    return out


class Converted:
    """Implements `written.Writer`."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Raises LanguageModelError."""
        try:
            import ctranslate2
            from tokenizers import Tokenizer
        except ImportError as error:
            raise LanguageModelError(_EXTRA.format(error)) from error
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._network: Any = ctranslate2.Translator(
                str(folder), device="cpu", compute_type="int8", intra_threads=threads
            )
            self._end = str(json.loads((folder / "config.json").read_text())["eos_token"])
        except Exception as error:
            # both libraries raise bare Exception or RuntimeError for a damaged file
            raise LanguageModelError(f"{folder} cannot be opened: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def prompt(self, request: Request, asking: Asking) -> Prompt:
        return prompt(
            request,
            asking,
            Tokens(
                lambda text: len(self._tokenizer.encode(text).ids),
                lambda text: list(self._tokenizer.encode(text, add_special_tokens=False).ids),
                lambda ids: str(self._tokenizer.decode(ids)),
            ),
        )

    def write(self, prompts: Sequence[Prompt], asking: Asking) -> list[Written]:
        found = self._network.translate_batch(
            [self._tokenizer.encode(each.text).tokens for each in prompts],
            beam_size=asking.beams,
            num_hypotheses=asking.outputs,
            max_decoding_length=asking.longest_output,
            return_end_token=True,
        )
        return [
            Written(
                tuple(self._text(tokens) for tokens in each.hypotheses),
                full=self._end not in each.hypotheses[0],
            )
            for each in found
        ]

    def _text(self, tokens: Sequence[str]) -> str:
        numbers = [self._tokenizer.token_to_id(token) for token in tokens]
        return str(self._tokenizer.decode([n for n in numbers if n is not None]))
