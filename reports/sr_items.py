"""The content items that both Structured Reports are made of, built with highdicom.

In: findings, codes of the code table, source headers. Out: items of the content tree, which
`sr_document` wraps. Never: a text with markup, a code that the table does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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

from processors.analysis import Analysis, Code, Finding
from reports import codes, header, uids
from reports.model import Options
from reports.wording import exact, printable, words


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


def image(name: str, source: Dataset, relation: str, frame: int | None = None) -> ImageContentItem:
    """A reference to an instance, or to one frame of it."""
    frames = [frame] if frame is not None and header.frames(source) > 1 else None
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
