"""Draft sentences from findings, by rule: the same findings give the same words.

In: findings, notes. Out: an Impression in Spanish or English. It never adds what the findings do
not hold, never says "no disease": an absent finding is only "the model found no sign of it".
The learned impressions replace this one; it remains what they fall back to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from processors.analysis import Finding, Impression, Sentence, State

Names = Mapping[str, Mapping[str, str]]

TEXTS: dict[str, dict[str, Any]] = {
    "es": {
        State.PRESENT: "Signos compatibles con {name} ({number} del modelo {p} %{where}).",
        State.UNDETERMINED: "Indeterminado para {name} ({number} del modelo {p} %{where}); "
        "requiere la valoración del radiólogo.",
        State.ABSENT: "El modelo no encuentra signos de {name} ({number} {p} %).",
        "number": ("probabilidad", "puntuación"),
        "images": ", en {n} imágenes",
        "limits": "El modelo solo busca: {names}. No valora ningún otro hallazgo.",
    },
    "en": {
        State.PRESENT: "Findings consistent with {name} (model {number} {p}%{where}).",
        State.UNDETERMINED: "Indeterminate for {name} (model {number} {p}%{where}); "
        "needs the radiologist's judgement.",
        State.ABSENT: "The model finds no sign of {name} ({number} {p}%).",
        "number": ("probability", "score"),
        "images": ", on {n} images",
        "limits": "The model looks only for: {names}. It judges no other finding.",
    },
}
ORDER = (State.PRESENT, State.UNDETERMINED, State.ABSENT)


def _best(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by label, the gravest state and then the most probable of each label first."""
    ranked = sorted(findings, key=lambda f: (ORDER.index(f.state), -f.probability))
    return {
        label: [f for f in ranked if f.label == label]
        for label in sorted({f.label for f in ranked})
    }


def _percent(probability: float) -> int:
    return min(99, max(1, round(100 * probability)))


def _sentence(same: Sequence[Finding], names: Names, language: str, calibrated: bool) -> Sentence:
    words, top = TEXTS[language], same[0]
    alike = [f for f in same if f.state is top.state]
    several = top.state is not State.ABSENT and len(alike) > 1
    where = words["images"].format(n=len(alike)) if several else ""
    name = names.get(top.label, {}).get(language, top.label)
    number = words["number"][0 if calibrated else 1]
    p = _percent(top.probability)
    text = words[top.state].format(name=name, number=number, p=p, where=where)
    return Sentence(text, (top.label,))


def impression(
    findings: Sequence[Finding],
    names: Names,
    notes: Sequence[str],
    language: str,
    calm: Collection[str] = (),
    *,
    calibrated: bool = True,
) -> Impression:
    """Most critical sentence first, then what the model cannot say, then the notes.

    calm: labels whose presence is no reason to hurry; they stand behind the others.
    calibrated: False calls the numbers scores, which they are until somebody calibrates them.
    """
    language = language if language in TEXTS else "en"
    groups = sorted(
        _best(findings).values(),
        key=lambda same: (
            ORDER.index(same[0].state),
            same[0].label in calm,
            -same[0].probability,
            same[0].label,
        ),
    )
    sentences = [_sentence(same, names, language, calibrated) for same in groups]
    labels = tuple(same[0].label for same in groups)
    listed = ", ".join(names.get(label, {}).get(language, label) for label in labels)
    sentences.append(Sentence(TEXTS[language]["limits"].format(names=listed), labels))
    sentences += [Sentence(note, labels) for note in notes]
    urgent = any(f.state is State.PRESENT and f.label not in calm for f in findings)
    return Impression(language, tuple(sentences), "urgent" if urgent else "routine")
