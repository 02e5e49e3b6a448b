"""Reports of our own writing, enough of them to learn from; no word of anybody's report."""

from __future__ import annotations

import itertools

from processors.impressions.corpus import Pair

_HEARTS = {
    "Heart size is normal.": "",
    "Normal heart.": "",
    "The cardiac silhouette is normal.": "",
    "The heart is mildly enlarged.": "Mild cardiomegaly.",
}
_CHESTS = {
    "Lungs are clear.": "",
    "Both lungs are free of disease.": "",
    "There is a small left pleural effusion.": "Small left effusion.",
    "A 9 mm nodule lies in the right upper lobe.": "Right upper lobe nodule, 9 mm.",
    "Streaky atelectasis is seen at the left base.": "Left basal atelectasis.",
}
_BONES = (
    "No fracture.",
    "Degenerative changes of the spine.",
    "The ribs are intact.",
    "Bones are osteopenic.",
)
_REASONS = ("Cough.", "Preoperative.")
_CALM = "No acute change of the chest."


def pairs(split: str = "") -> list[Pair]:
    """160 reports, no two alike."""
    made = []
    every = itertools.product(_HEARTS, _CHESTS, _BONES, _REASONS)
    for number, (heart, chest, bone, reason) in enumerate(every):
        told = " ".join(filter(None, (_CHESTS[chest], _HEARTS[heart]))) or _CALM
        # the reason stands in the findings too, so that no two sections are alike
        findings = f"{heart} {chest} {bone} Two views for {reason.lower()}"
        made.append(Pair(f"r{number}", findings, told, reason, f"g{number // 3}", split))
    return made
