"""How many reports a second a T5 of a given shape learns from on this machine, and what follows.

  PYTHONPATH=. python tests/benchmarks/language_training.py [--shape xl] [--batch 16] [--pieces 1]
      [--steps 20] [--pairs reports.csv] [--weights float32|bfloat16] [--checkpointing] [--json]

Random weights, FLAN-T5's 32,128 tokens and a head of its own, AdamW, bfloat16 arithmetic on a GPU
(float32 weights as `dictamen impressions train` has them, or all in bfloat16), on a CPU float32.
Tokens are random, lengths are not: of --pairs (words times --tokens-per-word, plus the template),
or drawn as radiograph reports have them: log-normal, median 110 tokens in and 25 out. Printed
beside it: what 91,544 pairs x 0.95 x 3 epochs would take, and the 38,468 s on 8 V100 of the
published FLAN-T5 XL. The figure is of this machine alone; nothing is taken for several GPUs.
A dry run for a machine without a GPU: --shape tiny --batch 4 --steps 3.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from processors.impressions import corpus
from processors.training.impressions.language_network import new_network
from processors.training.impressions.language_options import SHAPES

TOKENS = 32128
TEMPLATE = 20  # tokens of the usual question beside the findings
PUBLISHED = {"seconds": 38468, "machine": "8 V100", "pairs": 91544, "share": 0.95, "epochs": 3}
Lengths = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Asked:
    """What is measured."""

    shape: str
    batch: int
    pieces: int
    steps: int
    warm: int
    weights: str
    checkpointing: bool
    rate: float = 1e-4


def lengths(pairs: Path | None, per_word: float, count: int) -> Lengths:
    """(count, 2) tokens of question and answer, at most 512 and 128."""
    generator = np.random.default_rng(0)
    if pairs is None:
        found = np.exp(generator.normal(np.log([110, 25]), [0.45, 0.8], (count, 2)))
    else:
        read = corpus.read(pairs).pairs
        words = [(len(p.findings.split()), len(p.impression.split())) for p in read]
        drawn = np.array(words)[generator.integers(0, len(words), count)]
        found = drawn * per_word + [TEMPLATE, 1]
    return np.clip(np.rint(found), [8, 2], [512, 128]).astype(np.int64)


def network_of(asked: Asked, device: str) -> Any:
    """The shape with a head of its own, outputs unscaled, as FLAN-T5 has it."""
    with torch.device(device):
        network = new_network(asked.shape, TOKENS)
    network.config.scale_decoder_outputs = False
    network.lm_head.weight = torch.nn.Parameter(
        torch.randn_like(network.shared.weight) * SHAPES[asked.shape][0] ** -0.5
    )
    if asked.checkpointing:
        network.activation_checkpointing_enable()
        network.config.use_cache = False
    kind = torch.bfloat16 if asked.weights == "bfloat16" else torch.float32
    return network.to(device, kind).train()


def batches(
    drawn: Lengths, size: int, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Padded random tokens: (size, in), its mask, (size, out) with -100 as padding."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(drawn) - size + 1, size):
        part = drawn[start : start + size]
        wide, long = int(part[:, 0].max()), int(part[:, 1].max())
        asked = torch.randint(3, TOKENS, (size, wide), generator=generator)
        meant = torch.randint(3, TOKENS, (size, long), generator=generator)
        mask = torch.arange(wide)[None] < torch.from_numpy(part[:, :1])
        meant[torch.arange(long)[None] >= torch.from_numpy(part[:, 1:])] = -100
        yield tuple(x.to(device) for x in (asked * mask, mask.long(), meant))  # type: ignore[misc]


def measured(asked: Asked, drawn: Lengths) -> dict[str, Any]:
    """Seconds of each step after the warm ones, and what they make."""
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    network = network_of(asked, device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=asked.rate, fused=gpu)
    taken, piece = [], asked.batch // asked.pieces
    held = batches(drawn, piece, device)
    for step in range(asked.warm + asked.steps):
        began = time.perf_counter()
        for _ in range(asked.pieces):
            tokens, mask, labels = next(held)
            with torch.autocast(device, torch.bfloat16, enabled=gpu):
                loss = network(input_ids=tokens, attention_mask=mask, labels=labels).loss
            (loss / asked.pieces).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()
        if step >= asked.warm:
            taken.append(time.perf_counter() - began)
    a_second = asked.batch / statistics.mean(taken)
    seen = PUBLISHED["pairs"] * PUBLISHED["share"] * PUBLISHED["epochs"]
    return {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "shape": asked.shape,
        "parameters": sum(p.numel() for p in network.parameters()),
        "weights": asked.weights,
        "batch": asked.batch,
        "pieces": asked.pieces,
        "checkpointing": asked.checkpointing,
        "tokens in, median": int(np.median(drawn[:, 0])),
        "tokens out, median": int(np.median(drawn[:, 1])),
        "last loss": round(float(loss.detach()), 3),
        "samples a second": round(a_second, 3),
        "step, median seconds": round(statistics.median(taken), 4),
        "memory at most, GiB": round(torch.cuda.max_memory_allocated() / 2**30, 1) if gpu else None,
        "extrapolated seconds": round(seen / a_second),
        "published seconds": PUBLISHED["seconds"],
        "published of": f"xl on {PUBLISHED['machine']}",
    }


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    told.add_argument("--shape", choices=SHAPES, default="xl")
    told.add_argument("--batch", type=int, default=16)
    told.add_argument("--pieces", type=int, default=1)
    told.add_argument("--steps", type=int, default=20)
    told.add_argument("--warm", type=int, default=3)
    told.add_argument("--weights", choices=("float32", "bfloat16"), default="float32")
    told.add_argument("--checkpointing", action="store_true")
    told.add_argument("--pairs", type=Path)
    told.add_argument("--tokens-per-word", type=float, default=1.5)
    told.add_argument("--json", action="store_true")
    a = told.parse_args()
    if a.batch % a.pieces:
        told.error("--pieces must divide --batch")
    asked = Asked(a.shape, a.batch, a.pieces, a.steps, a.warm, a.weights, a.checkpointing)
    count = (a.steps + a.warm) * a.batch
    found = measured(asked, lengths(a.pairs, a.tokens_per_word, count))
    if a.json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            print(f"{name:>24}  {value}")


if __name__ == "__main__":
    main()
