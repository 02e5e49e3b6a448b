"""The document around the content of a Structured Report: what it is, of whom, on what it rests.

In: a root container with its items. Out: the finished report, its flags (PS3.3 C.17.2) always
COMPLETE, PRELIMINARY and UNVERIFIED. The same data set that highdicom's document classes make (a
test compares them), without the tables of 60 MB that each process would load for it, and without
copies of the tree. Never: a reference to what is not listed as evidence, a verifying person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from highdicom.sr import ContentItem
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from processors.analysis import Analysis, Study
from reports import codes, content, header, uids
from reports.model import Options, Report, ReportError
from reports.wording import words


@dataclass(frozen=True, slots=True)
class Document:
    """A report before it is wrapped: its kind, SOP class and root container."""

    kind: str
    sop_class: str
    root: ContentItem


def picture_evidence(
    analysis: Analysis, study: Study, options: Options, sources: Sequence[str]
) -> list[Dataset]:
    """Overlays and maps that go out with this report, as references; those on `sources` alone."""
    if "secondary_capture" not in content.written(options, analysis):
        return []
    key = uids.result_key(analysis, study, options)
    drawn = [("overlay", n, uid) for n, (uid, _) in enumerate(content.pictures(analysis))]
    drawn += [("map", n, e.instance_uid) for n, (e, _) in enumerate(content.maps(analysis))]
    found = []
    for kind, index, instance in drawn:
        if instance in sources:
            made = Dataset()
            made.SOPClassUID = SecondaryCaptureImageStorage
            made.SOPInstanceUID = uids.instance_uid(key, kind, index)
            made.SeriesInstanceUID = uids.series_uid(uids.instance_uid(key, kind))
            found.append(made)
    return found


def report(
    document: Document, analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> Report:
    """The finished document as a Report."""
    sources = content.sources(analysis, study)
    origin = header.source(analysis, study, options, sources[0])
    shown = [study.header(one) for one in sources]
    if not all(one.get("SeriesInstanceUID") for one in shown):
        raise ReportError(
            "An image names no series (SeriesInstanceUID), so no report can refer to it. "
            "Correct it at the source and send it again."
        )
    named = [*shown, *picture_evidence(analysis, study, options, sources)]
    _all_named(document.root.ContentSequence, {str(one.SOPInstanceUID) for one in named})
    instance = uids.instance_uid(uids.result_key(analysis, study, options), document.kind)
    made = header.patient_and_study(origin)
    made.SOPClassUID, made.SOPInstanceUID = document.sop_class, instance
    made.SeriesInstanceUID = uids.series_uid(instance)
    made.SeriesNumber = header.SERIES_NUMBERS[document.kind]
    made.SeriesDescription = words(options.language).series[document.kind]
    made.Modality, made.InstanceNumber = "SR", 1
    made.CompletionFlag, made.PreliminaryFlag = "COMPLETE", "PRELIMINARY"
    made.VerificationFlag = "UNVERIFIED"
    made.PerformedProcedureCodeSequence = []
    made.ReferencedPerformedProcedureStepSequence = []
    made.CurrentRequestedProcedureEvidenceSequence = [_evidence(study.uid, named)]
    made.update(document.root)
    header.dates(made, header.local(made_at, origin.header))
    header.equipment(made, analysis, options, made_at)
    _private_codes(made)
    _predecessor(made, document.kind, study.uid, options)
    return Report(document.kind, instance, header.encode(made), 0, document.sop_class)


def _evidence(study_uid: str, named: Sequence[Dataset]) -> Dataset:
    """Each instance once, with the SOP class that it has, below its series (C.17.2.3)."""
    series: dict[str, dict[str, Dataset]] = {}
    for one in named:
        instances = series.setdefault(str(one.SeriesInstanceUID), {})
        instances.setdefault(str(one.SOPInstanceUID), header.instance_item(one))
    made = Dataset()
    made.StudyInstanceUID, made.ReferencedSeriesSequence = study_uid, []
    for uid, instances in series.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ReferencedSOPSequence = uid, list(instances.values())
        made.ReferencedSeriesSequence.append(item)
    return made


def _all_named(items: Iterable[Dataset], evidence: Set[str]) -> None:
    """Raises ReportError if an item points at an instance that the evidence does not name."""
    for item in items:
        for reference in item.get("ReferencedSOPSequence") or ():
            if reference.ReferencedSOPInstanceUID not in evidence:
                uid = reference.ReferencedSOPInstanceUID
                raise ReportError(f"The report points at {uid}, which its evidence does not name.")
        _all_named(item.get("ContentSequence") or (), evidence)


def _private_codes(made: Dataset) -> None:
    """Says whose a private coding scheme is, if the document uses one (PS3.3 C.12.1.1.7)."""
    schemes = {
        str(element.value)
        for element in made.iterall()
        if element.keyword == "CodingSchemeDesignator"
    }
    if codes.PRIVATE_SCHEME in schemes:
        item = Dataset()
        item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
        item.CodingSchemeName = "Private codes of dictamen"
        item.CodingSchemeVersion = codes.table().version
        item.CodingSchemeResponsibleOrganization = header.MANUFACTURER
        made.CodingSchemeIdentificationSequence = [item]


def _predecessor(made: Dataset, kind: str, study_uid: str, options: Options) -> None:
    """Names the document that this one replaces (C.17.2), if its SOP class is known."""
    older = options.predecessors.get(kind)
    known = options.predecessor_classes.get(kind) or (
        str(ComprehensiveSRStorage) if kind == "structured_report" else ""
    )
    if not older or not known:
        return
    reference, series, item = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPClassUID = known
    reference.ReferencedSOPInstanceUID = older
    series.SeriesInstanceUID = uids.series_uid(older)
    series.ReferencedSOPSequence = [reference]
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = [series]
    made.PredecessorDocumentsSequence = [item]
