"""What the commands `models study`, `sheet` and `shap-summary` do: open, read, call one study.

Runs the bundle as the node runs it (ONNX Runtime). An independent network, where one is asked for,
is trained first on the images of `train`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.explain import METHODS, require
from processors.runtime import Bundle, open_bundle
from processors.training.appraise import witnesses
from processors.training.pretrain import NOTHING, read_start
from processors.training.studies.choice import Sources, judged
from processors.training.studies.erased import erased
from processors.training.studies.marker_models import CAUSE, TASKS
from processors.training.studies.marker_planting import KINDS
from processors.training.studies.markers import Asking, study
from processors.training.studies.methods import methods
from processors.training.studies.shap_summary import page, summaries
from processors.training.studies.sheet import Tell, sheet
from processors.training.studies.sheet_drawing import Letters


def study_erased(path_or_name: str, sources: Sources, split: str, most: int) -> dict[str, Any]:
    """Of each mix of answers at most `most` images. Raises what opening and reading raise."""
    bundle = open_bundle(path_or_name, "cpu")
    found = erased(bundle, judged(bundle, sources, split, most))
    return {**_head(bundle, split), **found}


def study_methods(
    path_or_name: str, sources: Sources, split: str, most: int, witness_steps: int
) -> dict[str, Any]:
    """Of each answer at most `most` positives. witness_steps 0: no independent network."""
    bundle = open_bundle(path_or_name, "cpu")
    images = judged(bundle, sources, split, 4 * most)  # not every ill image is called ill
    witness = witnesses(bundle, sources, witness_steps) if witness_steps else None
    return {**_head(bundle, split), "methods": methods(bundle, images, most, witness)}


def study_markers(
    table: Path, images: Path, work: Path, start: Path | None, wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """wanted: fields of markers.Asking; None leaves the study's own. ValueError for an unknown
    kind of marker, task or method."""
    given = {name: value for name, value in wanted.items() if value is not None}
    if unknown := set(given.get("kinds", ())) - set(KINDS):
        raise ValueError(f"no marker is called {sorted(unknown)[0]!r}; known: {', '.join(KINDS)}")
    if given.get("task", CAUSE) not in TASKS:
        raise ValueError(f"no task is called {given['task']!r}; known: {', '.join(TASKS)}")
    if unknown := set(given.get("others", ())) - set(METHODS):
        raise ValueError(f"no method is called {sorted(unknown)[0]!r}; known: {', '.join(METHODS)}")
    begun = read_start(start) if start else NOTHING
    return study(table, images, work, Asking(**given, start=begun))


def write_sheet(
    path_or_name: str,
    sources: Sources,
    split: str,
    count: int,
    file: Path,
    font: Letters,
    tell: Tell = lambda _: None,
) -> int:
    """The rows that were drawn."""
    return sheet(open_bundle(path_or_name, "cpu"), sources, split, count, file, font, tell)


def write_shap_summary(
    path_or_name: str, sources: Sources, split: str, most: int, file: Path
) -> dict[str, int]:
    """The page of at most `most` images of each answer; answer -> images that it rests on.

    Raises MethodNotInstalled, and what opening and reading raise.
    """
    require(METHODS, ["shap"])
    bundle = open_bundle(path_or_name, "cpu")
    found = summaries(bundle, judged(bundle, sources, split, 4 * most), most)
    file.write_text(page(bundle, split, found), encoding="utf-8")
    return {one.name: one.images for one in found}


def _head(bundle: Bundle, split: str) -> dict[str, Any]:
    return {"bundle": bundle.name, "sha256": bundle.algorithm.sha256, "split": split}
