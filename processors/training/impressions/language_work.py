"""What a language model's training leaves on disk while it runs: checkpoints, log, whose it is.

In: the work folder. Out: the last checkpoint that was written to its end; `training.jsonl` and
`training.csv` (step, epoch, loss, validation loss, validation ROUGE, seconds); the record that a
later run must match to go on. Sound after a kill at any moment. Never: a checkpoint used that was
only half written; the log of another training.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from processors.impressions.corpus import Pair
from processors.impressions.prompts import LanguageModelError

LOG, TABLE, RECORD = "training.jsonl", "training.csv", "training.json"
COLUMNS = ("step", "epoch", "loss", "validation_loss", "rouge1", "rouge2", "rougeL", "rouge")
_STATE = "trainer_state.json"  # the last file of a checkpoint that transformers writes


def last_checkpoint(work: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones are removed."""
    found = {}
    for folder in work.glob("checkpoint-*"):
        number = folder.name.rpartition("-")[2]
        try:
            json.loads((folder / _STATE).read_text(encoding="utf-8"))
            found[int(number)] = folder
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
    return found[max(found)] if found else None


def claim(work: Path, record: Mapping[str, Any]) -> None:
    """Make the work folder this training's, or see that it is.

    Raises LanguageModelError when it belongs to another one, naming what differs.
    """
    work.mkdir(parents=True, exist_ok=True)
    file, told = work / RECORD, json.loads(json.dumps(record))
    if not file.exists():
        write(file, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return
    try:
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LanguageModelError(f"{file} cannot be read ({error}).") from error
    differs = sorted(k for k in {*known, *told} if known.get(k) != told.get(k))
    if differs:
        raise LanguageModelError(
            f"{work} belongs to another training: {', '.join(differs)} differ.",
            then="Name another folder with --work, or remove this one.",
        )


def fingerprint(pairs: Iterable[Pair]) -> str:
    """SHA-256 over the pairs, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps(asdict(pair), ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The trainer's history as rows of COLUMNS; what was not measured at a step is left out."""
    names = {"loss": "loss", "eval_loss": "validation_loss"}
    names |= {f"eval_{name}": name for name in COLUMNS if name.startswith("rouge")}
    found = []
    for entry in history:
        told = {mine: float(entry[theirs]) for theirs, mine in names.items() if theirs in entry}
        if told:
            found.append({"step": entry["step"], "epoch": round(float(entry["epoch"]), 4), **told})
    return found


def write_log(folder: Path, found: Sequence[Mapping[str, float]]) -> None:
    """The whole log anew, so that one that was cut short by a kill is mended by the next."""
    write(folder / LOG, "".join(json.dumps(row) + "\n" for row in found))
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write(folder / TABLE, table.getvalue())


def write(file: Path, text: str) -> None:
    """The file as it was, or as it should be; never half of it."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
