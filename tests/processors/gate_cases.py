"""Studies for the tests of the gate: made from headers, or of one real file."""

from __future__ import annotations

import csv
import io
import re
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from processors import gate, pixels
from processors.analysis import Instance, Pixels, Study

BUNDLES = Path(gate.__file__).resolve().parent.parent / "bundles"
OPENINGS = {"es": "No valorado porque ", "en": "Not assessed because "}
# of a tissue with some structure: neither blank nor anything that a gate of pixels would accept
PICTURE = np.kron(np.random.default_rng(4).random((8, 8)), np.ones((64, 64))).astype(np.float32)

FRONTAL: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "Modality": "DX",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 512,
    "Columns": 512,
    "PatientAge": "045Y",
    "StudyDate": "20240301",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PresentationIntentType": "FOR PRESENTATION",
}
SLICE: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "Modality": "MR",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "SE"],
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 512,
    "Columns": 512,
    "PatientAge": "045Y",
    "BodyPartExamined": "HEAD",
    "SeriesDescription": "AX T1 GD",
    "ScanningSequence": "SE",
    "EchoTime": 12.0,
    "ContrastBolusAgent": "Gadovist",
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
}
SCAN: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1",
    "Modality": "US",
    "ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "0001"],
    "PhotometricInterpretation": "RGB",
    "Rows": 600,
    "Columns": 800,
    "PatientAge": "052Y",
    "BodyPartExamined": "BREAST",
}


def sequence(**attributes: Any) -> Sequence:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return Sequence([made])


def study(
    *headers: dict[str, Any], picture: Pixels | Exception = PICTURE, coloured: float = 0.0
) -> Study:
    """A study of one instance for each header; None leaves an attribute out."""
    instances = []
    for number, attributes in enumerate(headers, start=1):
        header = Dataset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some values break their VR on purpose
            for keyword, value in attributes.items():
                if value is not None:
                    setattr(header, keyword, value)
        instances.append(Instance(f"1.2.{number}", header))

    def read(uid: str, frame: int) -> Pixels:
        if isinstance(picture, Exception):
            raise picture
        return picture

    return Study("1.2", tuple(instances), read, lambda uid, frame: coloured)


def kind_of(subject: Study, card: dict[str, Any], folder: Path, languages: str = "es en") -> str:
    """The kind of refusal, "" when accepted; its sentence is checked in the languages."""
    for language in languages.split():
        opening = OPENINGS[language]
        refusal, _ = gate.check(subject, card, folder, language)
        if refusal is not None:
            assert re.fullmatch(rf"{opening}[^{{}}]+[^.]\.", refusal.reason), refusal.reason
    return refusal.kind if refusal else ""


def real(folder: Path, name: str) -> Study:
    """A study of one file, as the pipeline builds it."""
    dataset = pixels.read_dataset(folder / name)
    header = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for element in dataset:
            if element.tag.group != 0x7FE0:
                header[element.tag] = element
    uid = str(dataset.get("SOPInstanceUID", "1.2.3"))
    return Study(
        "1.2",
        (Instance(uid, header),),
        lambda _, frame: pixels.render(dataset, frame),
        lambda _, frame: pixels.colour(dataset, frame),
    )


def listed(shared: Path) -> list[dict[str, str]]:
    """The rows of the manifest of real files."""
    with (shared / "data" / "dicom" / "manifest.csv").open(newline="") as listing:
        return list(csv.DictReader(listing))


def films(shared: Path, name: str, split: str = "val", without: str = "") -> list[Pixels]:
    """The pictures of a part of a set, but those with one label."""
    images = shared / "data" / "images"
    with (images / f"{name}.csv").open(newline="") as listing:
        rows = [row for row in csv.DictReader(listing) if row["split"] == split]
    with tarfile.open(images / f"{name}.tar") as tar:
        read = [tar.extractfile(row["path"]) for row in rows if row["labels"] != without]
        return [
            np.asarray(Image.open(io.BytesIO(file.read())).convert("L"), dtype=np.float32) / 255
            for file in read
            if file is not None
        ]
