"""What can be wrong with a draft, and how that is said to a radiologist.

In: a kind of fault, the words at fault, the language. Out: an Objection. Never: a judgement.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What is wrong with a sentence."""

    UNSUPPORTED = "unsupported"  # asserts or suspects what the findings do not name
    NEGATION = "negation"  # asserts what they deny, or denies what they assert
    SIDE = "side"
    NUMBER = "number"
    DEGREE = "degree"
    HEDGE = "hedge"  # is certain where they are not
    DROPPED = "dropped"  # the draft leaves out a critical finding that they assert


REASONS = {
    "en": {
        Fault.UNSUPPORTED: "The findings do not name it: {what}.",
        Fault.NEGATION: "The findings say the opposite: {what}.",
        Fault.SIDE: "The findings name another side: {what}.",
        Fault.NUMBER: "The findings do not hold this number: {what}.",
        Fault.DEGREE: "The findings give another degree: {what}.",
        Fault.HEDGE: "The findings are not certain of it: {what}.",
        Fault.DROPPED: "The draft leaves this finding out: {what}.",
    },
    "es": {
        Fault.UNSUPPORTED: "Los hallazgos no lo nombran: {what}.",
        Fault.NEGATION: "Los hallazgos dicen lo contrario: {what}.",
        Fault.SIDE: "Los hallazgos nombran otro lado: {what}.",
        Fault.NUMBER: "Los hallazgos no contienen este número: {what}.",
        Fault.DEGREE: "Los hallazgos dan otro grado: {what}.",
        Fault.HEDGE: "Los hallazgos no lo dan por seguro: {what}.",
        Fault.DROPPED: "El borrador omite este hallazgo: {what}.",
    },
}


@dataclass(frozen=True, slots=True)
class Objection:
    """One fault: its kind, the words at fault, and the reason in the reader's language."""

    kind: Fault
    what: str
    reason: str


def objection(kind: Fault, what: str, language: str) -> Objection:
    """A fault with its reason in words."""
    return Objection(kind, what, REASONS[language][kind].format(what=what.rstrip(".")))
