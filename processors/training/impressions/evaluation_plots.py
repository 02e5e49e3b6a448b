"""Draws how ROUGE is spread over the reports, a box a system, and figures with their intervals.

In: scores by system. Out: SVG for the page. Whiskers reach to the least and the greatest value; the
diamond is the mean. Colours: Okabe & Ito's, told apart by everyone. Never: a number that is not in
the record.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from processors.training.impressions.scores import KINDS, Numbers

matplotlib.use("Agg")
BLUE, GREY, ORANGE = "#0072B2", "#888888", "#D55E00"
TITLES = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum")


def _svg(drawn: Figure) -> str:
    held = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dictamen"}):
        drawn.savefig(held, format="svg", metadata={"Date": None})
    pyplot.close(drawn)
    return held.getvalue().partition("<svg")[1] + held.getvalue().partition("<svg")[2]


def boxes(rouge: Mapping[str, Numbers], always: Collection[str]) -> str:
    """rouge: by system (cases, len(KINDS)). always: the baselines, drawn in grey."""
    names = list(rouge)
    drawn, panels = pyplot.subplots(
        1, len(KINDS), figsize=(13, 0.9 + 0.36 * len(names)), sharey=True, constrained_layout=True
    )
    for k, (panel, title) in enumerate(zip(panels, TITLES, strict=True)):
        parts = panel.boxplot(
            [rouge[name][:, k] for name in names],
            orientation="horizontal",
            whis=(0, 100),
            showmeans=True,
            patch_artist=True,
            widths=0.62,
            medianprops={"color": "black", "linewidth": 1.6},
            meanprops={
                "marker": "D", "markersize": 4.5, "markerfacecolor": "white",
                "markeredgecolor": "black",
            },
        )  # fmt: skip
        for name, box in zip(names, parts["boxes"], strict=True):
            box.set_facecolor(GREY if name in always else BLUE)
            box.set_alpha(0.65)
        panel.set_title(title, fontsize=10)
        panel.set_xlim(-0.02, 1.02)
        panel.grid(axis="x", color="#dddddd", linewidth=0.7)
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(1, len(names) + 1), names)
    panels[0].invert_yaxis()
    return _svg(drawn)


def intervals(rows: Sequence[tuple[str, float, float, float]], line: float, title: str) -> str:
    """Figures with 95 % intervals, (name, value, low, high), one below the other; those whose whole
    interval lies below `line` are drawn as worse, by colour and by shape."""
    drawn, panel = pyplot.subplots(figsize=(8, 0.9 + 0.34 * len(rows)), constrained_layout=True)
    for y, (_, value, low, high) in enumerate(rows):
        colour, shape = (ORANGE, "s") if high < line else (BLUE, "o")
        panel.plot([low, high], [y, y], color=colour, linewidth=2)
        panel.plot([value], [y], shape, color=colour)
    panel.axvline(line, color=GREY, linewidth=1, linestyle="--")
    panel.set_yticks(range(len(rows)), [row[0] for row in rows])
    panel.invert_yaxis()
    panel.set_title(title, fontsize=10)
    return _svg(drawn)
