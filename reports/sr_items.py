"""What both Structured Reports share: content items, the document around them, its evidence.

Built with highdicom; its traps (0.28.2) are met here: it reads eight attributes of the evidence as
if always there, and stamps the present time. So it gets a small data set of our own as evidence,
and its dates are overwritten with the frozen ones. Flags (PS3.3 C.17.2): COMPLETE, PRELIMINARY,
UNVERIFIED, always. Never: a reference to what is not listed as evidence, a verifying person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodeTriple
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
)

from processors.analysis import Analysis, Code, Finding, Study
from reports import codes, content, header, uids
from reports.identity import quiet
from reports.model import Options, Report, ReportError
from reports.wording import exact, printable, words

_CLASSES = {
    str(ComprehensiveSRStorage): hd.sr.ComprehensiveSR,
    str(EnhancedSRStorage): hd.sr.EnhancedSR,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A report before it is wrapped: its kind, SOP class and root container."""

    kind: str
    sop_class: str
    root: ContainerContentItem


def coded(code: Code) -> CodedConcept:
    return CodedConcept.from_code(CodeTriple(code.value, code.scheme, code.meaning))


def named(name: str) -> CodedConcept:
    """A concept of the code table."""
    return coded(codes.concept(name))


def text(name: str, value: str, relation: str = "CONTAINS") -> TextContentItem:
    return TextContentItem(named(name), printable(value), relationship_type=relation)


def code(name: Code, value: Code, relation: str = "CONTAINS") -> CodeContentItem:
    return CodeContentItem(coded(name), coded(value), relationship_type=relation)


def container(
    name: str, items: Sequence[ContentItem], relation: str | None, **more: Any
) -> ContainerContentItem:
    made = ContainerContentItem(named(name), relationship_type=relation, **more)
    with_children(made, items)
    return made


def with_children(item: ContentItem, children: Sequence[ContentItem]) -> ContentItem:
    if children:
        item.ContentSequence = ContentSequence(children)
    return item


def number(name: str, value: float, unit: str, relation: str = "CONTAINS") -> NumContentItem:
    return NumContentItem(named(name), value, named(unit), relationship_type=relation)


def certainty(finding: Finding, relation: str) -> NumContentItem:
    """The calibrated probability in percent; never with a region below it."""
    return number("certainty", exact(finding.probability), "percent", relation)


def image(name: str, source: Dataset, relation: str, frame: int = 1) -> ImageContentItem:
    frames = [frame] if header.frames(source) > 1 else None
    return ImageContentItem(
        named(name),
        str(source.SOPClassUID),
        str(source.SOPInstanceUID),
        referenced_frame_numbers=frames,
        relationship_type=relation,
    )


def evaluation(finding: Finding) -> ContentItem:
    """The state of a coded finding, with its certainty below it."""
    return with_children(state(finding, "CONTAINS"), [certainty(finding, "HAS PROPERTIES")])


def state(finding: Finding, relation: str) -> ContentItem:
    """The state of a coded finding."""
    if finding.code is None:
        raise ValueError(f"{finding.label} has no code")
    return code(finding.code, codes.state(finding.state.value), relation)


def language_item(options: Options) -> ContentItem:
    return code(codes.concept("language"), words(options.language).language, "HAS CONCEPT MOD")


def observer(analysis: Analysis, options: Options) -> list[ContentItem]:
    """TID 1002 and 1004: the observer is a device, this node."""
    relation = "HAS OBS CONTEXT"
    return [
        code(codes.concept("observer_type"), codes.concept("device"), relation),
        UIDRefContentItem(
            named("device_uid"), uids.device_uid(options.node), relationship_type=relation
        ),
        text("device_name", f"{options.ae_title} {options.node}", relation),
        text("device_maker", header.MANUFACTURER, relation),
        text("device_model", header.model_name(analysis.algorithm), relation),
        text("device_serial", options.node, relation),
    ]


def procedure_item(source: Dataset) -> ContentItem:
    return code(codes.concept("procedure_reported"), header.procedure(source), "HAS CONCEPT MOD")


def algorithm(analysis: Analysis, parameters: Sequence[str]) -> Iterator[ContentItem]:
    """TID 4019: name, version, and what shapes the answer."""
    relation = "HAS CONCEPT MOD"
    yield text("algorithm_name", analysis.algorithm.name, relation)
    yield text("algorithm_version", analysis.algorithm.version, relation)
    for parameter in parameters:
        yield text("algorithm_parameters", parameter, relation)


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
    patient = header.patient_and_study(origin)
    shown = [study.header(one) for one in sources]
    named = [*shown, *picture_evidence(analysis, study, options, sources)]
    evidence = [_evidence(patient, one) for one in named]
    key = uids.result_key(analysis, study, options)
    instance = uids.instance_uid(key, document.kind)
    language = words(options.language)
    children = document.root.ContentSequence
    # highdicom copies what it is given and searches it again and again: it gets the first item
    document.root.ContentSequence = ContentSequence(children[:1])
    _all_named(children, {str(one.SOPInstanceUID) for one in named})
    with quiet():
        made: Dataset = _CLASSES[document.sop_class](
            evidence=evidence,
            content=document.root,
            series_instance_uid=uids.series_uid(instance),
            series_number=header.SERIES_NUMBERS[document.kind],
            sop_instance_uid=instance,
            instance_number=1,
            manufacturer=header.MANUFACTURER,
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description=language.series[document.kind],
            specific_character_set="ISO_IR 192",
        )
    made.ContentSequence = children
    made.update(patient)
    _true_classes(made, {str(one.SOPInstanceUID): str(one.SOPClassUID) for one in named})
    header.dates(made, header.local(made_at, origin.header))
    header.equipment(made, analysis, options, made_at)
    _private_codes(made)
    _predecessor(made, document.kind, study.uid, options)
    return Report(document.kind, instance, header.encode(made), 0, document.sop_class)


def _evidence(patient: Dataset, source: Dataset) -> Dataset:
    """What highdicom needs to know of a referenced instance, and no more."""
    made = Dataset()
    made.update(patient)
    made.SOPClassUID = SecondaryCaptureImageStorage  # highdicom knows no private or retired class
    made.SOPInstanceUID = str(source.SOPInstanceUID)
    made.SeriesInstanceUID = str(source.SeriesInstanceUID)
    made.Modality = str(source.get("Modality") or "OT")
    made.Rows, made.Columns = source.get("Rows", 1), source.get("Columns", 1)
    return made


def _all_named(items: Iterable[Dataset], evidence: Set[str]) -> None:
    """Raises ReportError if an item points at an instance that the evidence does not name."""
    for item in items:
        for reference in item.get("ReferencedSOPSequence") or ():
            if reference.ReferencedSOPInstanceUID not in evidence:
                uid = reference.ReferencedSOPInstanceUID
                raise ReportError(f"The report points at {uid}, which its evidence does not name.")
        _all_named(item.get("ContentSequence") or (), evidence)


def _true_classes(made: Dataset, classes: Mapping[str, str]) -> None:
    """The SOP class of each instance that the evidence names, as its source says it."""
    for study in made.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                reference.ReferencedSOPClassUID = classes[reference.ReferencedSOPInstanceUID]


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
