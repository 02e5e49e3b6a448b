"""Reports of our own writing, put together from sentences: findings, and what a reader signs.

Nothing here is taken or learnt from a real report.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# finding of the labeller -> its sentence, and the same on the other side or with other words; all
# of them critical, so that no draft may leave one out
SENTENCES = {
    "es": {
        "pleural_effusion": ("Derrame pleural derecho moderado.", "Derrame pleural izquierdo."),
        "pneumothorax": ("Neumotórax apical izquierdo pequeño.", "Neumotórax derecho."),
        "consolidation": ("Consolidación en el lóbulo inferior derecho.", "Consolidación basal."),
        "fracture": ("Fractura del sexto arco costal izquierdo.", "Fractura costal derecha."),
        "adenopathy": ("Adenopatías hiliares derechas.", "Adenopatías hiliares izquierdas."),
    },
    "en": {
        "pleural_effusion": ("Moderate right pleural effusion.", "Left pleural effusion."),
        "pneumothorax": ("Small left apical pneumothorax.", "Right pneumothorax."),
        "consolidation": ("Right lower lobe consolidation.", "Basal consolidation."),
        "fracture": ("Fracture of the left sixth rib.", "Right rib fracture."),
        "adenopathy": ("Right hilar adenopathy.", "Left hilar adenopathy."),
    },
}
QUIET = {
    "es": ("Mediastino de anchura normal.", "Sin otros hallazgos.", "Partes blandas sin cambios."),
    "en": (
        "The mediastinum is of normal width.",
        "Bones are intact elsewhere.",
        "Soft tissues without change.",
    ),
}
CHANGES = ("kept", "kept", "added", "removed", "other side")


@dataclass(frozen=True)
class Case:
    """change: what the reader did with the findings; touched: the finding that it concerns."""

    language: str
    findings: str
    impression: str
    change: str
    touched: str


def cases(number: int, seed: int = 7) -> Iterator[Case]:
    """So many different reports, half Spanish, half English."""
    rng = random.Random(seed)
    for place in range(number):
        language = ("es", "en")[place % 2]
        said = SENTENCES[language]
        chosen = rng.sample(sorted(said), 3)
        here, (touched, *_) = chosen[:2], chosen
        change = CHANGES[place // 2 % len(CHANGES)]
        lines = [said[name][0] for name in here]
        findings = " ".join([rng.choice(QUIET[language]), *lines])
        signed = list(lines)
        if change == "added":
            touched = chosen[2]
            signed.append(said[touched][0])
        elif change == "removed":
            signed.pop(0)
        elif change == "other side":
            signed[0] = said[touched][1]
        yield Case(language, findings, " ".join(signed), change, touched)
