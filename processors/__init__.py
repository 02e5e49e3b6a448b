"""Judges studies: studies in, Analysis out.

In: a Study (headers, pixels on demand). Out: an Analysis (findings, explanations, impression) or a
Refusal with its reason. Never: a socket, a database, a report, a clock that changes a result.
This door names the contract alone, so that importing it never loads torch; the models live in
`processors.vae`, `processors.gate`, `processors.runtime` and are built by `dicom_node.wiring`.
"""

from processors.analysis import (
    Algorithm,
    Analysis,
    Check,
    Code,
    Explanation,
    Finding,
    Frame,
    Impression,
    Instance,
    Mask,
    Processor,
    ProcessorError,
    Refusal,
    Region,
    Sentence,
    State,
    Status,
    Study,
    TryLater,
)

__all__ = [
    "Algorithm",
    "Analysis",
    "Check",
    "Code",
    "Explanation",
    "Finding",
    "Frame",
    "Impression",
    "Instance",
    "Mask",
    "Processor",
    "ProcessorError",
    "Refusal",
    "Region",
    "Sentence",
    "State",
    "Status",
    "Study",
    "TryLater",
]
