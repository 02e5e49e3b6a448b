"""Draws an audit: films with the generative map beside Grad-CAM, and the figures as dots with bars.

In: what was audited. Out: PNG bytes for the page. Colours: Okabe & Ito's, told apart by everyone.
Never: a number that is not in the record.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from processors.explain.compare import maps
from processors.explain.field import FIELDS
from processors.training.audit.cases import Case
from processors.training.audit.probes import Marked
from processors.training.audit.record import Audited
from processors.training.measure import Estimate
from processors.training.places import lot
from processors.vae.latent import Array

matplotlib.use("Agg")
FILMS = 3
STRONG = 99  # percentile of a map that is drawn at full strength
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
METHODS = ("traversal", "gradcam")


def _png(drawn: Figure) -> bytes:
    held = io.BytesIO()
    drawn.savefig(held, format="png", dpi=110)
    pyplot.close(drawn)
    return held.getvalue()


def _chosen(case: Case, called: np.ndarray[Any, np.dtype[np.bool_]]) -> list[int]:
    found = np.flatnonzero(case.positive & called)
    return sorted((int(i) for i in found), key=lambda i: lot(case.images.samples[i].path))[:FILMS]


def _in_organ(film: Array, found: Array, field: str) -> Array | None:
    organ = FIELDS[field](film) if field else None
    return None if organ is None else np.where(organ, found, 0)


def _row(panels: Sequence[Any], case: Case, i: int, methods: Sequence[str]) -> None:
    subject = case.subject(i)
    film, field = subject.film.network, str(case.bundle.card["field"])
    shown: list[Array | None] = [None, *maps(subject, methods).values()]
    if "gradcam" in methods:
        shown.append(_in_organ(film, shown[-1] if shown[-1] is not None else film, field))
    for panel, found in zip(panels, shown, strict=True):
        panel.imshow(film, cmap="gray", vmin=0, vmax=1)
        panel.set_axis_off()
        if found is not None and np.percentile(np.abs(found), STRONG) > 0:
            strength = np.clip(np.abs(found) / np.percentile(np.abs(found), STRONG), 0, 1)
            panel.imshow(np.sign(found), cmap="PuOr_r", vmin=-1, vmax=1, alpha=0.75 * strength)


def films(audited: Audited, found: Marked, words: dict[str, str], gradcam: bool) -> bytes:
    """True positives as they are and with the mark that costs most: generative map, Grad-CAM,
    Grad-CAM in the organ alone. gradcam: whether its extra is installed."""
    case, methods = audited.case, METHODS if gradcam else METHODS[:1]
    with_mark = _with(case, found)
    rows = [(case, i) for i in _chosen(case, case.margins >= case.goal)]
    rows += [(with_mark, i) for i in _chosen(with_mark, with_mark.margins >= case.goal)]
    titles = [words["film"], words["traversal"]] + [words["gradcam"], words["organ"]] * gradcam
    size = (2.4 * len(titles), 2.5 * max(1, len(rows)))
    drawn, panels = pyplot.subplots(
        max(1, len(rows)), len(titles), figsize=size, squeeze=False, constrained_layout=True
    )
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    for line, (which, i) in zip(panels, rows, strict=False):
        _row(line, which, i, methods)
    return _png(drawn)


def _with(case: Case, found: Marked) -> Case:
    """The same answer on the marked films."""
    images = replace(case.images, inputs=found.inputs)
    return replace(case, images=images, latents=found.latents, margins=found.margins)


@dataclass(frozen=True, slots=True)
class Dot:
    """bad: drawn as a fault, by colour and by shape."""

    name: str
    figure: Estimate
    bad: bool


def dots(rows: Sequence[Dot], lines: Sequence[float], title: str) -> bytes:
    """Figures with their intervals, one below the other; lines: where a fault begins."""
    drawn, panel = pyplot.subplots(figsize=(7.5, 0.8 + 0.36 * len(rows)), constrained_layout=True)
    for y, row in enumerate(rows):
        colour, shape = (ORANGE, "s") if row.bad else (BLUE, "o")
        panel.plot([row.figure.low, row.figure.high], [y, y], color=colour, linewidth=2)
        panel.plot([row.figure.value], [y], shape, color=colour)
    for line in lines:
        panel.axvline(line, color=GREY, linewidth=1, linestyle="--")
    panel.set_yticks(range(len(rows)), [row.name for row in rows])
    panel.invert_yaxis()
    panel.set_title(title, fontsize=10)
    return _png(drawn)
