"""Writes a bundle's card: the numbers into metadata.json, the words into docs/README.md.

Everything stands in the evaluation that was just measured; nothing is typed. An answer whose
figures do not clear the bar is marked red and gets the sentence that every report must carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.explain.faithfulness import convincing
from processors.runtime import Bundle
from processors.training.evaluate import few, red
from processors.training.files import write_checksums, write_json

NOTES = {
    "es": "{name}, {words}: este modelo no ha demostrado superar a estadísticas triviales de la "
    "imagen (AUC {auc} frente a {trivial}; ganancia {gain}): no base ninguna decisión en este "
    "resultado.",
    "en": "{name}, {words}: this model is not shown to beat trivial image statistics "
    "(AUC {auc} against {trivial}; gain {gain}): base no decision on this result.",
}
SERIES = 20  # slices of a head MR series, for what false alarms mean there
ONE_SIDED = 0.8  # share of the evidence on one side from which a region names no side
SIDED = {
    "es": "La región señala dónde miró el modelo, no dónde está la enfermedad: en {words} el "
    "{share} % de su evidencia está en el lado {side}; no indica qué lado está enfermo.",
    "en": "The region shows where the model looked, not where the disease is: in {words} "
    "{share}% of its evidence lies on the {side} side; it does not tell which side is ill.",
}
SIDES = {"es": ("derecho", "izquierdo"), "en": ("right", "left")}
FALSE_ALARMS = {
    "es": "De {n} imágenes sanas de otra procedencia, el modelo llamó «presente» algún hallazgo en "
    "el {share} %.",
    "en": "Of {n} healthy images of another source the model called a finding present in {share}%.",
}
FEW = {
    "es": "{name}, {words}: este modelo se ha evaluado con demasiado pocas imágenes o pacientes "
    "({ill} imágenes con el hallazgo, {well} sin él, {patients} pacientes).",
    "en": "{name}, {words}: this model was evaluated on too few images or patients "
    "({ill} images with the finding, {well} without it, {patients} patients).",
}
FLOORS = {
    "es": "{name}, {words}: este modelo no alcanza su meta de validación (AUC {auc}).",
    "en": "{name}, {words}: this model misses its validation goal (AUC {auc}).",
}


def _interval(figure: Mapping[str, float], signed: bool = False) -> str:
    shape = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return shape.format(figure["value"], figure["low"], figure["high"])


def _figure(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def note(
    name: Mapping[str, str], words: Mapping[str, str], found: Mapping[str, Any], floored: bool
) -> dict[str, str]:
    """The sentence of a red answer in each language; name: of its label, words: for whom."""
    numbers = {
        "auc": _interval(found["auc"]),
        "trivial": f"{found['trivial']['value']:.2f}",
        "gain": _interval(found["gain"], signed=True),
    }
    texts = FLOORS if floored else NOTES
    return {
        lang: text.format(name=name[lang].capitalize(), words=words[lang], **numbers)
        for lang, text in texts.items()
    }


def sided(words: Mapping[str, str], left: float | None) -> dict[str, str] | None:
    """The sentence for a model that reads one side alone, or None."""
    if left is None or 1 - ONE_SIDED <= left <= ONE_SIDED:
        return None
    share, side = round(100 * max(left, 1 - left)), int(left > 0.5)
    return {
        lang: text.format(words=words[lang], share=share, side=SIDES[lang][side])
        for lang, text in SIDED.items()
    }


def judged(card: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The card's block with the evaluation, each answer's `red` and `note`."""
    names = {entry["label"]: entry["name"] for entry in card["labels"]}
    questions = []
    for question in card["questions"]:
        answers = [_answer(question, one, names, card, evaluation) for one in question["answers"]]
        explained = evaluation.get("explanations") or {}
        lefts = [explained.get(f"{question['name']}/{a['label']}", {}).get("left") for a in answers]
        known = [left for left in lefts if left is not None]
        where = sided(question["words"], sum(known) / len(known) if known else None)
        questions.append({**question, "answers": answers, "region_note": where})
    measured = {"alarms": alarms(card, evaluation), "evaluation": dict(evaluation)}
    return {**card, "questions": questions, **measured}


