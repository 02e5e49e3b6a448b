"""A study's way through the node in sentences that a person understands, English or Spanish.

Pure: records in, sentences out. What `dictamen explain` prints, and the reason that
`dictamen analyse` gives for a study that no rule picked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from processors.analysis import Code
from reports import codes, wording
from storage import Commitment, Delivery, Run, StudyRecord

_TEXT = {
    "en": {
        "received": "Instances received: {n}, between {first} and {last}; the study is {state}.",
        "held": "It waits for a person: {reason}",
        "picked": "{processor} picked {n} of its instances.",
        "skipped": "{processor} left out {n} of its instances: {why}.",
        "wait": "{processor} still waits {wait:.0f} s for more instances.",
        "run": "Run {id} of {processor} (attempt {attempt}): {state}{reason}",
        "shadow": "Run {id} is in shadow: its result is remembered and sent nowhere.",
        "superseded": "Run {id} takes the place of run {older}: instances came after it.",
        "finding": "  {label}: {state}, probability {probability}, threshold {threshold}",
        "delivery": "  {kind} to {destination}: {state} after attempt {attempts}{answer}",
        "commitment": "; commitment: {state}{answer}",
        "none": "Not assessed because no rule of node.yaml picked it. {why}",
        "not_yet": "No rule has looked at it yet.",
    },
    "es": {
        "received": "Instancias recibidas: {n}, entre {first} y {last}; el estudio está {state}.",
        "held": "Espera a una persona: {reason}",
        "picked": "{processor} eligió {n} de sus instancias.",
        "skipped": "{processor} dejó fuera {n} de sus instancias: {why}.",
        "wait": "{processor} espera aún {wait:.0f} s por si llegan más instancias.",
        "run": "Ejecución {id} de {processor} (intento {attempt}): {state}{reason}",
        "shadow": "La ejecución {id} está en sombra: su resultado se guarda y no se envía.",
        "superseded": "La ejecución {id} sustituye a la {older}: llegaron instancias después.",
        "finding": "  {label}: {state}, probabilidad {probability}, umbral {threshold}",
        "delivery": "  {kind} a {destination}: {state} tras el intento {attempts}{answer}",
        "commitment": "; compromiso de custodia: {state}{answer}",
        "none": "No valorado porque ninguna regla de node.yaml lo eligió. {why}",
        "not_yet": "Ninguna regla lo ha mirado todavía.",
    },
}
_STATES_ES = {
    "open": "abierto",
    "settled": "completo",
    "held": "retenido",
    "waiting": "en espera",
    "ready": "lista",
    "running": "en curso",
    "completed": "completada",
    "unsuitable": "no valorable",
    "failed": "fallida",
    "set_aside": "apartada",
    "superseded": "sustituida",
    "sending": "enviándose",
    "delivered": "entregado",
    "rejected": "rechazado",
    "given_up": "abandonado",
    "wanted": "por pedir",
    "asked": "pedido",
    "committed": "asumido",
    "refused": "negado",
    "missing": "sin respuesta",
    "present": "presente",
    "absent": "ausente",
    "undetermined": "indeterminado",
}


def tell(
    study: StudyRecord,
    runs: Sequence[tuple[Run, Mapping[str, Any] | None]],
    deliveries: Sequence[Delivery],
    language: str,
    commitments: Mapping[int, Commitment] = MappingProxyType({}),
) -> list[str]:
    """The story of one study. runs: each with its analysis as stored (`result.json`), or None.

    commitments: by the number of the delivery, where a peer shall commit to it.
    """
    text = _TEXT[language]
    lines = [
        text["received"].format(
            n=study.instances,
            first=f"{study.first_received:%Y-%m-%d %H:%M:%S}",
            last=f"{study.last_received:%H:%M:%S} UTC",
            state=state_word(study.state.value, language),
        )
    ]
    if study.reason:
        lines.append(text["held"].format(reason=study.reason))
    lines += decision(study.trace, language)
    for run, analysis in runs:
        lines += _run(run, analysis, language)
        mine = [item for item in deliveries if item.run_id == run.id]
        lines += [_delivery(item, commitments.get(item.id), language) for item in mine]
    return lines


def percent(probability: float, language: str, near: Collection[float] = ()) -> str:
    """As the reports write it: never 0 or 100 %, and with the decimals that tell it from `near`."""
    words = wording.ES if language == "es" else wording.EN
    return wording.percent(probability, words, near=near)


def finding_name(finding: Mapping[str, Any], language: str) -> str:
    """What the reports call this finding of `result.json`."""
    code = Code(**finding["code"]) if finding.get("code") else None
    return codes.display(finding["label"], code, language)


def decision(trace: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    """What each processor's rule made of the study."""
    text, lines = _TEXT[language], []
    for choice in trace:
        name = choice["processor"]
        if choice["picked"]:
            lines.append(text["picked"].format(processor=name, n=len(choice["picked"])))
        lines += [
            text["skipped"].format(processor=name, n=count, why=why)
            for why, count in choice["skipped"].items()
        ]
        if not choice["settled"]:
            lines.append(text["wait"].format(processor=name, wait=choice["wait"]))
    return lines or [text["not_yet"]]


def not_selected(trace: Sequence[Mapping[str, Any]], language: str) -> str:
    """Why a study that no rule picked has no result."""
    return _TEXT[language]["none"].format(why=" ".join(decision(trace, language)))


def _run(run: Run, analysis: Mapping[str, Any] | None, language: str) -> list[str]:
    text = _TEXT[language]
    lines = [
        text["run"].format(
            id=run.id,
            processor=run.processor,
            attempt=run.attempt,
            state=state_word(run.state.value, language),
            reason=f". {run.reason}" if run.reason else ".",
        )
    ]
    if run.mode == "shadow":
        lines.append(text["shadow"].format(id=run.id))
    if run.predecessor is not None:
        lines.append(text["superseded"].format(id=run.id, older=run.predecessor))
    for finding in (analysis or {}).get("findings", ()):
        own, threshold = finding["probability"], finding["threshold"]
        lines.append(
            text["finding"].format(
                label=finding_name(finding, language),
                state=state_word(finding["state"], language),
                probability=percent(own, language, (threshold, *finding.get("band", ()))),
                threshold=percent(threshold, language, (own,)),
            )
        )
    return lines


def _delivery(delivery: Delivery, kept: Commitment | None, language: str) -> str:
    line = _TEXT[language]["delivery"].format(
        kind=delivery.report.kind,
        destination=delivery.destination,
        state=state_word(delivery.state.value, language),
        attempts=delivery.attempts,
        answer=f" ({delivery.answer})" if delivery.answer else "",
    )
    if kept is None:
        return line
    return line + _TEXT[language]["commitment"].format(
        state=state_word(kept.state.value, language),
        answer=f" ({kept.answer})" if kept.answer else "",
    )


def state_word(state: str, language: str) -> str:
    """The word for a state of a study, run, delivery or finding."""
    return _STATES_ES.get(state, state) if language == "es" else state.replace("_", " ")
