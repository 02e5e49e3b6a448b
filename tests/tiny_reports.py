"""Reports written for the tests: findings and impression, some normal, some not."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

from processors.impressions.corpus import Pair

COLUMNS = ("uid", "split", "findings", "impression", "abnormal", "unseen", "group")
SIDES = ("left", "right")
ILL = (
    ("There is a small {side} pleural effusion.", "Small {side} pleural effusion."),
    ("A {side} apical pneumothorax is present.", "{Side} pneumothorax."),
    ("Consolidation in the {side} lower lobe.", "{Side} lower lobe consolidation."),
    ("Linear atelectasis at the {side} base.", "{Side} basilar atelectasis."),
)
BESIDE = ("The heart size is normal.", "No acute fracture.", "The mediastinum is midline.")
WELL = "The lungs are clear. The heart size is normal. No pleural effusion or pneumothorax."
NORMAL = "No acute disease."


def rows() -> list[dict[str, str]]:
    """36 reports, two thirds of them with a finding; every third is of `val`."""
    found = []
    for n, (beside, side, (said, meant)) in enumerate(product(BESIDE, SIDES, ILL)):
        names = {"side": side, "Side": side.capitalize()}
        pair = (f"{said.format(**names)} {beside}", meant.format(**names), "1")
        found.append((*pair, str(n)))
    found += [(f"{WELL} {beside}", NORMAL, "0", "normal") for beside in BESIDE * 4]
    splits = ("train", "train", "val")
    return [
        dict(zip(COLUMNS, (f"r{n}", splits[n % 3], *pair, "0", group), strict=True))
        for n, (*pair, group) in enumerate(found)
    ]


def write(path: Path, reports: list[dict[str, str]] | None = None) -> Path:
    """A table of the reports, of all of them where none are named."""
    reports = rows() if reports is None else reports
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(reports[0]))
        table.writeheader()
        table.writerows(reports)
    return path


def pairs(split: str = "") -> list[Pair]:
    """The reports as pairs, of one split where it is named."""
    names = ("uid", "findings", "impression", "group", "split")
    return [Pair(**{k: r[k] for k in names}) for r in rows() if split in ("", r["split"])]
