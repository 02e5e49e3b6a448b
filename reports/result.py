"""The result of one analysis as plain JSON (result.json; its schema: result.schema.json).

In: an analysis (or the reason why no processor was picked), its reports and their files. Out: a
dict of JSON values. Never: NaN or infinity, which JSON does not know; a patient's name or number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from processors.analysis import Analysis, Explanation, Finding, Mask, Status
from reports.model import Report


def result(
    analysis: Analysis, reports: Sequence[Report] = (), files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The contract of result.json. files: report uid -> file name beside result.json."""
    names = files or {}
    algorithm, impression = analysis.algorithm, analysis.impression
    return {
        "study_instance_uid": analysis.study_instance_uid,
        "processor": analysis.processor,
        "algorithm": {
            "name": algorithm.name,
            "version": algorithm.version,
            "sha256": algorithm.sha256,
        },
        "status": analysis.status.value,
        "reason": analysis.reason,
        "findings": [_finding(finding) for finding in analysis.findings],
        "impression": impression
        and {
            "language": impression.language,
            "text": impression.text,
            "criticality": impression.criticality,
            "sentences": [
                {
                    "text": one.text,
                    "findings": list(one.findings),
                    "source": one.source,
                    "category": one.category,
                }
                for one in impression.sentences
            ],
        },
        "impression_withheld": analysis.withheld,
        "patient_summary": analysis.patient_summary,
        "masks": [_mask(one) for one in analysis.masks],
        "explanations": [_explanation(one) for one in analysis.explanations],
        "reports": [
            {"kind": one.kind, "uid": one.uid, "file": names.get(one.uid)} for one in reports
        ],
        "timings_ms": {name: _number(value) for name, value in analysis.timings_ms.items()},
    }


def unpicked(study_instance_uid: str, reason: str) -> dict[str, Any]:
    """The result of a study that no rule gives to a processor."""
    return {
        "study_instance_uid": study_instance_uid,
        "processor": None,
        "algorithm": None,
        "status": Status.UNSUITABLE.value,
        "reason": reason,
        "findings": [],
        "impression": None,
        "impression_withheld": "",
        "patient_summary": "",
        "masks": [],
        "explanations": [],
        "reports": [],
        "timings_ms": {},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    code = finding.code
    return {
        "label": finding.label,
        "code": code and {"value": code.value, "scheme": code.scheme, "meaning": code.meaning},
        "instance_uid": finding.instance_uid,
        "frame": finding.frame,
        "probability": _number(finding.probability),
        "threshold": _number(finding.threshold),
        "band": [_number(end) for end in finding.band],
        "state": finding.state.value,
        "regions": [
            {
                "instance_uid": region.instance_uid,
                "frame": region.frame,
                "points": [[_number(x), _number(y)] for x, y in region.points],
            }
            for region in finding.regions
        ],
        **({"anatomy": True} if finding.anatomy else {}),
    }


def _mask(one: Mask) -> dict[str, Any]:
    """How much a mask covers; its pixels are in the segmentation."""
    pixels = {uid: int(plane.sum()) for uid, plane in sorted(one.planes.items())}
    return {"label": one.label, "pixels": pixels}


def _explanation(one: Explanation) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "instance_uid": one.instance_uid,
        "method": one.method,
        "shown": one.shown,
        "reason": one.reason,
        "distance": None if one.distance is None else _number(one.distance),
        "how": one.how,
        "faithfulness": {
            check.name: {
                "value": _number(check.value),
                "limit": _number(check.limit),
                "at_least": check.at_least,
                "passed": check.passed,
            }
            for check in one.faithfulness
        },
    }


def _number(value: float) -> float | None:
    """A finite number as it is; anything else has no place in JSON."""
    plain = float(value)
    return plain if math.isfinite(plain) else None
