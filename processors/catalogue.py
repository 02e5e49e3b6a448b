"""Lists the shipped bundles from their cards, without loading a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processors.runtime import SHIPPED, read_verified, weights_digest


def _answers(card: dict[str, Any], evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for question in card["questions"]:
        for answer in question["answers"]:
            name = f"{question['name']}/{answer['label']}"
            figure = evaluation.get("answers", {}).get(name, {}).get("auc")
            auc = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure) if figure else ""
            years = {"low": question["low"], "high": question["high"]}
            red = answer.get("red", True)
            found.append({"name": name, "years": years, "auc": auc, "red": red})
    return found


def shipped(folder: Path = SHIPPED) -> list[dict[str, Any]]:
    """Name, version, digest of the weights, labels and answers of each bundle."""
    found = []
    for place in sorted(p for p in folder.iterdir() if (p / "configs" / "metadata.json").is_file()):
        _, files = read_verified(str(place))
        metadata = json.loads(files["configs/metadata.json"])
        card = metadata["dictamen"]
        evaluation = card.get("evaluation") or {}
        found.append(
            {
                "name": metadata["name"],
                "version": metadata["version"],
                "sha256": weights_digest(files),
                "labels": [entry["label"] for entry in card["labels"]],
                "answers": _answers(card, evaluation),
            }
        )
    return found