def alarms(card: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """A sentence for every report on how often healthy images are called present.

    limits.healthy: labels of the table that mean "nothing is there" and that no question knows.
    """
    found = evaluation.get("other_labels_called_present") or {}
    return [
        {
            lang: text.format(share=round(100 * found[label]["value"]), n=found[label]["n"])
            for lang, text in FALSE_ALARMS.items()
        }
        for label in card["limits"].get("healthy", ())
        if label in found
    ]


def _answer(
    question: Mapping[str, Any],
    answer: Mapping[str, Any],
    names: Mapping[str, Mapping[str, str]],
    card: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> dict[str, Any]:
    floors, key = card["limits"].get("goals", {}), f"{question['name']}/{answer['label']}"
    found, name = evaluation["answers"].get(key), names[answer["label"]]
    if found is None or "gain" not in found:  # not measured, or beside no trivial bar
        return {**answer, "red": True, "note": _unmeasured(name, question["words"])}
    is_red = red(key, found, floors)
    said = note(name, question["words"], found, key in floors) if is_red else None
    if few(found):
        said = _of_few(name, question["words"], found)
    strips = (evaluation.get("explanations") or {}).get(key, {})
    told = strips.get("witness")
    witness = told and {
        "share": told["value"],
        "gain": told["gain"]["low"],
        "least": told["least"],
    }
    return {**answer, "red": is_red, "note": said, "witness": witness}


def _of_few(
    name: Mapping[str, str], words: Mapping[str, str], found: Mapping[str, Any]
) -> dict[str, str]:
    ill, patients = found["positive"], found["patients"]
    counts = {"ill": ill, "well": found["n"] - ill, "patients": patients}
    return {
        lang: text.format(name=name[lang].capitalize(), words=words[lang], **counts)
        for lang, text in FEW.items()
    }


def _unmeasured(name: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    return {
        "es": f"{name['es'].capitalize()}, {words['es']}: este modelo no ha sido evaluado.",
        "en": f"{name['en'].capitalize()}, {words['en']}: this model has not been evaluated.",
    }


def write_audit(bundle: Bundle, record: Mapping[str, Any]) -> Path:
    """The record of an audit into a card that was written before; returns the README.

    Raises ValueError for a bundle that was not evaluated: its card says nothing yet.
    """
    if not bundle.card.get("evaluation"):
        raise ValueError(f"{bundle.name} has no card yet: models evaluate --write-card first")
    kept = {name: record[name] for name in ("split", "answers")}
    return _write(bundle, {**bundle.card, "audit": kept})


def write_card(bundle: Bundle, evaluation: Mapping[str, Any]) -> Path:
    """Metadata, docs/README.md and checksums anew; returns the README."""
    return _write(bundle, judged(bundle.card, evaluation))


def _write(bundle: Bundle, block: Mapping[str, Any]) -> Path:
    write_json(bundle.folder / "configs" / "metadata.json", {**bundle.metadata, "dictamen": block})
    readme = bundle.folder / "docs" / "README.md"
    readme.parent.mkdir(exist_ok=True)
    readme.write_text(_readme({**bundle.metadata, "dictamen": block}), encoding="utf-8")
    write_checksums(bundle.folder)
    return readme


def _readme(metadata: Mapping[str, Any]) -> str:
    card = metadata["dictamen"]
    parts = [_head(metadata), _use(card), _data(card), _results(card), _calibration(card)]
    parts += [_groups(card), _explained(card), _audit(card), _model(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(metadata: Mapping[str, Any]) -> str:
    return (
        f"# {metadata['name']} {metadata['version']}\n\n{metadata['task']}. "
        f"{metadata['description']}\n\n{metadata['intended_use']} "
        "This card is generated from the evaluation; do not edit it."
    )


def _use(card: Mapping[str, Any]) -> str:
    lines = ["## For whom", ""]
    for q in card["questions"]:
        for answer in q["answers"]:
            state = "RED" if answer["red"] else "clears its bar"
            years = f"{q['low']}-{q['high']} years"
            lines.append(f"* {answer['label']}, {q['words']['en']} ({years}): **{state}**.")
            lines += [f"  {answer['note']['en']}"] if answer.get("note") else []
        lines += [f"  {q['region_note']['en']}"] if q.get("region_note") else []
    limits = card["limits"]
    if "views" in limits:
        lines.append(f"* Frontal views only: {', '.join(limits['views'])}.")
    if "unvalidated_ages" in limits:
        lines.append(f"* Not validated: {limits['unvalidated_ages']}.")
    said = (*card.get("notes", ()), *card.get("alarms", ()))
    lines += [f"* {one['en']}" for one in said]
    return "\n".join(lines)


def _data(card: Mapping[str, Any]) -> str:
    lines = ["## Data and licences", "", *(f"* {licence}" for licence in card["licences"])]
    lines += [
        "",
        "Fitted on the training split without one patient in seven, who chose and calibrated; "
        f"reported on the {card['evaluation']['split']} split. {_apart(card)} "
        f"Input: {card['normalisation']}.",
    ]
    return "\n".join(lines)


def _apart(card: Mapping[str, Any]) -> str:
    if not card.get("nameless"):
        return "Patients never cross splits."
    return (
        "Patients that the tables name never cross splits. Of "
        f"{card['nameless']} of {card['images']} images that taught they name none: each counts as "
        "a patient, images of one may have fitted and calibrated, and the averages that strips "
        "exchange cells with may be of fewer than five."
    )


def _drawn(evaluation: Mapping[str, Any]) -> str:
    if not evaluation.get("nameless"):
        return "bootstrap over patients"
    some = f"{evaluation['nameless']} of {evaluation['images']}"
    return (
        f"bootstrap over patients; of {some} images the tables name none, and each counts as one: "
        "too narrow where images share a patient"
    )


def _results(card: Mapping[str, Any]) -> str:
    lines = [
        "## Results",
        "",
        f"AUC with 95 % interval ({_drawn(card['evaluation'])}) beside what brightness, border, "
        "sharpness and shape alone reach on the same images, and the paired gain; the same "
        "statistics again on the equalised input, which is what the network sees.",
        "",
        "| task | positive / n | AUC | trivial | gain | trivial, equalised | gain | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, e in card["evaluation"]["answers"].items():
        if "positive" not in e:
            lines.append(f"| {name} | {e['n']} | {_figure(e['auc'])} | | | | | |")
            continue
        keys = ("auc", "trivial", "gain", "trivial_equalised", "gain_equalised")
        ece = f"{e['ece']:.3f}" if "ece" in e else ""
        cells = " | ".join(_figure(e[k]) if k in e else "" for k in keys)
        lines.append(f"| {name} | {e['positive']}/{e['n']} | {cells} | {ece} |")
    for label, e in (card["evaluation"].get("other_labels_called_present") or {}).items():
        lines += ["", f"Called present among {e['n']} images labelled {label}, whose label or age "
                  f"no question knows: {_figure(e)}.{_per_series(card, label, e)}"]  # fmt: skip
    if taught := card["evaluation"].get("taught"):
        lines += ["", f"**{taught} of {card['evaluation']['images']} images judged stand in the "
                  "training split as well: these figures say too much.**"]  # fmt: skip
    tried = card["evaluation"].get("variants_tried")
    if tried:
        lines += ["", f"Variants tried before this one was chosen: {tried}."]
    return "\n".join(lines)


def _per_series(card: Mapping[str, Any], label: str, e: Mapping[str, float]) -> str:
    """Of healthy slices: how many of a series would be called present. Slices of one head are
    alike, so that in a given series it is rather all or none."""
    slices = card.get("gate", {}).get("organ") == "brain"
    if not slices or label not in card["limits"].get("healthy", ()):
        return ""
    value, low, high = (SERIES * e[name] for name in ("value", "low", "high"))
    return (
        f" In a series of {SERIES} such slices that is {value:.0f} [{low:.0f}, {high:.0f}] on "
        "average, and the study counts as present with the first."
    )


def _calibration(card: Mapping[str, Any]) -> str:
    lines = [
        "## Operating points",
        "",
        "Logit of an answer = total / temperature + offset; probabilities by softmax over the "
        "question, with 0 for no finding where it has that answer. For the shares of the training "
        "data, which are not those of a hospital.",
        "",
        "| answer | chosen on, with / without | temperature | offset | threshold | undetermined "
        "band | sensitivity | specificity | undetermined |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for q in card["questions"]:
        for answer in q["answers"]:
            low, high = answer["band"]
            name = f"{q['name']}/{answer['label']}"
            found = card["evaluation"]["answers"].get(name, {})
            keys = ("sensitivity", "specificity", "undetermined")
            shown = " | ".join(_figure(found[k]) if k in found else "" for k in keys)
            lines.append(
                f"| {name} | {' / '.join(map(str, answer.get('tuned', ())))} | "
                f"{q['temperature']:.3f} | {answer['offset']:.3f} | "
                f"{answer['threshold']:.3f} | {low:.3f} to {high:.3f} | {shown} |"
            )
    return "\n".join(lines)


def _groups(card: Mapping[str, Any]) -> str:
    lines = ["## Subgroups", "", "| task | group | positive / n | AUC |", "|---|---|---|---|"]
    for name, e in card["evaluation"]["answers"].items():
        for group, figure in e.get("subgroups", {}).items():
            lines.append(
                f"| {name} | {group} | {figure['positive']}/{figure['n']} | {_figure(figure)} |"
            )
    return "\n".join(lines) if len(lines) > 4 else ""


def _explained(card: Mapping[str, Any]) -> str:
    lines = ["## Explanations", ""]
    for name, e in (card["evaluation"].get("explanations") or {}).items():
        checks = ", ".join(f"{k} {v:.2f}" for k, v in e["passed"].items())
        lines.append(
            f"* {name}: of {e['n']} present images {e['shown']:.2f} had an explanation that passed "
            f"every check (passed: {checks}); cells exchanged, median {e['cells']:.2f}; "
            f"{e['ms']:.0f} ms. Share of the evidence in the picture's right half, mean: "
            f"{e['left']:.2f} (0.5 where both sides are read alike)."
            f"{_witness(e.get('witness'))}"
        )
    lines.append(
        "\nThe difference map is faithful to the head by construction and no independent witness. "
        "The strip's frames are synthetic; a cell is "
        f"1/{card['size'] // 8} of the image's side, so contours point, they do not outline."
    )
    return "\n".join(lines)


def _witness(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    checks = convincing(found["value"], found["gain"]["low"], found["least"])
    good = all(check.passed for check in checks)
    kept = "" if good else ": **no strip of this answer is shown**"
    return (
        f" An independent network that had called {found['n']} of them the same gave the answer up "
        f"after the strip's last frame in {found['value']:.2f}, after a random change of equal "
        f"size in {found['random']:.2f} (gain {_figure(found['gain'])}){kept}."
    )


def _audit(card: Mapping[str, Any]) -> str:
    """What `models audit-bias` found; nothing of a bundle that was not audited."""
    if "audit" not in card:
        return ""
    lines = [
        "## Bias audit",
        "",
        f"On the {card['audit']['split']} split; what is not asked is not found. AUC lost: when "
        "a planted mark stands on one side alone, the worse of both sides. Gap: largest less "
        "smallest AUC of the groups; by chance: what groups drawn at random show.",
    ]
    for name, e in card["audit"]["answers"].items():
        said = "**BIASED**" if e["biased"] else "no bias found"
        lines.append(f"* {name}: {said}.")
        lines += [f"  * {reason}" for reason in e["reasons"]]
        lines += [f"  * noted, may belong to the disease: {reason}" for reason in e["noted"]]
        for kind, mark in e["marks"].items():
            worse = max(mark["raises"], mark["lowers"], key=lambda one: one["low"])
            lines.append(f"  * AUC lost to a {kind}: {_figure(worse)}")
        for attribute, gap in e["gaps"].items():
            chance = f"by chance {gap['by_chance']:.3f}"
            lines.append(f"  * gap by {attribute}: {_figure(gap['gap'])} ({chance})")
        five = {k: v for k, v in (e["five"] or {}).items() if isinstance(v, dict)}
        if five:
            figures = ", ".join(f"{name} {_figure(one)}" for name, one in five.items())
            lines.append(f"  * strips after DISSECT: {figures}")
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
