"""A processor whose results also say their findings in plain words, for the patient.

In: a processor that knows its labels' names. Out: the same, with `Analysis.patient_summary` filled.
Never around a processor unless a site asks for it (`impressions.patient_summary` in node.yaml).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from processors.analysis import Algorithm, Analysis, Processor, Refusal, Status, Study
from processors.impressions import plain_language


class Named(Processor, Protocol):
    """A processor that says what people call its labels: label -> language -> name."""

    @property
    def names(self) -> Mapping[str, Mapping[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Summarised:
    """Implements processors.analysis.Processor around another one."""

    inner: Named
    language: str

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def algorithm(self) -> Algorithm:
        return self.inner.algorithm

    def accepts(self, study: Study) -> Refusal | None:
        return self.inner.accepts(study)

    def analyse(self, study: Study) -> Analysis:
        """The inner analysis; a completed one with its summary."""
        analysis = self.inner.analyse(study)
        if analysis.status is not Status.COMPLETED:
            return analysis
        said = plain_language.of_findings(analysis.findings, self.inner.names, self.language)
        return replace(analysis, patient_summary=said)
