"""What the command `models audit-bias` does: open, read, audit, write.

Runs the bundle as the node runs it (ONNX Runtime).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from processors.runtime import Bundle, open_bundle
from processors.training.audit.page import WORDS, page
from processors.training.audit.record import Tell, audits
from processors.training.card import write_audit
from processors.training.data import ImageSet, is_tuning, join, load
from processors.training.plan import questions_of

Sources = Sequence[tuple[Path, Path]]


@dataclass(frozen=True, slots=True)
class Asked:
    """judged: tables with images, one split of which is judged; out: folder of the page."""

    judged: Sources
    split: str = "val"
    out: Path | None = None
    language: str = "en"
    write_card: bool = False


def audit_bias(path_or_name: str, asked: Asked, tell: Tell) -> dict[str, Any]:
    """The record; writes audit.html and audit.json where asked. ValueError where no answer has
    enough films. Choosing films are those of `train` that calibrated and never fitted."""
    if asked.language not in WORDS:
        raise ValueError(f"the page is written in {' or '.join(WORDS)}, not in {asked.language!r}")
    bundle = open_bundle(path_or_name, "cpu")
    judged = _load(bundle, asked.judged, asked.split)
    learnt = _load(bundle, asked.judged, "train")
    chooses = learnt.where([is_tuning(s.patient) for s in learnt.samples])
    found = list(audits(bundle, judged, chooses, tell))
    if not found:
        raise ValueError(f"no answer of {bundle.name} has enough films in the split {asked.split}")
    record = {
        "bundle": bundle.metadata["name"],
        "version": bundle.metadata["version"],
        "sha256": bundle.algorithm.sha256,
        "split": asked.split,
        "biased": any(one.verdict.biased for one in found),
        "answers": {one.case.name: one.record() for one in found},
    }
    if asked.out:
        tell("page")
        asked.out.mkdir(parents=True, exist_ok=True)
        gradcam = find_spec("monai") is not None
        text = page(bundle, found, asked.language, gradcam)
        (asked.out / "audit.html").write_text(text, encoding="utf-8")
        written = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (asked.out / "audit.json").write_text(written, encoding="utf-8")
    if asked.write_card:
        write_audit(bundle, record)
    return record


def _load(bundle: Bundle, sources: Sources, split: str) -> ImageSet:
    questions = questions_of(bundle.card["questions"])
    return join([load(table, images, questions, bundle.size, split) for table, images in sources])
