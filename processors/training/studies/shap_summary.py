"""What a bundle looks at on the whole: SHAP maps of many images, averaged, one page a bundle.

In: a bundle, labelled images. Out: per answer the mean |map| and the mean signed map of the images
that are called what they are labelled, how much of |map| lies in the organ, and one HTML file with
the background set named. Never: a picture of one patient: what lies under the maps is a mean over
at least LEAST of them, and of fewer nothing is drawn.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from processors.explain import shap
from processors.explain.subject import organ_of
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.probes import Positive, positives
from processors.training.studies.figures import mean
from processors.training.studies.marker_measure import share_inside
from processors.vae.latent import Array

LEAST = 5  # patients under a mean that may be drawn; the rule for donors
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%;height:auto}.warn{border-left:.4rem solid #e69f00;padding:.4rem 1rem}"
    "code{word-break:break-all}"
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>SHAP summary of {name}</title><style>{style}</style>
<h1>SHAP summary of {name}</h1>
<p class=warn>What the model uses on average, not where a disease is. Places are those of the
image, so that means blur where patients differ. Not for diagnostic use.</p>
<p>Shapley values by {permutations} permutations both ways over about {superpixels} superpixels,
seed {seed}. Background set: averages over patients that the bundle ships
(<code>models/donors.npz</code>), decoded; never one patient's image. Split: {split}. Weights:
<code>{sha256}</code>.</p>
{body}</html>
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one answer. strength, signed: mean |map| and mean map, log-odds; film: the mean image; all
    (size, size). background: averages that each image was compared with. inside: share of |map| in
    the organ with its interval by patient, None where the card names no organ.
    """

    name: str
    images: int
    patients: int
    strength: Array
    signed: Array
    film: Array
    background: int
    inside: Mapping[str, Any] | None


def summaries(bundle: Bundle, images: ImageSet, most: int) -> list[Summary]:
    """One per answer that has averages to compare with and LEAST patients called what they are
    labelled; of at most `most` images each."""
    groups: dict[tuple[int, int], list[Positive]] = {}
    for one in positives(bundle, images, most):
        if len(one.subject.donors):
            groups.setdefault(one.place, []).append(one)
    enough = {k: v for k, v in groups.items() if len({p.sample.patient for p in v}) >= LEAST}
    return [_summary(bundle, mine) for mine in enough.values()]


def _summary(bundle: Bundle, mine: Sequence[Positive]) -> Summary:
    found = np.stack([shap.map_of(one.subject) for one in mine])
    organs = [organ_of(one.subject.film, str(bundle.card["field"])) for one in mine]
    pairs = zip(found, organs, strict=True)
    shares = [share_inside(each, organ) for each, organ in pairs if organ is not None]
    first = mine[0]
    return Summary(
        name=f"{bundle.card['questions'][first.place[0]]['name']}/{first.subject.label}",
        images=len(mine),
        patients=len({one.sample.patient for one in mine}),
        strength=np.abs(found).mean(0),
        signed=found.mean(0),
        film=np.mean([one.subject.film.network for one in mine], 0, dtype=np.float32),
        background=min(shap.BACKGROUND, len(first.subject.donors)),
        inside=mean(shares, [one.sample for one in mine]) if shares else None,
    )


def _figure(one: Summary) -> str:
    """Mean image, mean |map|, mean signed map, as an <img>; colours for colour-blind people too."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    top = float(np.abs(one.signed).max()) or 1.0
    layers = (
        (None, "", 0.0, 1.0, "mean of the images"),
        (one.strength, "cividis", 0.0, float(one.strength.max()) or 1.0, "mean |SHAP|, log-odds"),
        (one.signed, "PuOr_r", -top, top, "mean SHAP, log-odds: orange raises, purple lowers"),
    )
    for axis, (layer, colours, low, high, title) in zip(axes, layers, strict=True):
        axis.imshow(one.film, cmap="gray", vmin=0, vmax=1)
        if layer is not None:
            drawn = axis.imshow(layer, cmap=colours, vmin=low, vmax=high, alpha=0.65)
            figure.colorbar(drawn, ax=axis, shrink=0.8)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=100, metadata={"Software": None})
    picture = base64.b64encode(held.getvalue()).decode()
    told = html.escape(f"SHAP of {one.name}")
    return f'<img alt="{told}" src="data:image/png;base64,{picture}">'


def _section(one: Summary) -> str:
    where = ""
    if one.inside is not None:
        share = "{value:.2f} [{low:.2f}, {high:.2f}]".format(**one.inside)
        where = f" Share of |SHAP| in the organ: {share}, 95 % interval by patient."
    return (
        f"<section><h2>{html.escape(one.name)}</h2><p>{one.images} images of {one.patients} "
        f"patients, called what they are labelled.{where} Background of each: the {one.background} "
        f"most similar of the bundle's averages without the finding.</p>{_figure(one)}</section>"
    )


def page(bundle: Bundle, split: str, found: Sequence[Summary]) -> str:
    """The whole page, in one file without links."""
    algorithm, turns = bundle.algorithm, shap.Settings()
    return PAGE.format(
        name=html.escape(f"{algorithm.name} {algorithm.version}"),
        style=STYLE,
        permutations=turns.permutations,
        superpixels=shap.SUPERPIXELS,
        seed=turns.seed,
        split=html.escape(split),
        sha256=algorithm.sha256,
        body="".join(_section(one) for one in found)
        or f"<p>No answer with {LEAST} patients called what they are labelled.</p>",
    )
