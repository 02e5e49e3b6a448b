"""Writes the pictures: overlay, strip and maps, as Secondary Capture (PS3.3 A.8).

In: present or undetermined findings and their explanations. Out: one overlay for each image that
shows something (single-frame SC), and one strip for each explanation that passed its tests
(multi-frame true colour SC with one label per frame; or single frames; or one mosaic), or one
single-frame SC where the explanation is a map without frames.
The illustration of the Structured Report, never its substitute. Never: a strip or a map of an
explanation that failed, a patient's name, a pixel spacing, a modality that sends our output back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage as MultiFrame
from pydicom.uid import SecondaryCaptureImageStorage as SingleFrame

from processors.analysis import Analysis, Study
from reports import codes, content, header, pictures, uids
from reports.model import Options, Report, ReportError
from reports.wording import printable, words

_FRAME_LABELS = 0x00182002  # Frame Label Vector
_PAIRED = {"BREAST", "HAND", "KNEE", "HIP", "FOOT"}
_WITHOUT_FACE = {"CHEST", "BREAST", "ABDOMEN", "HAND", "KNEE", "HIP", "PELVIS", "FOOT", "SPINE"}


@dataclass(frozen=True, slots=True)
class _Shot:
    """What one object holds: its pictures, what they show and where they come from."""

    kind: str
    index: int
    place: tuple[str, int]
    frames: tuple[Image.Image, ...]
    labels: tuple[str, ...] = ()
    multi_frame: bool = False


def write(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> tuple[Report, ...]:
    """Overlays, strips, maps; nothing if everything is absent or nothing was judged."""
    shots = [
        *_overlays(analysis, study, options),
        *_strips(analysis, options),
        *_maps(analysis, study, options),
    ]
    return tuple(_report(shot, analysis, study, options, made_at) for shot in shots)


def _overlays(analysis: Analysis, study: Study, options: Options) -> list[_Shot]:
    return [
        _Shot("overlay", index, place, (pictures.overlay(analysis, study, options, place),))
        for index, place in enumerate(content.pictures(analysis))
    ]


def _strips(analysis: Analysis, options: Options) -> list[_Shot]:
    shots: list[_Shot] = []
    for explanation, finding in content.strips(analysis):
        place = (explanation.instance_uid, finding.frame)
        if options.strip == "mosaic":
            mosaic = pictures.mosaic(explanation, finding, options)
            shots.append(_Shot("strip", len(shots), place, (mosaic,)))
            continue
        frames = pictures.strip(explanation, finding, options)
        labels = tuple(pictures.frame_label(frame.alpha) for frame in explanation.frames)
        if options.strip == "cine":
            shots.append(_Shot("strip", len(shots), place, frames, labels, multi_frame=True))
            continue
        for frame, label in zip(frames, labels, strict=True):
            shots.append(_Shot("strip", len(shots), place, (frame,), (label,)))
    return shots


def _maps(analysis: Analysis, study: Study, options: Options) -> list[_Shot]:
    shots = []
    for index, (explanation, finding) in enumerate(content.maps(analysis)):
        place = (explanation.instance_uid, finding.frame)
        drawn = pictures.map_overlay(explanation, finding, analysis, study, options)
        shots.append(_Shot("map", index, place, (drawn,)))
    return shots


def _report(
    shot: _Shot, analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> Report:
    key = uids.result_key(analysis, study, options)
    origin = header.source(analysis, study, options, shot.place[0])
    made = header.patient_and_study(origin)
    made.SOPClassUID = MultiFrame if shot.multi_frame else SingleFrame
    made.SOPInstanceUID = uids.instance_uid(key, shot.kind, shot.index)
    made.SeriesInstanceUID = uids.series_uid(uids.instance_uid(key, shot.kind))
    made.SeriesNumber = header.SERIES_NUMBERS[shot.kind]
    made.InstanceNumber = shot.index + 1
    when = header.local(made_at, origin.header)
    header.dates(made, when)
    header.equipment(made, analysis, options, made_at)
    _secondary_capture(made, shot, analysis, options, when)
    _derivation(made, shot, origin.header, options)
    payload = header.encode(made, _pixels(made, shot))
    return Report(shot.kind, made.SOPInstanceUID, payload, shot.index, str(made.SOPClassUID))


def _secondary_capture(
    made: Dataset, shot: _Shot, analysis: Analysis, options: Options, when: datetime
) -> None:
    """General Series, SC Equipment and what labels the picture (C.8.6.1)."""
    language = words(options.language)
    made.Modality = "OT"
    made.ConversionType = "WSD"
    made.SeriesDescription = language.series[shot.kind]
    made.ImageComments = printable(" ".join([options.label, *analysis.notes]))[:10240]
    made.DateOfSecondaryCapture = when.strftime("%Y%m%d")
    made.TimeOfSecondaryCapture = when.strftime("%H%M%S")
    made.SecondaryCaptureDeviceManufacturer = header.MANUFACTURER
    made.SecondaryCaptureDeviceManufacturerModelName = header.model_name(analysis.algorithm)
    made.SecondaryCaptureDeviceSoftwareVersions = header.software(analysis.algorithm, options)[0]


def _derivation(made: Dataset, shot: _Shot, source: Dataset, options: Options) -> None:
    """Where the picture comes from and what it no longer is."""
    language = words(options.language)
    size = f"({source.get('Columns', '?')} x {source.get('Rows', '?')})"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = language.derivation[shot.kind].format(size)
    item = header.instance_item(source, shot.place[1])
    item.PurposeOfReferenceCodeSequence = [header.code_item(codes.concept("source_image"))]
    made.SourceImageSequence = [item]
    made.BurnedInAnnotation = "YES"
    part = header.plain_text(source, "BodyPartExamined")
    if part:
        made.BodyPartExamined = part
    radiograph = str(source.get("Modality") or "") in ("CR", "DX", "MG")
    faceless = part in _WITHOUT_FACE or (radiograph and not part)
    made.RecognizableVisualFeatures = "NO" if faceless else "YES"
    laterality = header.plain_text(source, "Laterality")
    if laterality or part in _PAIRED:  # of a paired part type 2C: empty where the source is silent
        made.Laterality = laterality
    made.PatientOrientation = _orientation(source)
    for keyword, value in header.lossy([source]).items():
        setattr(made, keyword, value)


def _orientation(source: Dataset) -> list[str] | str:
    """Rows and columns as in the source, since nothing is turned; else empty (type 2C)."""
    value = source.get("PatientOrientation")
    parts = [str(one) for one in value] if value and not isinstance(value, str) else []
    valid = len(parts) == 2 and all(p and set(p) <= set("ALRPHF") for p in parts)
    return parts if valid else ""


def _pixels(made: Dataset, shot: _Shot) -> list[bytes]:
    """The frames' own bytes; their shape goes into the data set."""
    colour = [one if one.mode == "RGB" else one.convert("RGB") for one in shot.frames]
    sizes = {one.size for one in colour}
    if len(sizes) > 1:
        raise ReportError(f"The frames of one {shot.kind} differ in size.")
    made.SamplesPerPixel = 3
    made.PhotometricInterpretation = "RGB"
    made.PlanarConfiguration = 0
    made.Columns, made.Rows = colour[0].size
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelRepresentation = 0
    if shot.multi_frame:
        made.NumberOfFrames = len(shot.frames)
        made.FrameIncrementPointer = _FRAME_LABELS
        made.FrameLabelVector = list(shot.labels)
    return [one.tobytes() for one in colour]
