"""The site's card: what it must say, and that every mistake is named at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processors import kinds
from processors.adapters.card import CardFaulty
from processors.analysis import BundleError
from processors.training.bundle import write_checksums

Folders = Callable[[str], Path]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("labels"), "dictamen.labels"),
        (lambda c: c.pop("research"), "dictamen.research"),
        (lambda c: c.pop("gate"), "dictamen.gate"),
        (lambda c: c["gate"].pop("modalities"), "gate.modalities"),
        (lambda c: c["gate"].pop("populations"), "gate.populations"),
        (lambda c: c["gate"].update(vies=["PA"]), "gate.vies"),
        (lambda c: c["labels"][0]["name"].pop("es"), "labels.0.name.es"),
        (lambda c: c["labels"][0].update(treshold=0.4), "labels.0.treshold"),
        (lambda c: c["labels"][0].update(threshold=1.4), "labels.0.threshold"),
        (lambda c: c["labels"][0].update(band=[0.6, 0.7]), "does not hold its threshold"),
        (lambda c: c["labels"][1].update(label="nodule"), "the same name"),
        (lambda c: c["labels"][1].update(channel=0), "the same channel"),
        (lambda c: c["labels"][1].update(channel=7), "channel 7 and the network has 2"),
        (lambda c: c["labels"][0]["code"].update(value="x" * 17), "labels.0.code.value"),
        (lambda c: c.pop("activation"), "activation is missing"),
        (lambda c: c.update(kind="torchxrayvision"), "node.yaml says monai_bundle"),
    ],
)
def test_a_faulty_card_is_named(
    copied: Folders, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = copied("classifier")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    spoil(metadata["dictamen"])
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    with pytest.raises(BundleError, match=message):
        kinds.build("monai_bundle", kinds.Wanted("x", str(folder), device="cpu"))


def test_all_mistakes_are_said_at_once(copied: Folders) -> None:
    folder = copied("classifier")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["dictamen"]["research"], metadata["dictamen"]["gate"]
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    with pytest.raises(CardFaulty, match=r"gate.*research|research.*gate"):
        kinds.build("monai_bundle", kinds.Wanted("x", str(folder), device="cpu"))
