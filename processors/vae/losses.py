"""What the training minimises, term by term; each function cites its source.

Pure tensor arithmetic: no network, no data, no random number.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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


def masked_bce(margins: Tensor, targets: Tensor, weight: Tensor, smooth: float = 0.0) -> Tensor:
    """Binary cross-entropy over the known labels alone.

    Args: margins, targets: (batch, rows); a target of -1 is unknown. weight: (rows, 2), of the
    negative and the positive class. smooth: moves the targets towards 0.5.
    """
    known = targets >= 0
    if not bool(known.any()):
        return margins.sum() * 0
    hard = targets.clamp_min(0)
    rows = weight.expand(len(targets), -1, -1)
    cost = torch.where(hard > 0.5, rows[..., 1], rows[..., 0]) * known
    soft = hard * (1 - smooth) + 0.5 * smooth
    loss = F.binary_cross_entropy_with_logits(margins, soft, reduction="none")
    return (loss * cost).sum() / cost.sum()


def cycle(got: Tensor, want: Tensor, latent: Tensor, intended: Tensor) -> Tensor:
    """How far a decoded and re-encoded latent is from what it was meant to say.

    Args: got, want: (batch, cells) evidence of one row; latent, intended: the two latents.
    Joint distribution over "no finding" (0) and the cells, the latent itself, and the margin.
    """
    none = torch.zeros_like(want[:, :1])
    target = torch.softmax(torch.cat([none, want], 1), 1)
    found = torch.log_softmax(torch.cat([none, got], 1), 1)
    joint = F.kl_div(found, target, reduction="batchmean")
    margin = F.smooth_l1_loss(torch.logsumexp(got, 1), torch.logsumexp(want, 1))
    return 0.3 * joint + 0.5 * F.smooth_l1_loss(latent, intended) + 0.3 * margin
