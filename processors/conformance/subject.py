"""The bundle that is asked, and a study that it should judge, made from what its card says.

The study is drawn, not real: a picture or a series with the modality, body part, view and age of
the card. A bundle of ours has a gate of pixels; its picture is drawn by its own decoder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from scipy.ndimage import zoom

from processors import kinds
from processors.analysis import BundleError, Instance, Pixels, Processor, Study
from processors.runtime import CHECKSUMS, SHIPPED, open_bundle

CLASSES = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
}
OF_ORGAN: Mapping[str, Mapping[str, str]] = {
    "chest": {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"},
    "brain": {"Modality": "MR", "BodyPartExamined": "HEAD", "SeriesDescription": "T1 CONTRAST"},
    "breast": {"Modality": "US", "BodyPartExamined": "BREAST"},
}
SLICES, SIDE = 24, 128  # of a drawn series; least side of a drawn picture


@dataclass(frozen=True)
class Subject:
    """One bundle. wanted.bundle: its folder or shipped name."""

    kind: str
    wanted: kinds.Wanted

    @property
    def folder(self) -> Path:
        named = self.wanted.bundle
        shipped = SHIPPED / named
        return shipped if Path(named).name == named and shipped.is_dir() else Path(named)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.folder / "configs" / "metadata.json").read_text(encoding="utf-8")
        )
        return found

    @property
    def card(self) -> dict[str, Any]:
        return dict(self.metadata["dictamen"])

    @property
    def labels(self) -> list[str]:
        return [str(entry["label"]) for entry in self.card["labels"]]

    def build(self) -> Processor:
        return kinds.build(self.kind, self.wanted)

    def at(self, folder: Path) -> Subject:
        """The same, in another place."""
        return Subject(self.kind, replace(self.wanted, bundle=str(folder)))

    @cached_property
    def example(self) -> Study:
        """The first drawn study that the bundle accepts. Raises BundleError if it takes none."""
        processor, refused = self.build(), ""
        for study in self._drawn():
            refusal = processor.accepts(study)
            if refusal is None:
                return study
            refused = refusal.reason
        raise BundleError(f"No study as the card describes it is accepted: {refused}")

    def header(self) -> dict[str, Any]:
        """What an image of the card's kind says of itself."""
        gate = self.card.get("gate") or {}
        organ = gate.get("organ", "chest" if self.kind == "vae_bundle" else "any")
        said: dict[str, Any] = dict(OF_ORGAN.get(organ, {}))
        if gate.get("modalities"):
            said["Modality"] = gate["modalities"][0]
        if gate.get("body_parts"):
            said["BodyPartExamined"] = gate["body_parts"][0]
        if gate.get("views"):
            said["ViewPosition"] = gate["views"][0]
        low, high = (gate.get("populations") or [[18, 120]])[-1]
        said["PatientAge"] = f"{(low + min(high, 100)) // 2:03d}Y"
        return said

    def _drawn(self) -> Iterator[Study]:
        said = self.header()
        if self.kind == "vae_bundle":
            bundle = open_bundle(self.wanted.bundle, device="cpu")
            for name in sorted(k for k in bundle.donors if k.startswith("latents_")):
                picture = bundle.decode(bundle.donors[name][:1].astype(np.float32))[0]
                large = np.clip(zoom(picture, 512 / picture.shape[0], order=3), 0, 1)
                yield picture_study(np.asarray(large, np.float32), said)
        elif said["Modality"] in ("CT", "MR"):
            yield series_study(said)
        else:
            side = max(SIDE, int((self.card.get("gate") or {}).get("shortest_side", 0)))
            yield picture_study(pattern(side), said)


def kind_of(folder: str) -> str:
    """The kind of a bundle as its card says it. Raises BundleError."""
    place = Subject("", kinds.Wanted("", folder))
    try:
        kind = str(place.card.get("kind", ""))
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{folder} has no card in configs/metadata.json.") from error
    kind = "vae_bundle" if kind == "vae" else kind
    if kind not in kinds.BUILDERS:
        raise BundleError(f"The card of {folder} says kind {kind!r}, unknown here.")
    return kind


def pattern(side: int, seed: int = 0) -> Pixels:
    """A picture with something on it, 0..1."""
    coarse = np.random.default_rng(seed).random((8, 8))
    return np.asarray(np.clip(zoom(coarse, side / 8, order=3), 0, 1), dtype=np.float32)


def picture_study(picture: Pixels, said: Mapping[str, Any]) -> Study:
    """A study of one picture."""
    return _study([_header(1, picture.shape, said)], lambda _: picture)


def series_study(said: Mapping[str, Any], blank: bool = False) -> Study:
    """A series of slices with their place in space; values of CT in HU, of MR as drawn."""
    headers = [
        _header(
            number,
            (SIDE, SIDE),
            {
                "ImagePositionPatient": [-100.0, -100.0, 3.0 * number],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [1.5, 1.5],
                "SliceThickness": 3.0,
                "FrameOfReferenceUID": "2.25.4",
                "RescaleIntercept": 0,
                "RescaleSlope": 1,
                **said,
            },
        )
        for number in range(1, SLICES + 1)
    ]
    return _study(headers, lambda n: pattern(SIDE, n) * (0 if blank else 1))


def changed(study: Study, **said: Any) -> Study:
    """The same study with other headers."""
    headers = []
    for one in study.instances:
        header = deepcopy(one.header)
        for keyword, value in said.items():
            setattr(header, keyword, value)
        headers.append(Instance(one.uid, header))
    return replace(study, instances=tuple(headers))


def _header(number: int, shape: tuple[int, ...], said: Mapping[str, Any]) -> Dataset:
    made = Dataset()
    made.SOPClassUID = CLASSES.get(str(said["Modality"]), CLASSES["CR"])
    made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.1", "2.25.2"
    made.SOPInstanceUID, made.InstanceNumber = f"2.25.3.{number}", number
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.Rows, made.Columns = shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BurnedInAnnotation, made.PatientSex = "NO", "F"
    made.ImagerPixelSpacing = [0.2, 0.2]
    for keyword, value in said.items():
        setattr(made, keyword, value)
    return made


def _study(headers: list[Dataset], drawn: Callable[[int], Pixels]) -> Study:
    numbers = {str(one.SOPInstanceUID): int(one.InstanceNumber) for one in headers}
    is_ct = headers[0].Modality == "CT"

    def values(uid: str, _frame: int) -> Pixels:
        picture = drawn(numbers[uid])
        return picture * np.float32(2000) - np.float32(1000) if is_ct else picture * np.float32(255)

    return Study(
        "2.25.1",
        tuple(Instance(str(one.SOPInstanceUID), one) for one in headers),
        lambda uid, _frame: drawn(numbers[uid]),
        values=values,
    )


def seal(folder: Path) -> None:
    """Write the checksums of a changed copy anew."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CHECKSUMS
    ]
    (folder / CHECKSUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
