"""Synthetic patients: pictures drawn by the shipped model's decoder, wrapped as 12-bit DX objects.

A picture is decoded from an average latent over at least five patients of a class plus posterior
noise, so that it is nobody's film. Names are words for "example"; the same seed always draws the
same patients. PS3.3 A.26 (Digital X-Ray Image IOD, For Presentation).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from scipy.ndimage import zoom

from processors.runtime import Bundle, open_bundle

SIDE = 1024  # pixels; a small detector
DEPTH = 12  # bits stored
_NAMESPACE = uuid.UUID("8d1f6f0a-6a39-4f0b-9f57-5d5f0a6f5a10")
_VIEWS = {"PA": ("272479007", "postero-anterior"), "AP": ("399348003", "antero-posterior"),
          "LL": ("399173006", "left lateral")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """One patient of the demonstration. donor: key of donors.npz without `latents_`."""

    title: Mapping[str, str]
    name: str
    sex: str
    age: int
    donor: str
    view: str
    expected: str


@dataclass(frozen=True, slots=True)
class Patient:
    """A drawn patient: what to send, and how its study must end."""

    title: str
    study_uid: str
    datasets: tuple[Dataset, ...]
    expected: str


CAST = (
    Wanted({"en": "adult, drawn from pneumonia", "es": "adulta, dibujada a partir de neumonía"},
           "Ejemplo Núñez^Begoña", "F", 64, "adults_pneumonia", "PA", "completed"),
    Wanted({"en": "adult, drawn from no finding", "es": "adulto, dibujado sin hallazgos"},
           "Muestra^Jorge", "M", 41, "adults_none", "PA", "completed"),
    Wanted({"en": "child, drawn from pneumonia", "es": "niño, dibujado a partir de neumonía"},
           "Prueba^Íñigo", "M", 3, "children_pneumonia", "AP", "completed"),
    Wanted({"en": "child, drawn from normal", "es": "niña, dibujada sin hallazgos"},
           "Ensayo^Zoë", "F", 4, "children_none", "AP", "completed"),
    Wanted({"en": "lateral view, must be refused", "es": "proyección lateral, debe rechazarse"},
           "Ficticia^Ana María", "F", 57, "adults_none", "LL", "unsuitable"),
)  # fmt: skip


def draw(language: str, bundle: Bundle | None = None, seed: int = 7) -> list[Patient]:
    """The cast of the demonstration, from the shipped chest bundle unless another is given."""
    source = bundle or open_bundle("chest", device="cpu")
    random = np.random.default_rng(seed)
    return [_patient(source, wanted, index, random, language) for index, wanted in enumerate(CAST)]


def _patient(
    bundle: Bundle, wanted: Wanted, index: int, random: np.random.Generator, language: str
) -> Patient:
    pixels = picture(bundle, wanted.donor, random)
    dataset = _wrap(pixels, wanted, index)
    return Patient(
        wanted.title[language], str(dataset.StudyInstanceUID), (dataset,), wanted.expected
    )


def picture(bundle: Bundle, donor: str, random: np.random.Generator) -> NDArray[np.uint16]:
    """One synthetic film, uint16 (SIDE, SIDE), 0..4095, of an average latent plus noise."""
    latents = bundle.donors[f"latents_{donor}"].astype(np.float32)
    spread = bundle.donors[f"noise_{donor}"].astype(np.float32)
    chosen = latents[random.integers(len(latents))]
    noisy = chosen + 0.5 * spread * random.standard_normal(chosen.shape).astype(np.float32)
    drawn = bundle.decode(noisy[None])[0]
    large = zoom(drawn, SIDE / drawn.shape[0], order=3, mode="nearest")
    grain = random.normal(0.0, 0.006, large.shape)
    values = np.clip(large + grain, 0.0, 1.0) * (2**DEPTH - 1)
    film: NDArray[np.uint16] = np.rint(values).astype(np.uint16)
    return film


def _wrap(pixels: NDArray[np.uint16], wanted: Wanted, index: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = _uid("instance", index)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid("study", index), _uid("series", index)
    ds.PatientName, ds.PatientID = wanted.name, f"DEMO{index + 1:04d}"
    ds.IssuerOfPatientID = "DEMO"
    ds.PatientSex, ds.PatientAge = wanted.sex, f"{wanted.age:03d}Y"
    ds.PatientBirthDate = f"{2026 - wanted.age}0101"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260601"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"10{index:02d}00"
    ds.AccessionNumber, ds.StudyID = f"DEMO-A{index + 1:04d}", str(index + 1)
    ds.ReferringPhysicianName = ""
    ds.StudyDescription, ds.ProtocolName = "Radiografía de tórax (paciente sintético)", "Tórax"
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = 1, 1, f"Tórax {wanted.view}"
    _technique(ds, wanted.view)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, DEPTH, DEPTH - 1, 0
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _technique(ds: Dataset, view: str) -> None:
    """What a detector would write around a film."""
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", view
    ds.Manufacturer, ds.ManufacturerModelName = "Synthetic", "dictamen demo"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = "Drawn by a model; shows no person"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.ImageLaterality = "NO", "00", "U"
    ds.PatientOrientation = ["A", "F"] if view == "LL" else ["L", "F"]
    ds.AnatomicRegionSequence = [_code("816094009", "Chest")]
    ds.ViewCodeSequence = [_code(*_VIEWS[view])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.AcquisitionContextSequence = []
    ds.PresentationLUTShape = "IDENTITY"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.DetectorType, ds.ImagerPixelSpacing = "SCINTILLATOR", [0.42, 0.42]
    ds.PixelSpacing = [0.4, 0.4]
    ds.PixelSpacingCalibrationType = "GEOMETRY"
    ds.PixelSpacingCalibrationDescription = "Divided by the magnification factor"
    ds.PositionerType, ds.KVP = "NONE", "120"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _uid(kind: str, index: int) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{kind}/{index}').int}"
