"""Opens whatever language model lies in a folder, as a source of impressions.

In: a folder: sequence-to-sequence or causal (Hugging Face), or converted for CTranslate2. Out: a
`written.LanguageModel`, asked as the folder's `dictamen.json` says. Never: a download; a library
loaded for a model that nobody opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.impressions import causal, ctranslate, model_folder, seq2seq
from processors.impressions.model_folder import Device
from processors.impressions.prompts import read_asking
from processors.impressions.written import LanguageModel, Writer


def open_language_model(
    folder: Path, device: Device = "auto", changes: Mapping[str, Any] | None = None
) -> LanguageModel:
    """changes: fields of `prompts.Asking` that win over the folder's; None leaves them.

    Raises LanguageModelError with the reason.
    """
    asking, writer = read_asking(folder, changes), _writer(folder, device)
    return LanguageModel(folder.name, writer, asking)


def _writer(folder: Path, device: Device) -> Writer:
    if ctranslate.is_converted(folder):
        return ctranslate.Converted(folder)
    if model_folder.is_encoder_decoder(folder):
        return seq2seq.open_seq2seq(folder, device)
    return causal.open_causal(folder, device)
