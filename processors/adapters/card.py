"""The site's card of somebody else's model: the block `dictamen` of configs/metadata.json.

What MONAI's metadata does not say: labels with names, codes, thresholds and bands, for whom the
model is (the gate), what must stand in every report. Read strictly: an unknown or missing key is
named, all of them at once. Never: a guess; a label without both names; a silent research model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from processors.analysis import BundleError, Code

METADATA = "configs/metadata.json"
Kind = Literal["monai_bundle", "torchxrayvision", "http_endpoint"]
Unit = Annotated[float, Field(ge=0, le=1)]
# PS3.16 CID 7150
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")


class CardFaulty(BundleError):
    """The card lacks something, or says what cannot be meant."""


class Part(BaseModel):
    """A mapping of the card: frozen, unknown keys refused, numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Spoken(Part):
    """A text in both languages of the node."""

    en: str = Field(min_length=1, max_length=500)
    es: str = Field(min_length=1, max_length=500)

    def in_(self, language: str) -> str:
        return self.es if language == "es" else self.en


class CodeOf(Part):
    """A coded concept, in DICOM's lengths."""

    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)

    def made(self) -> Code:
        return Code(self.value, self.scheme, self.meaning)


class Label(Part):
    """One thing that the model names.

    channel: its place in the network's output. threshold, band: where the state changes, and
    between which values it is undetermined. anatomy: a segment that is no finding (a liver).
    least: segmentation: how much makes it present, in ml of a volume or as a share of a picture;
    less is undetermined. urgent: whether its presence is a reason to hurry.
    """

    label: str = Field(min_length=1, max_length=64)
    name: Spoken
    channel: int = Field(0, ge=0)
    threshold: Unit = 0.5
    band: tuple[Unit, Unit] | None = None
    code: CodeOf | None = None
    site: CodeOf | None = None
    anatomy: bool = False
    urgent: bool = True
    least: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _band_holds_threshold(self) -> Label:
        low, high = self.between
        if not low <= self.threshold <= high:
            raise ValueError(f"band of {self.label} does not hold its threshold")
        return self

    @property
    def between(self) -> tuple[float, float]:
        return self.band or (self.threshold, self.threshold)

    @property
    def category(self) -> Code:
        return ANATOMY if self.anatomy else ABNORMAL


class Gate(Part):
    """What the model may be asked; see `processors.gate`. modalities and populations are musts."""

    modalities: tuple[str, ...] = Field(min_length=1)
    populations: tuple[tuple[int, int], ...] = Field(min_length=1)
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    shortest_side: int = Field(32, ge=1)
    organ: Literal["any", "chest", "brain", "breast"] = "any"


class Block(Part):
    """The card.

    research: whose model it is, from which data, and that it is not for diagnosis: stands in every
    report. calibrated: its numbers are probabilities on this site's patients. activation: what
    turns the network's output into 0..1 (monai_bundle alone). pixels: what the network is given,
    the picture as displayed (0..255) or the values as measured; absent: values for CT and MR.
    axes: the order of the network's first two axes, columns first as MONAI's readers load a file,
    or rows first. preprocessing: in place of that of configs/inference.json.
    """

    kind: Kind
    labels: tuple[Label, ...] = Field(min_length=1)
    gate: Gate
    research: Spoken
    notes: tuple[Spoken, ...] = ()
    calibrated: bool = False
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    pixels: Literal["rendered", "values"] | None = None
    axes: Literal["columns_first", "rows_first"] = "columns_first"
    preprocessing: tuple[dict[str, Any], ...] | None = None

    @model_validator(mode="after")
    def _labels_differ(self) -> Block:
        names = [one.label for one in self.labels]
        channels = [one.channel for one in self.labels]
        if len(set(names)) < len(names):
            raise ValueError("two labels have the same name")
        if self.kind != "http_endpoint" and len(set(channels)) < len(channels):
            raise ValueError("two labels have the same channel")
        if self.kind == "monai_bundle" and self.activation is None:
            raise ValueError("activation is missing: softmax, sigmoid or none")
        return self


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was read. gate: as `processors.gate` takes it; metadata: the whole file."""

    name: str
    version: str
    block: Block
    gate: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def is_volume(self) -> bool:
        """Whether its images are slices of a volume (CT, MR)."""
        return set(self.block.gate.modalities) <= {"CT", "MR"}


def read(files: Mapping[str, bytes], folder: str, kind: Kind) -> Card:
    """The card of a bundle's files. Raises CardFaulty with everything that is wrong with it."""
    if METADATA not in files:
        raise CardFaulty(f"Bundle {folder} lists no {METADATA}.", then="Write the site's card.")
    try:
        metadata = json.loads(files[METADATA])
        block = Block.model_validate(metadata["dictamen"])
        version = str(metadata["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise CardFaulty(
            f"{METADATA} of bundle {folder} cannot be used: {_faults(error)}.",
            then="The guide for model authors lists the keys of its block `dictamen`.",
        ) from error
    if block.kind != kind:
        raise CardFaulty(f"Bundle {folder} is a {block.kind} and node.yaml says {kind}.")
    stated = block.gate.model_dump(exclude_unset=True)
    volume = {"volume": True} if set(block.gate.modalities) <= {"CT", "MR"} else {}
    gate = {"organ": "any", "shortest_side": 32, **stated, "file": "", **volume}
    return Card(str(metadata.get("name") or folder), version, block, {"gate": gate}, metadata)


def _faults(error: Exception) -> str:
    if isinstance(error, ValidationError):
        places = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        return "; ".join(f"dictamen.{place}: {said}".replace(".:", ":") for place, said in places)
    return f"no {error}" if isinstance(error, KeyError) else str(error)
