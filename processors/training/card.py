"""Writes a bundle's card: the numbers into metadata.json, the words into docs/README.md.

Everything stands in the evaluation that was just measured; nothing is typed. A population whose
figures do not clear the bar is marked red and gets the sentence that every report must carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.runtime import Bundle
from processors.training.evaluate import red
from processors.training.files import write_checksums, write_json

NOTES = {
    "es": "En {words} este modelo no ha demostrado superar a estadísticas triviales de la imagen "
    "(AUC {auc} frente a {trivial}; ganancia {gain}): no base ninguna decisión en este resultado.",
    "en": "In {words} this model is not shown to beat trivial image statistics "
    "(AUC {auc} against {trivial}; gain {gain}): base no decision on this result.",
}
ONE_SIDED = 0.8  # share of the evidence on one side from which a region names no side
SIDED = {
    "es": "La región señala dónde miró el modelo, no dónde está la enfermedad: en {words} el "
    "{share} % de su evidencia está en el lado {side}; no indica qué pulmón está enfermo.",
    "en": "The region shows where the model looked, not where the disease is: in {words} "
    "{share}% of its evidence lies on the {side} side; it does not tell which lung is ill.",
}
SIDES = {"es": ("derecho", "izquierdo"), "en": ("right", "left")}
FLOORS = {
    "es": "En {words} este modelo no alcanza su meta de validación (AUC {auc}).",
    "en": "In {words} this model misses its validation goal (AUC {auc}).",
}


def _interval(figure: Mapping[str, float], signed: bool = False) -> str:
    shape = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return shape.format(figure["value"], figure["low"], figure["high"])


def _figure(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def note(population: Mapping[str, Any], found: Mapping[str, Any], floored: bool) -> dict[str, str]:
    """The sentence of a red population in each language."""
    numbers = {
        "auc": _interval(found["auc"]),
        "trivial": f"{found['trivial']['value']:.2f}",
        "gain": _interval(found["gain"], signed=True),
    }
    texts = FLOORS if floored else NOTES
    words = population["words"]
    return {lang: text.format(words=words[lang], **numbers) for lang, text in texts.items()}


def sided(population: Mapping[str, Any], left: float | None) -> dict[str, str] | None:
    """The sentence for a model that reads one side alone, or None."""
    if left is None or 1 - ONE_SIDED <= left <= ONE_SIDED:
        return None
    share, side = round(100 * max(left, 1 - left)), int(left > 0.5)
    return {
        lang: text.format(words=population["words"][lang], share=share, side=SIDES[lang][side])
        for lang, text in SIDED.items()
    }


def judged(card: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The card's block with the evaluation, each population's `red` and `note`."""
    floors = card["limits"].get("goals", {})
    populations = []
    for population in card["populations"]:
        name = population["name"]
        found = evaluation["populations"].get(name)
        plain = {k: v for k, v in population.items() if k not in ("red", "note", "region_note")}
        if found is None:
            populations.append({**plain, "red": True, "note": _unmeasured(population)})
            continue
        is_red = red({**found, "name": name}, floors)
        said = note(population, found, name in floors) if is_red else None
        left = (evaluation.get("explanations") or {}).get(name, {}).get("left_lung")
        where = sided(population, left)
        populations.append({**plain, "red": is_red, "note": said, "region_note": where})
    return {**card, "populations": populations, "evaluation": dict(evaluation)}


def _unmeasured(population: Mapping[str, Any]) -> dict[str, str]:
    words = population["words"]
    return {
        "es": f"En {words['es']} este modelo no ha sido evaluado.",
        "en": f"In {words['en']} this model has not been evaluated.",
    }


def write_card(bundle: Bundle, evaluation: Mapping[str, Any]) -> Path:
    """Metadata, docs/README.md and checksums anew; returns the README."""
    block = judged(bundle.card, evaluation)
    write_json(bundle.folder / "configs" / "metadata.json", {**bundle.metadata, "dictamen": block})
    readme = bundle.folder / "docs" / "README.md"
    readme.parent.mkdir(exist_ok=True)
    readme.write_text(_readme({**bundle.metadata, "dictamen": block}), encoding="utf-8")
    write_checksums(bundle.folder)
    return readme


