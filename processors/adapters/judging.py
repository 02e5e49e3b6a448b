"""One processor for every model that is not this house's: gate, question, what reports must say.

The gate decides what may be judged; the `Model` answers for the accepted images; the rest is the
same for all kinds: the site's sentence about the model, that no explanation is available, what its
numbers are, the draft impression. Deterministic if the model is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from processors import gate
from processors.adapters import words
from processors.adapters.card import Card, Label
from processors.analysis import (
    Algorithm,
    Analysis,
    Finding,
    Mask,
    ModelOutputNotFinite,
    Refusal,
    Region,
    State,
    Status,
    Study,
)
from processors.impressions.coded import impression

NOWHERE = Path()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says. version: as it says of itself now, where that is not the card's."""

    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...] = ()
    notes: tuple[str, ...] = ()
    version: str = ""


class Model(Protocol):
    """Somebody else's model, on images that the gate has let through."""

    def unfit(self, study: Study, accepted: Sequence[str]) -> Refusal | None:
        """Why these images together cannot be judged (a series with gaps), or None."""

    def answer(self, study: Study, accepted: Sequence[str]) -> Answer:
        """Findings and masks. Raises ProcessorError."""


def state_of(value: float, label: Label) -> State:
    """Present from the band's upper end on, absent below its lower end."""
    low, high = label.between
    if value >= high:
        return State.PRESENT
    return State.ABSENT if value < low else State.UNDETERMINED


def finding_of(
    label: Label,
    instance_uid: str,
    value: float,
    state: State | None = None,
    regions: tuple[Region, ...] = (),
) -> Finding:
    """The finding of a label on an image; value: 0..1. Raises ModelOutputNotFinite."""
    if not np.isfinite(value):
        raise ModelOutputNotFinite(
            f"The model's value for {label.label} is not finite.", then="No finding was made."
        )
    return Finding(
        label=label.label,
        instance_uid=instance_uid,
        probability=min(max(float(value), 0.0), 1.0),
        threshold=label.threshold,
        state=state_of(value, label) if state is None else state,
        band=label.between,
        code=label.code.made() if label.code else None,
        site=label.site.made() if label.site else None,
        regions=regions,
        anatomy=label.anatomy,
    )


class SiteProcessor:
    """Implements processors.analysis.Processor. notes: keys of words.NOTES for every report."""

    def __init__(
        self,
        name: str,
        card: Card,
        model: Model,
        sha256: str,
        language: str,
        notes: Sequence[str] = (),
    ) -> None:
        self._name, self._card, self._model, self._language = name, card, model, language
        self._algorithm = Algorithm(card.name, card.version, sha256)
        self._calibrated = not notes  # a note says what the numbers are instead
        self._always = self._sentences(notes)

    @property
    def name(self) -> str:
        return self._name

    @property
    def algorithm(self) -> Algorithm:
        return self._algorithm

    @property
    def names(self) -> Mapping[str, Mapping[str, str]]:
        """What people call the findings: label -> language -> name; anatomy is none."""
        labels = [one for one in self._card.block.labels if not one.anatomy]
        return {one.label: {"en": one.name.en, "es": one.name.es} for one in labels}

    def accepts(self, study: Study) -> Refusal | None:
        verdict = self._gate(study)
        return verdict.refusal or self._model.unfit(study, verdict.accepted)

    def analyse(self, study: Study) -> Analysis:
        """The analysis of a study; unsuitable when gate or model cannot take it."""
        begin = time.perf_counter()
        verdict = self._gate(study)
        refusal = verdict.refusal or self._model.unfit(study, verdict.accepted)
        if refusal is not None:
            return Analysis(
                study_instance_uid=study.uid,
                processor=self._name,
                algorithm=self._algorithm,
                status=Status.UNSUITABLE,
                reason=refusal.reason,
                kind=refusal.kind,
            )
        gated = time.perf_counter()
        answer = self._model.answer(study, verdict.accepted)
        done = time.perf_counter()
        notes = (*self._always, *verdict.notes, *answer.notes)
        calm = [one.label for one in self._card.block.labels if not one.urgent]
        names = self.names
        told = [finding for finding in answer.findings if finding.label in names]
        times = {"gate": gated - begin, "inference": done - gated}
        return Analysis(
            study_instance_uid=study.uid,
            processor=self._name,
            algorithm=replace(self._algorithm, version=answer.version or self._algorithm.version),
            status=Status.COMPLETED,
            findings=answer.findings,
            impression=impression(
                told,
                names,
                notes,
                self._language,
                calm,
                calibrated=self._calibrated,
            ),
            masks=answer.masks,
            notes=notes,
            timings_ms={stage: round(1000 * took, 1) for stage, took in times.items()},
        )

    def _gate(self, study: Study) -> gate.Verdict:
        # without weights of its own the gate asks no file, so that its folder is not looked at
        return gate.judge(study, self._card.gate, NOWHERE, self._language)

    def _sentences(self, notes: Sequence[str]) -> tuple[str, ...]:
        block = self._card.block
        said = [block.research.in_(self._language)]
        # a picture has room for two: what the number is comes before why there is no strip
        said += [words.say(words.NOTES[name], self._language) for name in notes]
        said.append(words.say(words.NO_EXPLANATION[block.kind], self._language))
        said += [note.in_(self._language) for note in block.notes]
        return tuple(said)
