"""What every DICOM report carries besides its content: patient, study, series, equipment.

Decides what is copied from the source and what is ours. Patient and study (PS3.3 C.7.1.1, C.7.2.1)
are the source's decoded values, written in UTF-8; type 2 attributes stay empty where the source
has none; optional ones whose value is invalid or does not decode are left out, not repaired.
Never: a private tag, an invented identifier, the present time, a warning with a name in it.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom import dcmwrite
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian

from processors.analysis import Algorithm, Analysis, Code, Study
from reports import codes, uids
from reports.identity import agreed, of, quiet, sure_text, valid_date
from reports.model import Options, ReportError, SourceIdentity

MANUFACTURER = "dictamen project"
SERIES_NUMBERS = {
    "overlay": 9801,
    "strip": 9802,
    "structured_report": 9803,
    "text_report": 9804,
    "map": 9805,
    "segmentation": 9806,
}

_TYPE_2 = ("PatientSex", "StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName")
_OPTIONAL = ("PatientAge", "StudyDescription", "TimezoneOffsetFromUTC")
_SEQUENCES = (
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "IssuerOfAccessionNumberSequence",
)
_TEXTS = ("LO", "SH", "CS", "UT", "PN", "UI", "DA", "TM")
_LENGTHS = {"SH": 16, "LO": 64, "CS": 16, "ST": 1024, "UT": 1 << 20}
_SHAPES = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    "DT": re.compile(
        r"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])"
        r"(([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?)?)?([+-](0\d|1[0-4])[0-5]\d)?"
    ),
}
# Syntaxes that are always lossy, for sources that do not say so themselves.
_LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
_PIXEL_DATA = 0x7FE00010
_ANALYSIS = "Automated image analysis"
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")


@dataclass(frozen=True, slots=True)
class Source:
    """The instance a report is about, with its identity already found sure."""

    header: Dataset
    identity: SourceIdentity


def source(analysis: Analysis, study: Study, options: Options, instance_uid: str = "") -> Source:
    """The instance a report takes patient and study from; the study's first unless named.

    All reports of one study name one patient: what the options state, else what the images say.
    Raises IdentityUnclear if the texts do not decode surely or two instances disagree about the
    patient, ReportError if analysis and images are not of one study.
    """
    known = [of(instance.header) for instance in study.instances]
    if not known:
        raise ReportError("The study has no instance: no report can say whose it is.")
    if {study.uid, analysis.study_instance_uid} != {one.study_uid for one in known}:
        raise ReportError("The analysis and the images are not of the same study. Nothing is sent.")
    found = [i for i, instance in enumerate(study.instances) if instance.uid == instance_uid]
    position = found[0] if found else 0
    first = [known[position], *known]
    return Source(study.instances[position].header, agreed(first, options.identity))


def plain_text(header: Dataset, keyword: str, within: Dataset | None = None) -> str:
    """A value that may be copied: decoded surely and valid for its VR; else an empty string.

    within: as in `identity.sure_text`.
    """
    text = sure_text(header, keyword, within) or ""
    vr = dictionary_VR(keyword)
    if vr == "DA":
        return valid_date(text)
    shape = _OFFSET if keyword == "TimezoneOffsetFromUTC" else _SHAPES.get(vr)
    if shape and not shape.fullmatch(text):
        return ""
    return "" if len(text) > _LENGTHS.get(vr, 1 << 20) else text


def patient_and_study(origin: Source) -> Dataset:
    """A new data set with patient and study of the source, and nothing else."""
    header, made = origin.header, Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.StudyInstanceUID = origin.identity.study_uid
    made.PatientName = origin.identity.patient_name
    made.PatientID = origin.identity.patient_id
    made.PatientBirthDate = origin.identity.birth_date
    made.AccessionNumber = origin.identity.accession
    if origin.identity.issuer:
        made.IssuerOfPatientID = origin.identity.issuer
    for keyword in _TYPE_2:
        value = plain_text(header, keyword)
        if keyword == "PatientSex" and value not in ("M", "F", "O"):
            value = ""
        setattr(made, keyword, "" if not value.strip("^= ") else value)
    for keyword in _OPTIONAL:
        if value := plain_text(header, keyword):
            setattr(made, keyword, value)
    for keyword in _SEQUENCES:
        items = [_copied(item, header) for item in header.get(keyword) or ()]
        if any(len(item) for item in items):
            setattr(made, keyword, [item for item in items if len(item)])
    return made


def _copied(item: Dataset, within: Dataset) -> Dataset:
    """A sequence item with its decoded, valid values; private elements and bytes stay behind."""
    made = Dataset()
    around = item if item.get("SpecificCharacterSet") else within
    with quiet():
        for element in item:
            if element.tag.is_private or element.keyword in ("", "SpecificCharacterSet"):
                continue
            if element.VR == "SQ":
                setattr(made, element.keyword, [_copied(inner, around) for inner in element.value])
            elif element.VR in _TEXTS and (value := plain_text(item, element.keyword, within)):
                setattr(made, element.keyword, value)
    return made


def local(made_at: datetime, header: Dataset) -> datetime:
    """The frozen time as the data set's dates mean it (C.12.1.1.8, TimezoneOffsetFromUTC)."""
    if made_at.tzinfo is None:
        raise ReportError("The time of a result needs its offset from UTC.")
    offset = plain_text(header, "TimezoneOffsetFromUTC")
    if not offset:
        return made_at
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    return made_at.astimezone(timezone(-away if offset[0] == "-" else away))


