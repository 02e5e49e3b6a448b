"""The words of the shipped bundle's card, made of what the training measured.

In: the bundle's configuration with its figures. Out: Markdown. Never: a number typed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TEXT = Path(__file__).with_name("card.md")


def words_of(content: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    return _TEXT.read_text(encoding="utf-8").format(
        **{name: content[name] for name in ("name", "version", "lightgbm", "source", "citation")},
        caution=content["caution"],
        new=content["new"],
        licence=content["licence"],
        columns=sum(len(names) for names in content["columns"].values()),
        learned=content["reports"]["learnt from"],
        held=content["reports"]["held out"],
        tables="\n".join(_table(kind, groups) for kind, groups in content["figures"].items()),
    )


def _table(kind: str, groups: Mapping[str, Any]) -> str:
    heads = [f"{name} ({found['reports']})" for name, found in groups.items()]
    lines = [f"| {kind} | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for measure in next(iter(groups.values()))["values"]:
        cells = (_cell(found["values"][measure]) for found in groups.values())
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
