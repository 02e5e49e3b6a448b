"""What the training minimises, term by term; each function cites its source.

Pure tensor arithmetic: no network, no data, no random number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from processors.vae.latent import SILENT


def gaussian_kl(mean: Tensor, log_variance: Tensor, free: float = 0.03) -> tuple[Tensor, float]:
    """KL divergence from N(0, 1), summed over channels, averaged over batch and cells.

    Args: mean, log_variance: (batch, channels, grid, grid). free: nats per channel that cost
    nothing. Returns: the loss with free bits, and the plain value for the log.
    Source: Kingma & Welling arXiv:1312.6114, appendix B; free bits: Kingma et al. arXiv:1606.04934.
    """
    per_channel = (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).mean((0, 2, 3))
    return per_channel.clamp_min(free).sum(), float(per_channel.detach().sum())


def attention(images: Tensor, window: int = 7) -> Tensor:
    """Weights of the reconstruction from the local standard deviation: mean 1, in 0.3..4.

    Puts effort where the image carries information instead of into the empty background.
    """
    pair = torch.cat([images, images * images], 1)
    pooled = F.avg_pool2d(pair, window, 3, window // 2, count_include_pad=False)
    spread = (pooled[:, 1:] - pooled[:, :1] ** 2).clamp_min(0).sqrt()
    spread = F.interpolate(spread, size=images.shape[-2:], mode="bilinear", align_corners=False)
    mean = spread.mean((2, 3), keepdim=True).clamp_min(1e-4)
    return (0.3 + 0.7 * spread / mean).clamp(max=4.0)


def ssim(left: Tensor, right: Tensor, window: int = 7, stride: int = 1) -> Tensor:
    """Structural similarity (batch,) of images in 0..1, uniform window.

    Source: Wang et al., IEEE TIP 2004;13:600, with C1 = 0.01^2 and C2 = 0.03^2.
    """
    stack = torch.cat([left, right, left * left, right * right, left * right], 1)
    a, b, aa, bb, ab = torch.split(F.avg_pool2d(stack, window, stride), 1, 1)
    covariance, spread = ab - a * b, aa - a * a + bb - b * b
    top = (2 * a * b + 1e-4) * (2 * covariance + 9e-4)
    likeness: Tensor = top / ((a * a + b * b + 1e-4) * (spread + 9e-4))
    return likeness.mean((1, 2, 3))


def reconstruction(decoded: Tensor, images: Tensor, erased: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted L1 (erased pixels count three times) and mean SSIM.

    Source of the denoising target: Vincent et al., JMLR 2010;11:3371.
    """
    weight = attention(images) * (1 + 2 * erased)
    l1 = (weight * (decoded - images).abs()).sum() / weight.sum()
    return l1, ssim(decoded, images, stride=2).mean()


def answers(
    logits: Sequence[Tensor], targets: Tensor, weights: Sequence[Tensor], smooth: float = 0.0
) -> Tensor:
    """Cross-entropy of every question over the known targets, weighted by their share and added.

    Args: logits: per question (batch, classes). targets: (batch, questions), -1 where unknown.
    weights: per question (classes,). smooth: moves the targets towards the even distribution.
    """
    costs = []
    for number, (given, weight) in enumerate(zip(logits, weights, strict=True)):
        target = targets[:, number]
        if bool((target >= 0).any()):
            costs.append(
                F.cross_entropy(given, target, weight, ignore_index=-1, label_smoothing=smooth)
                * (target >= 0).float().mean()
            )
    return torch.stack(costs).sum() if costs else logits[0].sum() * 0


def placed(cells: Tensor, none: bool, answer: Tensor, inside: Tensor) -> Tensor:
    """-log P(the answer, in a cell of its place), averaged over the batch.

    Args: cells: (batch, answers, cells) of one question. answer: (batch,) its number. inside:
    (batch, cells) bool, at least one True each. A box on a few images says where to look.
    """
    every = cells.flatten(1)
    if none:
        every = F.pad(every, (0, 1))
    own = cells[torch.arange(len(cells)), answer].masked_fill(~inside, SILENT)
    return (torch.logsumexp(every, 1) - torch.logsumexp(own, 1)).mean()


def cycle(got: Tensor, want: Tensor, latent: Tensor, intended: Tensor) -> Tensor:
    """How far a decoded and re-encoded latent is from what it was meant to say.

    Args: got, want: (batch, answers, cells) evidence of one question; latent, intended: the two
    latents. Joint distribution over "no finding" (0), answers and cells, the latent itself, and
    the total of each answer.
    """
    none = torch.zeros_like(want[:, :1, 0])
    target = torch.softmax(torch.cat([none, want.flatten(1)], 1), 1)
    found = torch.log_softmax(torch.cat([none, got.flatten(1)], 1), 1)
    joint = F.kl_div(found, target, reduction="batchmean")
    margin = F.smooth_l1_loss(torch.logsumexp(got, 2), torch.logsumexp(want, 2))
    return 0.3 * joint + 0.5 * F.smooth_l1_loss(latent, intended) + 0.3 * margin
