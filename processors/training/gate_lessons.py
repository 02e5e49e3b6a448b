"""What the gate of each organ learns: which sets it accepts, what it must refuse, in what shares.

Pictures that no set holds are made: an accepted picture inverted, turned, cut out or put together
wrongly, a drawn limb, noise. A mirrored picture is still accepted: a frontal film, a head and a
breast look alike from both sides, and ultrasound is flipped at the machine. A head upside down or
lying on its side is refused in every plane; a scan whose skin is not at the top is refused too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CHEST_SETS = ("chest_paed", "chest_adult", "chest_adult64", "covid")
TURNED = ("rotated_90", "rotated_180", "rotated_270")


@dataclass(frozen=True, slots=True)
class Lesson:
    """shares: of each class in a batch; the first class is the accepted one.

    accepted_labels: labels accepted in any set. unjudged: labels of accepted sets that are neither
    taught nor counted as a fault, only reported. others: shares of the kinds of refused pictures.
    aside: groups of patients kept for thresholds; where none is named, `drawn` is the share of
    patients that is drawn for them. mirrored, averaged:
    shares of accepted pictures that are mirrored, or means of several as a decoder makes them.
    """

    organ: str
    shares: Mapping[str, float]
    accepted_sets: tuple[str, ...]
    other_sets: tuple[str, ...]
    others: Mapping[str, float]
    accepted_labels: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    lateral_sets: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    drawn: float = 0.15
    mirrored: float = 0.5
    averaged: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.shares)

    @property
    def accepted(self) -> str:
        return self.classes[0]

    @property
    def sets(self) -> tuple[str, ...]:
        return (*self.accepted_sets, *self.lateral_sets, *self.other_sets)


CHEST = Lesson(
    organ="chest",
    shares={
        "frontal": 0.36,
        "lateral": 0.13,
        "inverted": 0.12,
        **dict.fromkeys(TURNED, 0.06),
        "other": 0.21,
    },
    accepted_sets=CHEST_SETS,
    accepted_labels=("chest_xray",),
    lateral_sets=("chest_lateral",),
    other_sets=("modality", "brain", "breast"),
    others={
        "set": 0.50,
        "cut_out": 0.12,
        "shuffled": 0.10,
        "turned_lateral": 0.06,
        "limb": 0.14,
        "junk": 0.08,
    },
    mirrored=0.15,
    averaged=0.12,
)
BRAIN = Lesson(
    organ="brain",
    shares={"brain": 0.36, "inverted": 0.10, **dict.fromkeys(TURNED, 0.09), "other": 0.27},
    accepted_sets=("brain",),
    unjudged=("no_tumour",),
    other_sets=("modality", *CHEST_SETS, "chest_lateral", "breast"),
    others={"set": 0.66, "cut_out": 0.08, "shuffled": 0.10, "limb": 0.06, "junk": 0.10},
    aside=("fold4",),
)
# a part of a scan is a scan too, so nothing is cut out of one
BREAST = Lesson(
    organ="breast",
    shares={"breast": 0.36, "inverted": 0.10, **dict.fromkeys(TURNED, 0.09), "other": 0.27},
    accepted_sets=("breast",),
    other_sets=("modality", *CHEST_SETS, "chest_lateral", "brain"),
    others={"set": 0.76, "shuffled": 0.08, "limb": 0.06, "junk": 0.10},
    drawn=0.25,
)
LESSONS = {lesson.organ: lesson for lesson in (CHEST, BRAIN, BREAST)}
