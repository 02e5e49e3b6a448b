"""Lists the shipped bundles from their cards, without loading a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processors.runtime import SHIPPED, read_verified, weights_digest


def _population(entry: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    figure = evaluation.get("populations", {}).get(entry["name"], {}).get("auc")
    words = f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]" if figure else ""
    years = {"low": entry["low"], "high": entry["high"]}
    return {"name": entry["name"], "years": years, "auc": words, "red": entry.get("red", True)}


def shipped(folder: Path = SHIPPED) -> list[dict[str, Any]]:
    """Name, version, digest of the weights, labels and populations of each bundle."""
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
                "populations": [_population(p, evaluation) for p in card["populations"]],
            }
        )
    return found
