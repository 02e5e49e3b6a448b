"""One training shared by several processes, GPUs or machines, through Hugging Face accelerate.

Start it with `torchrun --nproc-per-node N -m dicom_node.cli models train ...`. Every process holds
the whole network and draws its own images; gradients are averaged before each step, so that all
hold the same weights (synchronous data parallelism, Goyal et al. arXiv:1706.02677). The averages
that batch normalisation keeps stay each process's own: those of the first are shipped.
Never: data; a file written by any process but the first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

Average = Callable[[nn.Module], None]


def _nothing(_: nn.Module) -> None:
    """One process has nothing to average with."""


@dataclass(frozen=True, slots=True)
class Crew:
    """This process among those that share a training. average: of the gradients, in place."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None
    average: Average = _nothing


ALONE = Crew()


def muster() -> Crew:
    """The processes that torchrun started (it sets WORLD_SIZE), or this one alone.

    Raises ImportError when several were started and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from accelerate import Accelerator

    # without a GPU accelerate must be told, or each process takes itself to be alone
    joined = Accelerator(cpu=not torch.cuda.is_available())

    def average(model: nn.Module) -> None:
        weights = list(model.parameters())  # one message; a term may be missing in one process
        own = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        mean = joined.reduce(torch.cat([grad.flatten() for grad in own]), reduction="mean")
        for weight, part in zip(weights, mean.split([w.numel() for w in weights]), strict=True):
            weight.grad = part.view_as(weight)

    return Crew(joined.process_index, joined.num_processes, joined.device, average)
