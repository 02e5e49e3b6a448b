"""Judges a study with a VAE bundle: probability, state, region, strip and draft sentences.

Implements the contract of processors.analysis. The gate decides what may be judged; each accepted
frontal instance is judged alone and named by its finding. Deterministic: the same study gives the
same analysis, timings apart. On the CPU path this imports neither torch nor MONAI.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from processors import gate
from processors.analysis import (
    Algorithm,
    Analysis,
    Code,
    Explanation,
    Finding,
    Refusal,
    State,
    Status,
    Study,
)
from processors.explain import METHODS, Film, Scale, Subject
from processors.explain.regions import regions
from processors.explain.subject import read_film, scale_of
from processors.gate import age_in_years
from processors.impression_rules import impression
from processors.runtime import Bundle, WeightsShape
from processors.vae.latent import Row, evidence, margin_of
from processors.vae.population import fitting

UNKNOWN_AGE = {
    "es": "Edad desconocida o sin población validada: se aplicó la respuesta más prudente de las "
    "calibraciones de niños y adultos.",
    "en": "Age unknown or without a validated population: the more cautious answer of the "
    "children's and the adults' calibration was used.",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """One label on one film by one population."""

    population: int
    row: Row
    scale: Scale
    probability: float

    @property
    def excess(self) -> float:
        """Log-odds above the threshold: compares answers of unlike calibrations."""
        return _logit(self.probability) - _logit(self.scale.threshold)

    @property
    def state(self) -> State:
        low, high = self.scale.band
        if self.probability >= high:
            return State.PRESENT
        return State.ABSENT if self.probability < low else State.UNDETERMINED


def _logit(p: float) -> float:
    inside = min(max(p, 1e-7), 1 - 1e-7)
    return float(np.log(inside / (1 - inside)))


def _code(entry: Mapping[str, str] | None) -> Code | None:
    return Code(entry["value"], entry["scheme"], entry["meaning"]) if entry else None


class VaeBundleProcessor:
    """A bundle behind the Processor contract."""

    def __init__(
        self, name: str, bundle: Bundle, language: str, explain: Sequence[str] = ("traversal",)
    ) -> None:
        unknown = [method for method in explain if method not in METHODS]
        if unknown:
            raise ValueError(f"unknown explanation {unknown[0]!r}; known: {', '.join(METHODS)}")
        self._name, self._bundle, self._language = name, bundle, language
        self._explain, self._card = tuple(explain), bundle.card
        self._donors = {
            name: values.astype(np.float32)
            for name, values in bundle.donors.items()
            if name.startswith("latents_")
        }
        for population in self._card["populations"]:
            for kind in ("without", "with"):
                if f"latents_{kind}_{population['name']}" not in self._donors:
                    raise WeightsShape(f"donors.npz has no donors {kind} for {population['name']}.")

    @property
    def name(self) -> str:
        return self._name

    @property
    def algorithm(self) -> Algorithm:
        return self._bundle.algorithm

    def _gate(self, study: Study) -> gate.Verdict:
        return gate.judge(study, self._card, self._bundle.folder, self._language)

    def accepts(self, study: Study) -> Refusal | None:
        return self._gate(study).refusal

    def analyse(self, study: Study) -> Analysis:
        """The analysis of a study; unsuitable when the gate refuses it."""
        begin = time.perf_counter()
        verdict = self._gate(study)
        if verdict.refusal is not None:
            return self._unsuitable(study, verdict.refusal)
        gated = time.perf_counter()
        judged = [self._judge(study, uid) for uid in verdict.accepted]
        findings = tuple(f for found, _ in judged for f, _ in found)
        read = time.perf_counter()
        explanations = tuple(e for found, film in judged for e in self._explained(found, film))
        done = time.perf_counter()
        notes = self._notes(study, verdict, any(f.regions for f in findings))
        times = {"gate": gated - begin, "inference": read - gated, "explanation": done - read}
        return Analysis(
            study_instance_uid=study.uid,
            processor=self._name,
            algorithm=self.algorithm,
            status=Status.COMPLETED,
            findings=findings,
            explanations=explanations,
            impression=impression(findings, self._names(), notes, self._language),
            notes=notes,
            timings_ms={k: round(1000 * v, 1) for k, v in times.items()},
        )

    def _unsuitable(self, study: Study, refusal: Refusal) -> Analysis:
        return Analysis(
            study_instance_uid=study.uid,
            processor=self._name,
            algorithm=self.algorithm,
            status=Status.UNSUITABLE,
            reason=refusal.reason,
            kind=refusal.kind,
        )

    def _names(self) -> dict[str, Mapping[str, str]]:
        return {entry["label"]: entry["name"] for entry in self._card["labels"]}

    def _population_indices(self, study: Study, uid: str) -> list[int]:
        return fitting(age_in_years(study.header(uid)), self._card["populations"])

    def _notes(self, study: Study, verdict: gate.Verdict, drawn: bool) -> tuple[str, ...]:
        """The gate's notes, then what the card demands for the populations that answered."""
        found = list(verdict.notes)
        for uid in verdict.accepted:
            answering = self._population_indices(study, uid)
            if len(answering) > 1:
                found.append(UNKNOWN_AGE.get(self._language, UNKNOWN_AGE["en"]))
            for index in answering:
                for key in ("note", "region_note") if drawn else ("note",):
                    said = self._card["populations"][index].get(key) or {}
                    found.append(said.get(self._language, said.get("en", "")))
        return tuple(dict.fromkeys(note for note in found if note))

    def _judge(self, study: Study, uid: str) -> tuple[list[tuple[Finding, _Answer]], Film]:
        pixels = study.pixels(uid, 1)
        film = read_film(uid, pixels, self._bundle)
        answering = self._population_indices(study, uid)
        shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        found = [self._finding(entry, film, answering, shape) for entry in self._card["labels"]]
        return found, film

    def _answers(self, label: str, film: Film, populations: Sequence[int]) -> list[_Answer]:
        answers = []
        for index in populations:
            population = self._card["populations"][index]
            place = {"label": label, "population": population["name"]}
            row = self._bundle.head.row(list(self._card["rows"]).index(place))
            scale = scale_of(population)
            probability = scale.probability(margin_of(evidence(film.latent, row)))
            answers.append(_Answer(index, row, scale, probability))
        return answers

    def _finding(
        self,
        entry: Mapping[str, Any],
        film: Film,
        populations: Sequence[int],
        shape: tuple[int, int],
    ) -> tuple[Finding, _Answer]:
        answers = self._answers(entry["label"], film, populations)
        top = max(answers, key=lambda answer: answer.excess)
        agreed = len({answer.state for answer in answers}) == 1
        state = top.state if agreed else State.UNDETERMINED
        drawn = state is not State.ABSENT
        cells = evidence(film.latent, top.row)
        finding = Finding(
            label=entry["label"],
            instance_uid=film.instance_uid,
            probability=top.probability,
            threshold=top.scale.threshold,
            state=state,
            band=top.scale.band,
            code=_code(entry.get("code")),
            site=_code(entry.get("site")),
            regions=regions(cells, film.instance_uid, shape) if drawn else (),
        )
        return finding, top

    def _explained(self, found: Sequence[tuple[Finding, _Answer]], film: Film) -> list[Explanation]:
        explanations = []
        for finding, answer in found:
            if finding.state is State.ABSENT:
                continue
            population = self._card["populations"][answer.population]["name"]
            subject = Subject(
                finding.label,
                film,
                self._bundle,
                answer.row,
                answer.scale,
                self._donors[f"latents_without_{population}"],
                self._donors[f"latents_with_{population}"],
            )
            for method in self._explain:
                explanations.append(METHODS[method](subject, self._language))
        return explanations


def without_timings(analysis: Analysis) -> Analysis:
    """The part of an analysis that must repeat exactly."""
    return replace(analysis, timings_ms={})
