"""The network: a denoising beta-VAE whose latent keeps its place, and a linear head per cell.

An image of `size` pixels becomes a grid of cells (8 px each) of `channels` numbers. The head
answers questions; each answer ("pneumonia in children", "glioma") is one row that reads every cell
with one weight vector, and a question is the softmax over its answers and cells together. "No
finding", where a question has it, owns no cell, only the constant 0, so that a positive answer can
be undone by removing its evidence alone. Cells at the image's edge own no evidence: arms, abdomen
and burned-in letters stand there, and a head that may read them does. The total of a row is the
logsumexp over its cells.
Never: data, files, calibration. Sources: Kingma & Welling arXiv:1312.6114 (VAE), Higgins et al.
ICLR 2017 (beta), Shi et al. arXiv:1609.05158 (sub-pixel convolution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from processors.vae.latent import SILENT

CELL = 8  # pixels of the network's input per latent cell
# encoder parameters: S 0.24 million, M 1.5, L 6.0; narrow at 4 px, wide at 8 px
SIZES = {"S": (48, 96), "M": (96, 256), "L": (192, 512)}
LOG_VARIANCE = (-8.0, 4.0)  # bounds: outside them exp() is useless in bfloat16


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that must be known to build the network again.

    questions: (number of answers, whether "no finding" is one more) of each; frame: cells at the
    edge without evidence.
    """

    questions: tuple[tuple[int, bool], ...] = ((1, True),)
    size: int = 128
    channels: int = 12
    narrow: int = 48
    wide: int = 96
    frame: int = 2

    @property
    def grid(self) -> int:
        return self.size // CELL

    @property
    def rows(self) -> int:
        return sum(answers for answers, _ in self.questions)


class Residual(nn.Module):
    """Two convolutions around which the input is added; `second` sets how far a cell sees."""

    def __init__(self, width: int, second: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, second, padding=second // 2, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _half(device: torch.device, training: bool) -> torch.autocast:
    fast = device.type != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=training and fast)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class SpatialVAE(nn.Module):
    """Encoder, decoder and head. A cell sees 60 px of the input (receptive field).

    In training, convolutions run in bfloat16 where the processor computes it itself: emulated, it
    is eleven times slower than float32.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        narrow, wide = shape.narrow, shape.wide
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(4),
            _block(16, narrow),
            Residual(narrow, second=1),
            _block(narrow, wide, stride=2),
            Residual(wide),
        )
        self.to_latent = nn.Conv2d(wide, 2 * shape.channels, 1)
        self.from_latent = nn.Sequential(
            _block(shape.channels, wide),
            Residual(wide),
            nn.Conv2d(wide, 4 * narrow, 1),
            nn.PixelShuffle(2),
            _block(narrow, narrow),
            Residual(narrow),
            nn.Conv2d(narrow, 64, 3, padding=1),
            nn.PixelShuffle(2),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            _block(16, 16),
            nn.Conv2d(16, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.head = nn.Conv2d(shape.channels, shape.rows, 1)
        nn.init.constant_(self.head.bias, -math.log(shape.grid**2))  # type: ignore[arg-type]

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (batch, channels, grid, grid), of images (batch, 1, s, s)."""
        with _half(images.device, self.training):
            latent = self.to_latent(self.trunk(images))
        mean, log_variance = latent.float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, latent: Tensor) -> Tensor:
        """Images (batch, 1, size, size) in 0..1 of latents (batch, channels, grid, grid)."""
        with _half(latent.device, self.training):
            image = self.from_latent(latent)
        return torch.sigmoid(image.float())

    def _inner(self, latent: Tensor) -> Tensor:
        """Which cells may hold evidence, flat; the edge shrinks with a smaller image."""
        grid = latent.shape[-1]
        edge = grid * self.shape.frame // self.shape.grid
        inner = torch.zeros(grid, grid, dtype=torch.bool, device=latent.device)
        inner[edge : grid - edge, edge : grid - edge] = True
        return inner.flatten()

    def cells(self, latent: Tensor) -> Tensor:
        """Evidence (batch, rows, cells) of each row in each cell: the head's own terms."""
        weight = self.head.weight.flatten(1)
        bias: Tensor = self.head.bias  # type: ignore[assignment]
        terms = torch.einsum("bcn,rc->brn", latent.flatten(2), weight) + bias[:, None]
        return torch.where(self._inner(latent), terms, SILENT)

    def logits(self, cells: Tensor) -> list[Tensor]:
        """For each question (batch, answers), "no finding" (0) last where the question has it."""
        totals, first, found = torch.logsumexp(cells, 2), 0, []
        for answers, none in self.shape.questions:
            one = totals[:, first : first + answers]
            found.append(F.pad(one, (0, 1)) if none else one)
            first += answers
        return found
