"""Writes what a model segmented in CT or MR: one DICOM SEG for the series (PS3.3 A.51, C.8.20).

In: an analysis with masks. Out: one binary segmentation with a segment for each mask, in the frame
of reference of its source series, which it names whole; nothing without masks. A segment's type is
its finding's verified code, else its category alone. Never: a projection image (viewers hang on a
SEG without orientation in space; outlines stand in the Structured Report), an empty segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from processors.analysis import Analysis, Code, Mask, Study
from reports import codes, content, header, uids
from reports.identity import quiet
from reports.model import Options, Report, ReportError
from reports.wording import printable, words

KIND = "segmentation"
_PLACED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "InstanceNumber"),
    *("Rows", "Columns", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("ImagePositionPatient", "PixelSpacing", "SliceThickness"),
)
_SAME = ("SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns")
TURNED = 1e-3  # difference of direction cosines that is rounding, as where the series was judged
# L, a, b of segments by number: orange, sky blue, green, yellow (as the outlines), then again
_COLOURS = ((70.0, 35.0, 70.0), (75.0, -20.0, -30.0), (70.0, -60.0, 55.0), (92.0, -10.0, 80.0))


def write(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> tuple[Report, ...]:
    """The segmentation, or nothing where the model made no mask."""
    if not analysis.masks:
        return ()
    sources = _sources(analysis.masks, study)
    origin = header.source(analysis, study, options, str(sources[0].SOPInstanceUID))
    patient = header.patient_and_study(origin)
    key = uids.result_key(analysis, study, options)
    instance = uids.instance_uid(key, KIND)
    language = words(options.language)
    with quiet():
        made: Dataset = hd.seg.Segmentation(
            source_images=[_placed(patient, one, sources[0]) for one in sources],
            pixel_array=_pixels(analysis.masks, sources),
            segmentation_type="BINARY",
            segment_descriptions=[
                _segment(number, mask, analysis, options, key)
                for number, mask in enumerate(analysis.masks, 1)
            ],
            series_instance_uid=uids.series_uid(instance),
            series_number=header.SERIES_NUMBERS[KIND],
            sop_instance_uid=instance,
            instance_number=1,
            manufacturer=header.MANUFACTURER,
            manufacturer_model_name=header.model_name(analysis.algorithm),
            software_versions=tuple(header.software(analysis.algorithm, options)),
            device_serial_number=options.node,
            content_label="AI_DRAFT",
            content_description=printable(options.label)[:64],
            series_description=language.series[KIND],
        )
    made.update(patient)
    header.dates(made, header.local(made_at, origin.header))
    header.equipment(made, analysis, options, made_at)
    _own_dimensions(made, key)
    for keyword, value in header.lossy(sources).items():
        setattr(made, keyword, value)
    if part := header.plain_text(origin.header, "BodyPartExamined"):
        made.BodyPartExamined = part
    payload = header.encode(made)
    return (Report(KIND, instance, payload, 0, str(SegmentationStorage)),)


def _sources(masks: Sequence[Mask], study: Study) -> list[Dataset]:
    """All slices of the masks' series on the same grid, in order of position."""
    named = {uid for mask in masks for uid in mask.planes}
    first = study.header(min(named))
    geometry = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    if any(not first.get(keyword) for keyword in (*_SAME, *geometry)):
        raise ReportError("The segmented images do not say where they lie: no SEG can be written.")
    cosines = _cosines(first)
    alike = [
        one.header
        for one in study.instances
        if all(one.header.get(keyword) == first.get(keyword) for keyword in _SAME)
        and np.allclose(_cosines(one.header), cosines, rtol=0, atol=TURNED)
    ]
    if named - {str(one.SOPInstanceUID) for one in alike}:
        raise ReportError("The masks are not of one series: no SEG can be written of them.")
    normal = np.cross(cosines[:3], cosines[3:])

    def along(one: Dataset) -> tuple[float, str]:
        place = np.array([float(number) for number in one.ImagePositionPatient])
        return float(place @ normal), str(one.SOPInstanceUID)

    return sorted(alike, key=along)


def _cosines(header: Dataset) -> NDArray[np.float64]:
    """Direction cosines of row and column; not numbers where the header has none."""
    said = [float(one) for one in header.get("ImageOrientationPatient") or ()]
    return np.array(said if len(said) == 6 else [np.nan] * 6)


def _placed(patient: Dataset, source: Dataset, first: Dataset) -> Dataset:
    """What highdicom needs to know of a source slice, and no more; turned as the first one is,
    since it takes slices that differ by rounding for turned ones.
    """
    made = Dataset()
    made.update(patient)
    for keyword in _PLACED:
        if keyword in source:
            setattr(made, keyword, source[keyword].value)
    made.ImageOrientationPatient = first.ImageOrientationPatient
    made.SliceThickness = source.get("SliceThickness") or None
    return made


def _pixels(masks: Sequence[Mask], sources: Sequence[Dataset]) -> NDArray[np.uint8]:
    """(slices, rows, columns, segments) of 0 and 1."""
    shape = (len(sources), int(sources[0].Rows), int(sources[0].Columns), len(masks))
    found = np.zeros(shape, dtype=np.uint8)
    for number, mask in enumerate(masks):
        for place, source in enumerate(sources):
            plane = mask.planes.get(str(source.SOPInstanceUID))
            if plane is not None:
                found[place, ..., number] = plane
    return found


def _segment(
    number: int, mask: Mask, analysis: Analysis, options: Options, key: str
) -> hd.seg.SegmentDescription:
    finding = next((f for f in content.leading(analysis) if f.label == mask.label), None)
    if finding is None:
        raise ReportError(f"The mask {mask.label} has no finding.")
    verified = finding.code if finding.code and codes.usable(finding.code) else mask.category
    site = finding.site if finding.site and codes.usable(finding.site) else None
    algorithm = analysis.algorithm
    colour = hd.color.CIELabColor(*_COLOURS[(number - 1) % len(_COLOURS)])
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=printable(content.name_of(finding, options))[:64],
        segmented_property_category=_coded(mask.category),
        segmented_property_type=_coded(verified),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name[:64],
            family=_coded(codes.concept("artificial_intelligence")),
            version=algorithm.version[:64],
            parameters={"weights": algorithm.weights},
        ),
        tracking_uid=uids.tracking_uid(key, f"{KIND} {mask.label}", number),
        tracking_id=f"{number} {mask.label}"[:64],
        anatomic_regions=[_coded(site)] if site else None,
        display_color=colour,
    )


def _coded(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _own_dimensions(made: Dataset, key: str) -> None:
    """The dimension organization's UID follows from the result; highdicom draws one at random."""
    own = uids.uid(key, KIND, "dimensions")
    for sequence in (made.DimensionOrganizationSequence, made.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = own
