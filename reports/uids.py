"""Which UID a report has: the same result always the same one (PS3.5 9, B.2; standards: 2.25).

A UID is 2.25. and a name-based UUID (RFC 9562 5.5) of what the report says: study, source images
(and their bytes, where a run knows them), algorithm with the digest of its weights, settings that
shape the result, what was found, kind and index. Order of arrival, time and machine do not enter,
so a resend is no second result; another model, setting or image gives other UIDs. Time does not
enter either: whoever asks for a report twice gives the frozen time of the result both times, or the
bytes differ under one UID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import UUID, uuid5

import numpy as np

from processors.analysis import Analysis, Study
from reports import codes
from reports.model import Options, Receiver

NAMESPACE = UUID("7083f6a8-9d1c-5d3e-8a57-2f4f5d2c8c11")  # constant of the product, for ever
_LAYOUT = "2"  # raise it when a change of a writer changes the bytes of the same result


def uid(*parts: str) -> str:
    """A UID that is a function of `parts` alone."""
    return f"2.25.{uuid5(NAMESPACE, '|'.join(parts)).int}"


IMPLEMENTATION_CLASS = uid("implementation")


def result_key(analysis: Analysis, study: Study, options: Options) -> str:
    """What makes this result this result, as 64 hexadecimal digits."""
    algorithm = analysis.algorithm
    parts = [
        study.uid,
        ",".join(sorted(instance.uid for instance in study.instances)),
        *(analysis.processor, algorithm.name, algorithm.version, algorithm.sha256),
        *options.companions,
        *(options.config_digest, options.language, options.label, options.strip, options.node),
        *(options.ae_title, options.version, options.issuer or "", codes.table().version, _LAYOUT),
        *(analysis.status.value, analysis.kind, analysis.reason, *analysis.notes),
        *(f"{f.label} {f.instance_uid} {f.state} {f.probability:.3f}" for f in analysis.findings),
        *sorted({f"anatomy {f.label}" for f in analysis.findings if f.anatomy}),
        *_drawn(analysis),
        *(f"{e.finding} {e.instance_uid} {e.shown}" for e in analysis.explanations),
        *_drafted(analysis),
        analysis.patient_summary,
        *(f"{kind} {uid}" for kind, uid in sorted(options.predecessors.items())),
        *([f"dictated {analysis.dictated}"] if analysis.dictated else []),
        *([f"content {options.content}"] if options.content else []),
    ]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _drafted(analysis: Analysis) -> Iterator[str]:
    """The draft: its words, what they rest on, how urgent it is."""
    if draft := analysis.impression:
        yield draft.criticality
        for one in draft.sentences:
            yield f"{one.text} {','.join(one.findings)} {one.category}"


def _drawn(analysis: Analysis) -> Iterator[str]:
    """What a model drew itself, outlines and masks: nothing else of the result implies them."""
    for finding in analysis.findings:
        for region in finding.regions:
            if region.shows == "extent":
                points = " ".join(f"{x:.2f},{y:.2f}" for x, y in region.points)
                yield f"{finding.label} {region.instance_uid} {region.frame} {points}"
    for mask in analysis.masks:
        whole = hashlib.sha256()
        for uid_of_plane, plane in sorted(mask.planes.items()):
            whole.update(f"{uid_of_plane} {plane.shape}".encode() + np.packbits(plane).tobytes())
        yield f"{mask.label} {mask.category.value} {whole.hexdigest()}"


def instance_uid(key: str, kind: str, index: int = 0) -> str:
    return uid(key, kind, str(index))


def series_uid(first_instance: str) -> str:
    """The series of one kind of output, a function of the UID of its first instance.

    So the series of a predecessor is known from its instance UID alone.
    """
    return uid("series", first_instance)


def tracking_uid(key: str, finding: str, region: int) -> str:
    return uid(key, "tracking", finding, str(region))


def device_uid(node: str) -> str:
    return uid("device", node)


def control_id(key: str, receiver: Receiver) -> str:
    """MSH-10 of one receiver's message: 20 characters, the limit of v2.5.1."""
    names = (receiver.destination, receiver.application, receiver.facility, receiver.processing)
    return hashlib.sha256("|".join((key, *names)).encode()).hexdigest()[:20].upper()


def filler_number(study_uid: str) -> str:
    """OBR-3 of a study without any order number: 22 characters at most (EI)."""
    return "ST" + hashlib.sha256(study_uid.encode()).hexdigest()[:20].upper()