def _readme(metadata: Mapping[str, Any]) -> str:
    card = metadata["dictamen"]
    parts = [_head(metadata), _use(card), _data(card), _results(card), _calibration(card)]
    parts += [_groups(card), _explained(card), _model(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(metadata: Mapping[str, Any]) -> str:
    return (
        f"# {metadata['name']} {metadata['version']}\n\n{metadata['task']}. "
        f"{metadata['description']}\n\n{metadata['intended_use']} "
        "This card is generated from the evaluation; do not edit it."
    )


def _use(card: Mapping[str, Any]) -> str:
    lines = ["## For whom", ""]
    for p in card["populations"]:
        state = "RED" if p["red"] else "clears its bar"
        lines.append(f"* {p['words']['en']} ({p['low']}-{p['high']} years): **{state}**.")
        lines += [f"  {p[k]['en']}" for k in ("note", "region_note") if p.get(k)]
    limits = card["limits"]
    if "views" in limits:
        lines.append(f"* Frontal views only: {', '.join(limits['views'])}.")
    if "unvalidated_ages" in limits:
        lines.append(f"* Not validated: {limits['unvalidated_ages']}.")
    return "\n".join(lines)


def _data(card: Mapping[str, Any]) -> str:
    lines = ["## Data and licences", "", *(f"* {licence}" for licence in card["licences"])]
    lines += [
        "",
        "Fitted on the training split without one patient in seven, who chose and calibrated; "
        f"reported on the {card['evaluation']['split']} split. Patients never cross splits. "
        f"Input: {card['normalisation']}.",
    ]
    return "\n".join(lines)


def _results(card: Mapping[str, Any]) -> str:
    lines = [
        "## Results",
        "",
        "AUC with 95 % interval (bootstrap over patients) beside what brightness, border, "
        "sharpness and shape alone reach on the same films, and the paired gain.",
        "",
        "| population | positive / n | AUC | trivial statistics | gain | "
        "sensitivity | specificity | undetermined | ECE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, e in card["evaluation"]["populations"].items():
        cells = [_figure(e[k]) for k in ("auc", "trivial", "gain", "sensitivity", "specificity")]
        lines.append(
            f"| {name} | {e['positive']}/{e['n']} | {' | '.join(cells)} | "
            f"{_figure(e['undetermined'])} | {e['ece']:.3f} |"
        )
    tried = card["evaluation"].get("variants_tried")
    if tried:
        lines += ["", f"Variants tried before this one was chosen: {tried}."]
    return "\n".join(lines)


def _calibration(card: Mapping[str, Any]) -> str:
    lines = [
        "## Operating points",
        "",
        "probability = sigmoid(margin / temperature + bias), for the share of ill films in the "
        "training data, which is not that of a hospital.",
        "",
        "| population | temperature | bias | threshold | undetermined band |",
        "|---|---|---|---|---|",
    ]
    for p in card["populations"]:
        low, high = p["band"]
        lines.append(
            f"| {p['name']} | {p['temperature']:.3f} | {p['bias']:.3f} | {p['threshold']:.3f} | "
            f"{low:.3f} to {high:.3f} |"
        )
    return "\n".join(lines)


def _groups(card: Mapping[str, Any]) -> str:
    lines = ["## Subgroups", "", "| population | group | positive / n | AUC |", "|---|---|---|---|"]
    for name, e in card["evaluation"]["populations"].items():
        for group, figure in e["subgroups"].items():
            lines.append(
                f"| {name} | {group} | {figure['positive']}/{figure['n']} | {_figure(figure)} |"
            )
    return "\n".join(lines) if len(lines) > 4 else ""


def _explained(card: Mapping[str, Any]) -> str:
    lines = ["## Explanations", ""]
    for name, e in (card["evaluation"].get("explanations") or {}).items():
        checks = ", ".join(f"{k} {v:.2f}" for k, v in e["passed"].items())
        lines.append(
            f"* {name}: of {e['n']} present films {e['shown']:.2f} had an explanation that passed "
            f"every check (passed: {checks}); cells exchanged, median {e['cells']:.2f}; "
            f"{e['ms']:.0f} ms. Share of the evidence on the patient's left side, mean: "
            f"{e['left_lung']:.2f} (0.5 where both lungs are read alike)."
        )
    lines.append(
        "\nThe difference map is faithful to the head by construction and no independent witness. "
        "The strip's frames are synthetic; a cell is "
        f"1/{card['size'] // 8} of the film's side, so contours point, they do not outline."
    )
    return "\n".join(lines)


def _model(card: Mapping[str, Any]) -> str:
    speed = card["evaluation"]["ms"]
    return (
        "## Model\n\n"
        f"{card['evaluation']['parameters']:,} parameters; input {card['size']} x {card['size']}; "
        f"latent {card['channels']} x {card['size'] // 8} x {card['size'] // 8}; encoder "
        f"{speed['encoder']} ms, decoder {speed['decoder']} ms (one thread, fp32, the machine of "
        f"the evaluation). Recipe: `{json.dumps(card['recipe'])}`."
    )
