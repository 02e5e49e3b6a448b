"""Writes what a taught language model says of itself: `dictamen.json` and a card for people.

In: the Teaching, what was measured while it was taught. Out: two files. Never: a number that was
not measured; a word of a report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from processors.impressions.prompts import SETTINGS, record
from processors.training.impressions.language_options import Teaching

_WAYS = {
    "scratch": "a new network ({shape}), from random weights, with a tokenizer of its own",
    "full": "all weights of {start}",
    "lora": "adapters of rank {rank} (LoRA) beside {start}, merged; alone in adapter/",
}
_CARD = """# {name}

A language model that drafts the impression of a report from its findings. Taught on
this site's reports by `dictamen impressions train`.

**Not for diagnostic use.** Nothing that it writes leaves a node unguarded: each sentence is held
against the findings. Measure it with `dictamen impressions evaluate` on reports that it has not
seen; the figures below chose these weights and flatter.

**It stays where the reports are.** Weights{tokenizer} hold traces of the reports that taught it.

| | |
| --- | --- |
| taught | {way} |
| reports that taught, that chose | {teaching}, {choosing} (no near-duplicate group in both) |
| longer than the limits, cut | {cut} |
| epochs done, asked | {epochs:.2f}, {asked:g} |
| learning rate, batch | {rate:g}, {batch} |
| kept: step, epoch | {step}, {epoch} |
| validation loss there | {loss} |
| validation ROUGE-1, -2, -L there (one beam) | {rouge} |
| asked with | {beams} beams, {outputs} outputs, {longest_input} tokens in, {longest_output} out |
| template | {template} |
"""


@dataclass(frozen=True, slots=True)
class Taught:
    """Numbers of reports; kept: the row of the log of the weights that are kept; epochs done."""

    teaching: int
    choosing: int
    cut: int
    kept: Mapping[str, float]
    epochs: float


def write_card(folder: Path, teaching: Teaching, start: str, taught: Taught) -> None:
    """Writes dictamen.json and README.md into a model folder."""
    told = {
        "asking": record(teaching.asking),
        "teaching": teaching.record(),
        "start": start,
        "taught": asdict(taught),
    }
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    (folder / SETTINGS).write_text(text, encoding="utf-8")
    kept, asking = taught.kept, teaching.asking
    names = ("rouge1", "rouge2", "rougeL")
    way = _WAYS[teaching.way].format(shape=teaching.shape, start=start, rank=teaching.rank)
    card = _CARD.format(
        name=folder.name.removeprefix(".").removesuffix(".partial"),
        tokenizer=" and tokenizer" if teaching.way == "scratch" else "",
        way=way,
        teaching=taught.teaching,
        choosing=taught.choosing,
        cut=taught.cut,
        epochs=taught.epochs,
        asked=teaching.epochs,
        rate=teaching.learning_rate,
        batch=teaching.batch,
        step=kept.get("step", ""),
        epoch=kept.get("epoch", ""),
        loss=f"{kept['validation_loss']:.3f}" if kept else "not measured",
        rouge=" / ".join(f"{kept[n]:.3f}" for n in names) if kept else "not measured",
        template=f"`{json.dumps(asking.template, ensure_ascii=False)}`"
        if asking.template
        else "the usual one of the report's language",
        beams=asking.beams,
        outputs=asking.outputs,
        longest_input=asking.longest_input,
        longest_output=asking.longest_output,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
