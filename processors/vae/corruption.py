"""What training does to an image before the network may see it.

Geometry moves input and target alike (the network learns the same film elsewhere); defects spoil
the input alone (the decoder must remove them and fill the holes). Randomness comes from torch's
global generator, so one seed repeats a run.
Sources: denoising, Vincent et al. JMLR 2010; random erasing, Zhong et al. arXiv:1708.04896.
"""

from __future__ import annotations

import math

import torch
from monai.networks.layers import GaussianFilter
from torch import Tensor
from torch.nn import functional as F

SHIFT = 0.06  # of half the image's side


def _spread(count: int, scale: float) -> Tensor:
    return (torch.rand(count) * 2 - 1) * scale


def geometric(
    images: Tensor, mirror: float = 0.0, turn: float = 12.0, scale: float = 0.12
) -> Tensor:
    """Mirroring (share), rotation (degrees), scale, shift, perspective of a batch (n, c, s, s).

    All channels of an image move alike: a mask goes with its picture.
    """
    count, size = images.shape[0], images.shape[-1]
    angle = _spread(count, math.radians(turn))
    wide, high = 1 + _spread(count, scale), 1 + _spread(count, scale)
    wide = torch.where(torch.rand(count) < mirror, -wide, wide)
    plane = torch.zeros(count, 3, 3)
    plane[:, 0, 0], plane[:, 0, 1] = wide * angle.cos(), -wide * angle.sin()
    plane[:, 1, 0], plane[:, 1, 1] = high * angle.sin(), high * angle.cos()
    plane[:, 0, 2], plane[:, 1, 2] = _spread(count, SHIFT), _spread(count, SHIFT)
    plane[:, 2, 0], plane[:, 2, 1], plane[:, 2, 2] = _spread(count, 0.06), _spread(count, 0.06), 1
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    points = torch.stack([ticks.repeat(size), ticks.repeat_interleave(size), torch.ones(size**2)])
    moved = plane @ points
    grid = (moved[:, :2] / moved[:, 2:].clamp_min(0.3)).transpose(1, 2)
    grid = grid.view(count, size, size, 2).to(images.device)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _erase(images: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Rectangles of one grey or of noise; returns images and a map of the erased pixels."""
    size = images.shape[-1]
    erased = torch.zeros_like(images)
    for one, hole in zip(images, erased, strict=True):
        if torch.rand(()) >= share:
            continue
        for _ in range(int(torch.randint(1, 4, ()))):
            high, wide = (int(v) for v in torch.randint(size // 10, size // 4, (2,)))
            top, left = (int(torch.randint(0, size - v, ())) for v in (high, wide))
            fill = torch.rand(()) if torch.rand(()) < 0.5 else torch.rand(high, wide)
            one[:, top : top + high, left : left + wide] = fill
            hole[:, top : top + high, left : left + wide] = 1
    return images, erased


def defects(images: Tensor, noise: float, blur: float, erase: float) -> tuple[Tensor, Tensor]:
    """Contrast, blur (share of images), noise (highest deviation), holes (share of images).

    Returns the spoilt images (n, 1, s, s), 0..1, and the map of erased pixels.
    """
    count = len(images)
    gamma = torch.exp(_spread(count, 0.25)).view(-1, 1, 1, 1).to(images.device)
    spoilt = images.clamp_min(1e-4) ** gamma
    spoilt, chosen = spoilt.clone(), torch.rand(count) < blur
    if bool(chosen.any()):
        width = float(torch.empty(1).uniform_(0.5, 1.6))
        smooth = GaussianFilter(2, width, truncated=3.0).to(images.device)
        spoilt[chosen] = smooth(spoilt[chosen])
    level = torch.rand(count, 1, 1, 1).to(images.device) * noise
    spoilt = spoilt + torch.randn_like(spoilt) * level
    spoilt, erased = _erase(spoilt, erase)
    return spoilt.clamp(0, 1), erased