def timestamp(made_at: datetime) -> str:
    """Date, time and offset as DT and HL7 TS write them, to the second."""
    return made_at.strftime("%Y%m%d%H%M%S%z")


def software(algorithm: Algorithm, options: Options) -> list[str]:
    """SoftwareVersions: our program and the model, each within 64 characters."""
    names = (f"dictamen {options.version}", f"{algorithm.name} {algorithm.version}")
    return [name.replace("\\", "/")[:64] for name in names]


def model_name(algorithm: Algorithm) -> str:
    return f"dictamen-{algorithm.name}".replace("\\", "/")[:64]


def equipment(made: Dataset, analysis: Analysis, options: Options, made_at: datetime) -> None:
    """General Equipment and Contributing Equipment: our node, not the scanner (C.7.5.1, C.12.1)."""
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName = model_name(analysis.algorithm)
    made.DeviceSerialNumber = options.node
    made.SoftwareVersions = software(analysis.algorithm, options)
    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = made.ManufacturerModelName
    item.DeviceSerialNumber = options.node
    item.SoftwareVersions = software(analysis.algorithm, options)
    item.ContributionDateTime = timestamp(made_at)
    what = "Automated draft from dictated findings" if analysis.dictated else _ANALYSIS
    item.ContributionDescription = (
        f"{what}; result not reviewed by a radiologist. "
        f"Weights {_weights(analysis.algorithm)}. Code table {codes.table().version}."
    )
    item.PurposeOfReferenceCodeSequence = [code_item(codes.concept("processing_equipment"))]
    made.ContributingEquipmentSequence = [item]


def _weights(algorithm: Algorithm) -> str:
    return f"sha256 {algorithm.sha256}" if algorithm.sha256 else "unknown"


def dates(made: Dataset, made_at: datetime) -> None:
    """Every time of ours is the frozen time of the result."""
    day, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S")
    made.InstanceCreationDate = made.SeriesDate = made.ContentDate = day
    made.InstanceCreationTime = made.SeriesTime = made.ContentTime = time


def code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme,
        code.meaning,
    )
    return item


def instance_item(header: Dataset, frame: int | None = None) -> Dataset:
    """A reference to a source instance (SOP Instance Reference Macro), with its frame if many."""
    item = Dataset()
    item.ReferencedSOPClassUID = str(header.SOPClassUID)
    item.ReferencedSOPInstanceUID = str(header.SOPInstanceUID)
    if frame is not None and frames(header) > 1:
        item.ReferencedFrameNumber = frame
    return item


def frames(header: Dataset) -> int:
    text = str(header.get("NumberOfFrames") or "1")
    return int(text) if text.isdecimal() else 1


def lossy(headers: list[Dataset]) -> Mapping[str, object]:
    """The compression history: once lossy, always lossy (C.7.6.1.1.5); ratio only as recorded."""
    stained = [h for h in headers if str(h.get("LossyImageCompression") or "") == "01"]
    if not stained:
        syntaxes = [getattr(h, "file_meta", Dataset()).get("TransferSyntaxUID") for h in headers]
        methods = [_LOSSY_SYNTAXES[s] for s in syntaxes if s in _LOSSY_SYNTAXES]
        if not methods:
            return {"LossyImageCompression": "00"}
        return {"LossyImageCompression": "01", "LossyImageCompressionMethod": methods[0]}
    found: dict[str, object] = {"LossyImageCompression": "01"}
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        with quiet():
            value = stained[0].get(keyword)
        values = value if isinstance(value, MultiValue) else [value] if value else []
        texts = [str(one).strip() for one in values]
        if texts and all(0 < len(text) <= 16 for text in texts):
            found[keyword] = texts
    return found


def encode(made: Dataset, pixels: Sequence[bytes] = ()) -> bytes:
    """The data set as a Part 10 file, the same bytes each time.

    pixels: the frames of its PixelData (OB), which are no part of it: a strip is copied once.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uids.IMPLEMENTATION_CLASS)
    meta.ImplementationVersionName = "DICTAMEN_1"
    plain = Dataset()
    plain.update({element.tag: element for element in made})
    plain.file_meta = meta
    buffer = io.BytesIO()
    with quiet():
        dcmwrite(buffer, plain, enforce_file_format=True)
    if not pixels:
        return buffer.getvalue()
    if max(plain.keys()) >= _PIXEL_DATA:
        raise ValueError("the pixels end a data set")
    length = sum(map(len, pixels))
    head = struct.pack("<HH2sxxL", 0x7FE0, 0x0010, b"OB", length + length % 2)
    return b"".join((buffer.getvalue(), head, *pixels, b"\0" * (length % 2)))


def procedure(header: Dataset) -> Code:
    """The procedure reported: the study's own code, else the table's for its kind of image."""
    requests = list(header.get("RequestAttributesSequence") or ())
    holders = [*requests[:1], header] if len(requests) == 1 else [header]
    for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
        for holder in holders:
            for item in holder.get(keyword) or ():
                names = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
                found = Code(*(sure_text(item, name, header) or "" for name in names))
                if codes.usable_from_site(found):
                    return found
    return codes.procedure(header)
