"""Writes the coded result: TID 1500 as Comprehensive SR (PS3.16 A, standards.md B).

In: an analysis with at least one present, coded finding that has a region. Out: one document, with
a measurement group for each region of such a finding, and everything else coded as a qualitative
evaluation. Nothing where no finding has a region: viewers fail on a report without a group, and
the text report carries the codes then. Never: an absent finding under the name Finding; a group
without a region; a region below a number (a viewer would turn it into its own measurement).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from highdicom.sr import ContentItem, ScoordContentItem, UIDRefContentItem
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from processors.analysis import Analysis, Finding, Region, State, Study
from reports import codes, content, sr_document, sr_items, uids
from reports.model import Options, Report
from reports.wording import words

LEAST = 7  # points of a polygon that no viewer takes for a measurement of its own


def write(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> tuple[Report, ...]:
    """The TID 1500 report, or nothing where no present finding has a region."""
    if not content.groups(analysis):
        return ()
    document = sr_document.Document(
        "structured_report", str(ComprehensiveSRStorage), _root(analysis, study, options)
    )
    return (sr_document.report(document, analysis, study, options, made_at),)


def _root(analysis: Analysis, study: Study, options: Options) -> ContentItem:
    headers = [study.header(uid) for uid in content.sources(analysis, study)]
    items = [
        sr_items.language_item(options),
        *sr_items.observer(analysis, options),
        sr_items.procedure_item(headers[0]),
        _image_library(headers),
        sr_items.container("measurements", list(_groups(analysis, study, options)), "CONTAINS"),
        _evaluations(analysis, options),
    ]
    return sr_items.container("measurement_report", items, None, template_id="1500")


def _image_library(headers: list[Dataset]) -> ContentItem:
    """TID 1600, by hand: only descriptors that the image really has."""
    images = []
    for header in headers:
        item = sr_items.image("source", header, "CONTAINS")
        known = codes.table().modalities.get(str(header.get("Modality") or ""))
        descriptors: list[ContentItem] = []
        if known:
            descriptors.append(sr_items.code(codes.concept("modality"), known, "HAS ACQ CONTEXT"))
        descriptors += [
            sr_items.number(name, int(header[keyword].value), "pixels", "HAS ACQ CONTEXT")
            for name, keyword in (("rows", "Rows"), ("columns", "Columns"))
            if header.get(keyword)
        ]
        images.append(sr_items.with_children(item, descriptors))
    group = sr_items.container(
        "image_library_group", images, "CONTAINS", is_content_continuous=False
    )
    return sr_items.container("image_library", [group], "CONTAINS", is_content_continuous=False)


def _groups(analysis: Analysis, study: Study, options: Options) -> Iterator[ContentItem]:
    key = uids.result_key(analysis, study, options)
    for number, (finding, regions) in enumerate(content.groups(analysis), 1):
        for part, region in enumerate(regions, 1):
            identifier = f"{number} {content.name_of(finding, options)}"
            if len(regions) > 1:
                identifier = f"{number}.{part} {content.name_of(finding, options)}"
            place = f"{finding.label} {finding.instance_uid} {finding.frame}"
            tracking = uids.tracking_uid(key, place, part)
            items = _group_items(finding, region, (identifier, tracking), analysis, study)
            yield sr_items.container("measurement_group", items, "CONTAINS", template_id="1410")


def _group_items(
    finding: Finding,
    region: Region,
    tracking: tuple[str, str],
    analysis: Analysis,
    study: Study,
) -> list[ContentItem]:
    """TID 1410: tracking, finding, site, algorithm, certainty, state, and the region beside it."""
    if finding.code is None:
        raise ValueError(f"{finding.label} has no code")
    parameters = [
        f"weights {analysis.algorithm.weights}",
        f"threshold {finding.threshold:.4g}",
        f"undetermined {finding.band[0]:.4g} to {finding.band[1]:.4g}",
    ]
    identifier, uid = tracking
    items = [
        sr_items.text("tracking_id", identifier, "HAS OBS CONTEXT"),
        UIDRefContentItem(sr_items.named("tracking_uid"), uid, relationship_type="HAS OBS CONTEXT"),
        sr_items.code(codes.concept("finding"), finding.code),
    ]
    if finding.site is not None and codes.usable(finding.site):
        items.append(sr_items.code(codes.concept("finding_site"), finding.site, "HAS CONCEPT MOD"))
    number = sr_items.certainty(finding, "CONTAINS")
    return [
        *items,
        *sr_items.algorithm(analysis, parameters),
        sr_items.with_children(number, list(sr_items.algorithm(analysis, parameters))),
        sr_items.code(finding.code, codes.state(State.PRESENT.value)),
        _region(region, study),
    ]


def _region(region: Region, study: Study) -> ContentItem:
    """The closed polygon, in the grid of the source image, (0, 0) its top left corner (C.18.6)."""
    source = study.header(region.instance_uid)
    limit = np.array([float(source.get("Columns") or np.inf), float(source.get("Rows") or np.inf)])
    points = np.clip(_divided(np.array(region.points, dtype=np.float64)), 0, limit)
    item = ScoordContentItem(
        sr_items.named("image_region"), "POLYLINE", points, relationship_type="CONTAINS"
    )
    shown = sr_items.image("source", source, "SELECTED FROM", region.frame)
    return sr_items.with_children(item, [shown])


def _divided(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same closed polygon in LEAST points or more: a model's box has five."""
    while len(points) < LEAST:
        middles = (points[:-1] + points[1:]) / 2
        edges = np.stack([points[:-1], middles], axis=1).reshape(-1, 2)
        points = np.concatenate([edges, points[-1:]])
    return points


def _evaluations(analysis: Analysis, options: Options) -> ContentItem:
    """Everything without a region, and what a reader must know of this result."""
    items = [sr_items.evaluation(finding) for finding in content.ungrouped(analysis)]
    comments = [options.label, *analysis.notes]
    language = words(options.language)
    for finding, _ in content.groups(analysis):
        name = content.name_of(finding, options)
        said = content.explanation_lines(analysis, finding, language)
        for found in filter(content.is_map, content.explanations(analysis, finding)):
            method = content.method_name(found, language)
            said += [f"{method}: {line}" for line in content.map_lines(found, language)]
        comments += [f"{name}: {line}" for line in said]
    items += [sr_items.text("comment", comment) for comment in comments]
    return sr_items.container("evaluations", items, "CONTAINS", is_content_continuous=False)
