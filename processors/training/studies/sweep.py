"""What beta trades: reconstruction, information, answers and independence, as figures and a plot.

Independence of the latent is measured two ways: channels that carry anything (active units, Burda
et al. arXiv:1509.00519, variance of the mean above 0.01) and the mean absolute correlation between
their means over all cells (0: independent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from processors.training import fit
from processors.training.studies.figures import mean
from processors.training.studies.learning import (
    Ground,
    Tell,
    answers,
    figure,
    learn,
    reconstructed,
)

matplotlib.use("Agg")
from matplotlib import pyplot

BETAS = (0.0002, 0.001, 0.005, 0.02)
ACTIVE = 0.01


def independence(means: NDArray[np.float32]) -> tuple[int, float]:
    """Active channels and the mean absolute correlation among them; means (n, channels, g, g)."""
    flat = means.transpose(1, 0, 2, 3).reshape(means.shape[1], -1).astype(np.float64)
    active = flat[flat.var(1) > ACTIVE]
    if len(active) < 2:
        return len(active), 0.0
    matrix = np.corrcoef(active)
    return len(active), float(np.abs(matrix[~np.eye(len(matrix), dtype=bool)]).mean())


def _nats(means: NDArray[np.float32], spreads: NDArray[np.float32]) -> float:
    """Mean KL divergence of one cell from the prior."""
    every = 0.5 * (means**2 + np.exp(spreads) - 1 - spreads)
    return float(every.sum(1).mean())


def sweep(here: Ground, betas: Sequence[float], steps: int, tell: Tell) -> dict[str, Any]:
    """Per beta: SSIM, nats per cell, AUC per question, active channels and their correlation."""
    found: dict[str, Any] = {}
    for beta in betas:
        model = learn(here, {"beta": beta, "steps": steps}, tell, name=f"beta-{beta:g}").model
        seen = here.judged.inputs.astype(np.float32) / np.float32(255)
        pairs = zip(seen, reconstructed(model, here.judged), strict=True)
        likeness = [float(structural_similarity(a, b, data_range=1.0)) for a, b in pairs]
        means, spreads = fit.encode_both(model, here.judged.inputs)
        active, correlation = independence(means)
        found[f"{beta:g}"] = {
            "ssim": mean(likeness, here.judged.samples),
            "kl_nats_per_cell": round(_nats(means, spreads), 3),
            "auc": {one.name: figure(one) for one in answers(here, model)},
            "active_channels": active,
            "mean_correlation": round(correlation, 4),
        }
    return found


def plot(found: Mapping[str, Any], file: Path) -> Path:
    """Four panels over beta: SSIM, KL, AUC, correlation; bars are 95 % intervals."""
    betas = [float(b) for b in found]
    drawn, panels = pyplot.subplots(1, 4, figsize=(13, 3.2), constrained_layout=True)
    rows = list(found.values())
    _bars(panels[0], betas, [r["ssim"] for r in rows], "SSIM")
    panels[1].plot(betas, [r["kl_nats_per_cell"] for r in rows], "o-", color="#0072B2")
    panels[1].set_title("KL, nats per cell")
    for name in rows[0]["auc"]:
        _bars(panels[2], betas, [r["auc"][name] for r in rows], "AUC (macro)", name)
    panels[3].plot(betas, [r["mean_correlation"] for r in rows], "o-", color="#0072B2")
    panels[3].set_title("correlation between channels")
    for panel in panels:
        panel.set_xscale("log")
        panel.set_xlabel("beta")
    panels[2].legend(loc="center right")
    drawn.savefig(file, dpi=120)
    pyplot.close(drawn)
    return file


def _bars(
    panel: Any, betas: Sequence[float], figures: Sequence[Mapping[str, float]], title: str,
    label: str = "",
) -> None:  # fmt: skip
    values = np.array([f["value"] for f in figures])
    low, high = (np.array([f[k] for f in figures]) for k in ("low", "high"))
    panel.errorbar(betas, values, [values - low, high - values], fmt="o-", capsize=3, label=label)
    panel.set_title(title)
