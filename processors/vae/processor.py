"""Judges a study with a VAE bundle: probability, state, region, strip and draft sentences.

Implements the contract of processors.analysis. The gate decides what may be judged; each accepted
image is judged alone and named by its finding. Deterministic: the same study gives the
same analysis, timings apart. On the CPU path this imports neither torch nor MONAI.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors import draft_guard, gate
from processors.analysis import (
    Algorithm,
    Analysis,
    Code,
    Explanation,
    Finding,
    Impression,
    Refusal,
    State,
    Status,
    Study,
)
from processors.explain import METHODS, Film, Scale, Subject, faithfulness, require
from processors.explain.field import FIELDS
from processors.explain.regions import regions
from processors.explain.subject import donors_of, in_organ, organ_of, read_films, scale_of
from processors.gate import age_in_years
from processors.impressions.coded import impression
from processors.runtime import Bundle, WeightsShape
from processors.vae.latent import Row, evidence, probability
from processors.vae.population import fitting

UNKNOWN_AGE = {
    "es": "Edad desconocida o sin calibración propia: se aplicó la respuesta más prudente de las "
    "calibraciones de niños y adultos.",
    "en": "Age unknown or without a calibration of its own: the more cautious answer of the "
    "children's and the adults' calibration was used.",
}
MANY_IMAGES = {
    "es": "Se valoraron {judged} imágenes; solo se muestran y explican {drawn}, las de respuesta "
    "más grave de cada hallazgo.",
    "en": "{judged} images were judged; only {drawn} are shown and explained, those with the "
    "gravest answers of each finding.",
}
BOTH = {
    "es": "En una misma imagen el modelo da por presentes respuestas que se excluyen: valen como "
    "alternativas, no juntas.",
    "en": "On one image the model calls answers present that exclude each other: they are "
    "alternatives, not both.",
}
WITHHELD = {
    "es": "El borrador de la impresión se retuvo: {why}.",
    "en": "The draft impression was withheld: {why}.",
}
RANK = {State.ABSENT: 0, State.UNDETERMINED: 1, State.PRESENT: 2}
MOST_EXPLAINED = 3  # images of one study; a series of slices would give a picture for each


@dataclass(frozen=True, slots=True)
class _Answer:
    """One label on one image by one question. inside: see Subject."""

    question: int
    number: int
    row: Row
    scale: Scale
    probability: float
    inside: float | None

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

    @property
    def placed(self) -> bool:
        """Whether the evidence may be drawn: it lies where the organ is."""
        return self.inside is None or faithfulness.organ(self.inside).passed


def _logit(p: float) -> float:
    inside = min(max(p, 1e-7), 1 - 1e-7)
    return float(np.log(inside / (1 - inside)))


def _gravity(found: tuple[Finding, _Answer]) -> tuple[int, float]:
    """Present above undetermined above absent, then by probability, as the reports order them."""
    finding, _ = found
    return RANK[finding.state], finding.probability


_Judged = tuple[list[tuple[Finding, _Answer]], Film]


def _chosen(judged: Sequence[_Judged]) -> list[_Judged]:
    """Images with something to show: of each label the gravest, then the gravest of all.

    In the order of `reports.content.pictures`, so that what is shown is what is explained.
    """
    found = [(pair, i) for i, (pairs, _) in enumerate(judged) for pair in pairs]
    found = [entry for entry in found if entry[0][0].state is not State.ABSENT]
    found.sort(key=lambda entry: _gravity(entry[0]), reverse=True)
    leading: dict[str, int] = {}
    for (finding, _), i in found:
        leading.setdefault(finding.label, i)
    return [judged[i] for i in dict.fromkeys([*leading.values(), *(i for _, i in found)])]


def _contradicts(found: Sequence[tuple[Finding, _Answer]]) -> bool:
    """Whether two answers of one question, which exclude each other, are both called present."""
    asked = [answer.question for finding, answer in found if finding.state is State.PRESENT]
    return len(asked) > len(set(asked))


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
        require(METHODS, explain)
        self._name, self._bundle, self._language = name, bundle, language
        self._explain, self._card = tuple(explain), bundle.card
        self._calm = [e["label"] for e in self._card["labels"] if e.get("urgent") is False]
        try:  # what a card must hold is read where a node starts, and not with its first study
            self._field, questions = str(self._card["field"]), self._card["questions"]
            answers = [
                (q, k, a) for q, each in enumerate(questions) for k, a in enumerate(each["answers"])
            ]
            fitting(0, questions)
            self._rows = {(q, k): bundle.row(q, k) for q, k, _ in answers}
            self._scales = {(q, k): scale_of(answer) for q, k, answer in answers}
            self._donors = {(q, k): donors_of(bundle, q, k) for q, k, _ in answers}
            gate.warm(self._card, bundle.folder)
        except KeyError as error:
            raise WeightsShape(f"The card or donors.npz has no {error}.") from error
        if self._field not in ("", *FIELDS):
            raise WeightsShape(f"The card names the field {self._field!r}, unknown here.")

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
        films = ((uid, *study.film(uid, 1)) for uid in verdict.accepted)
        judged = [self._judge(study, film) for film in read_films(films, self._bundle)]
        findings = tuple(f for found, _ in judged for f, _ in found)
        read = time.perf_counter()
        chosen = _chosen(judged)
        drawn = chosen[:MOST_EXPLAINED]
        explanations = tuple(e for found, film in drawn for e in self._explained(found, film))
        done = time.perf_counter()
        notes = self._notes(study, verdict, any(f.regions for f in findings))
        if any(_contradicts(found) for found, _ in judged):
            notes = (*notes, self._spoken(BOTH))
        if len(chosen) > MOST_EXPLAINED:
            said = self._spoken(MANY_IMAGES)
            notes = (*notes, said.format(judged=len(judged), drawn=MOST_EXPLAINED))
        draft = impression(findings, self.names, notes, self._language, self._calm)
        withheld = self._why_withheld(study, draft, findings, notes)
        if withheld:
            notes = (*notes, self._spoken(WITHHELD).format(why=withheld))
        times = {"gate": gated - begin, "inference": read - gated, "explanation": done - read}
        return Analysis(
            study_instance_uid=study.uid,
            processor=self._name,
            algorithm=self.algorithm,
            status=Status.COMPLETED,
            findings=findings,
            explanations=explanations,
            impression=None if withheld else draft,
            withheld=withheld,
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

    @property
    def names(self) -> Mapping[str, Mapping[str, str]]:
        """What people call the labels: label -> language -> name."""
        return {entry["label"]: entry["name"] for entry in self._card["labels"]}

    def _why_withheld(
        self, study: Study, draft: Impression, findings: Sequence[Finding], notes: Sequence[str]
    ) -> str:
        patient = draft_guard.identifying(instance.header for instance in study.instances)
        return draft_guard.why_withheld(draft, findings, self.names, notes, patient)

    def _asked(self, study: Study, uid: str) -> list[int]:
        return fitting(age_in_years(study.header(uid)), self._card["questions"])

    def _spoken(self, said: Mapping[str, str] | None) -> str:
        return (said or {}).get(self._language, (said or {}).get("en", ""))

    def _notes(self, study: Study, verdict: gate.Verdict, drawn: bool) -> tuple[str, ...]:
        """The gate's notes, then what the card demands for the questions that were asked."""
        always = [*self._card.get("notes", ()), *self._card.get("alarms", ())]
        found = [*verdict.notes, *(self._spoken(note) for note in always)]
        for uid in verdict.accepted:
            asked = [self._card["questions"][q] for q in self._asked(study, uid)]
            labels = [answer["label"] for question in asked for answer in question["answers"]]
            if len(labels) > len(set(labels)):
                found.append(self._spoken(UNKNOWN_AGE))
            for question in asked:
                found += [self._spoken(answer.get("note")) for answer in question["answers"]]
                found.append(self._spoken(question.get("region_note")) if drawn else "")
        return tuple(dict.fromkeys(note for note in found if note))

    def _judge(self, study: Study, film: Film) -> _Judged:
        asked = self._asked(study, film.instance_uid)
        organ = organ_of(film, self._field)
        answers = [self._answer(film, q, k, organ) for q, k in self._rows if q in asked]
        found = []
        for entry in self._card["labels"]:
            same = [a for a in answers if self._label(a) == entry["label"]]
            if same:
                found.append(self._finding(entry, film, same))
        return found, film

    def _label(self, answer: _Answer) -> str:
        return str(self._card["questions"][answer.question]["answers"][answer.number]["label"])

    def _answer(
        self, film: Film, question: int, number: int, organ: NDArray[np.bool_] | None
    ) -> _Answer:
        row, scale = self._rows[question, number], self._scales[question, number]
        placed = in_organ(film, row, organ)
        return _Answer(question, number, row, scale, probability(film.latent, row), placed)

    def _finding(
        self,
        entry: Mapping[str, Any],
        film: Film,
        answers: Sequence[_Answer],
    ) -> tuple[Finding, _Answer]:
        top = max(answers, key=lambda answer: (RANK[answer.state], answer.excess))
        agreed = len({answer.state for answer in answers}) == 1
        state = top.state if agreed else State.UNDETERMINED
        drawn = state is not State.ABSENT and top.placed
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
            regions=regions(cells, film.instance_uid, film.stored) if drawn else (),
        )
        return finding, top

    def _explained(self, found: Sequence[tuple[Finding, _Answer]], film: Film) -> list[Explanation]:
        explanations = []
        for finding, answer in found:
            if finding.state is State.ABSENT:
                continue
            subject = Subject(
                finding.label,
                film,
                self._bundle,
                answer.row,
                answer.scale,
                *self._donors[answer.question, answer.number],
                answer.inside,
            )
            for method in self._explain:
                explanations.append(METHODS[method].explain(subject, self._language))
        return explanations


def without_timings(analysis: Analysis) -> Analysis:
    """The part of an analysis that must repeat exactly."""
    return replace(analysis, timings_ms={})
