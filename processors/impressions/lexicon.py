"""The phrase lists beside this file, compiled.

In: a language (en, es). Out: one Lexicon of regular expressions over folded text (`text.fold`).
Never: a phrase in code; they stand in `phrases/`, with the sources of their classes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("en", "es")
SCALE = frozenset({"mild", "moderate", "severe"})
# CheXpert's thirteen observations (Irvin et al., AAAI 2019; "No Finding" follows) and adenopathy
FINDINGS = (
    "enlarged_mediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
    "adenopathy",
)


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that a report names.

    finding: one of FINDINGS or "". specific: only itself supports it. critical: may not be left
    out. hedged: its name alone is never certain evidence of the finding. also: a
    second concept named by the same word. kin: concepts of one word support each other.
    inferred: a reading of other signs, which these support only as a possibility. counted: has
    a column in what the shipped models see.
    """

    name: str
    finding: str
    specific: bool = False
    critical: bool = False
    hedged: bool = False
    also: str = ""
    kin: str = ""
    inferred: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Structure:
    """A part of the body whose description says something of a concept."""

    concept: str
    names: re.Pattern[str]
    normal: re.Pattern[str]
    borderline: re.Pattern[str]
    abnormal: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Compiled phrases of one language; a group's name is the class of what it matched."""

    language: str
    concepts: re.Pattern[str]
    structures: tuple[Structure, ...]
    before: re.Pattern[str]
    after: re.Pattern[str]
    nowadays: re.Pattern[str]
    row: re.Pattern[str]
    gone: re.Pattern[str]
    swallowed: re.Pattern[str]
    breaks: re.Pattern[str]
    excepts: re.Pattern[str]
    verbs: re.Pattern[str]
    joins: re.Pattern[str]
    ties: re.Pattern[str]
    articles: re.Pattern[str]
    that: re.Pattern[str]
    either: re.Pattern[str]
    disjoined: re.Pattern[str]
    versus: re.Pattern[str]
    elsewhere: re.Pattern[str]
    undecided: re.Pattern[str]
    not_there: re.Pattern[str]
    unnamed: re.Pattern[str]
    all_well: re.Pattern[str]
    in_doubt: re.Pattern[str]
    plain: re.Pattern[str]
    parts: re.Pattern[str]
    lasting: re.Pattern[str]
    lasts: re.Pattern[str]
    closing: re.Pattern[str]
    brief: re.Pattern[str]
    limits: re.Pattern[str]
    part_of: re.Pattern[str]
    in_part: re.Pattern[str]
    about: re.Pattern[str]
    trace: re.Pattern[str]
    lacking: re.Pattern[str]
    signs: re.Pattern[str]
    speaks: re.Pattern[str]
    not_that: re.Pattern[str]
    meant: re.Pattern[str]
    exists: re.Pattern[str]
    not_excluded: re.Pattern[str]
    left_open: re.Pattern[str]
    instead: re.Pattern[str]
    splits: re.Pattern[str]
    clause_ends: re.Pattern[str]
    copulas: re.Pattern[str]
    of: re.Pattern[str]
    qualities: re.Pattern[str]
    certain: re.Pattern[str]
    claims: re.Pattern[str]
    causes: re.Pattern[str]
    reading: re.Pattern[str]
    partly: re.Pattern[str]
    known: re.Pattern[str]
    ribs: re.Pattern[str]
    idle: re.Pattern[str]
    sides: re.Pattern[str]
    degrees: re.Pattern[str]
    units: re.Pattern[str]
    cardinals: re.Pattern[str]
    ordinals: re.Pattern[str]


@cache
def table(name: str) -> dict[str, Any]:
    """A list of `phrases/` as it stands in its file."""
    file = resources.files(__package__) / "phrases" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


# cues that are asked as they stand in the file, by name
_CUES = (
    *("swallowed", "breaks", "excepts", "verbs", "joins", "ties", "articles", "that"),
    *("either", "disjoined", "versus", "instead"),
    *("elsewhere", "undecided", "not_there", "unnamed", "all_well", "lasting", "lasts"),
    *("closing", "brief", "limits", "nowadays", "gone"),
    *("in_doubt", "plain", "parts"),
    *("part_of", "in_part", "not_that", "meant", "exists", "not_excluded", "left_open"),
    *("about", "trace", "lacking", "signs", "speaks"),
    *("splits", "clause_ends", "copulas", "of", "qualities"),
    *("certain", "claims", "causes", "reading", "partly", "known", "ribs", "idle"),
)
_NOT = re.compile(r"(?<![\w?]) ?\bnot\b")
# a blank of a phrase outside look-behinds, whose length must not vary
_BLANK = re.compile(r"(\(\?<[!=][^)]*\))| (?![?*+{])")


def compiled(phrases: Iterable[str]) -> re.Pattern[str]:
    """Whole words out of the phrases, blanks of any length; of no phrase, what matches nothing.

    "not" is also the end of "isn't".
    """
    whole = _NOT.sub(lambda m: f"(?:{m[0]}|n['’]t)", "|".join(phrases))
    joined = _BLANK.sub(lambda m: m[1] or " +", whole)
    return re.compile(rf"(?:(?<!\w)|(?=n['’]t))(?:{joined})(?!\w)" if joined else r"(?!)")


def _named(classes: Mapping[str, Iterable[str]]) -> re.Pattern[str]:
    return compiled(f"(?P<{name}>{'|'.join(phrases)})" for name, phrases in classes.items())


@cache
def concepts() -> Mapping[str, Concept]:
    """Every concept by name."""
    return {name: Concept(name, **fields) for name, fields in table("concepts").items()}


@cache
def lexicon(language: str) -> Lexicon:
    """The phrases of a language. Raises ValueError for one without a list."""
    if language not in LANGUAGES:
        raise ValueError(f"No phrase list for {language!r}; there are {', '.join(LANGUAGES)}.")
    data = table(language)
    cues, numbers = data["cues"], data["numbers"]
    units: Mapping[str, str] = numbers["units"]
    passive = cues["negated_after"] if language == "en" else []
    before = {
        "pseudo": cues["pseudo"],
        "hypothetical": cues["hypothetical"],
        "history": cues["history"],
        "uncertain": cues["uncertain_before"],
        # "effusion is not seen, ..." denies what stands before it, not what follows
        "passive": [phrase for phrase in passive if " " in phrase and phrase[0] != ":"] or ["(?!)"],
        "negated": cues["negated_before"],
        "brk": cues["breaks"],
    }
    after = {
        "pseudo": cues["pseudo"],
        "uncertain": cues["uncertain_after"],
        "negated": cues["negated_after"],
    }
    return Lexicon(
        language=language,
        concepts=_named(data["concepts"]),
        structures=tuple(
            Structure(
                each["concept"],
                *(compiled(each[k]) for k in ("names", "normal", "borderline", "abnormal")),
            )
            for each in data["structures"].values()
        ),
        before=_named(before),
        after=_named(after),
        row=_named(cues["row"]),
        **{name: compiled(cues[name]) for name in _CUES},
        sides=_named(data["sides"]),
        degrees=_named(data["degrees"]),
        units=re.compile(
            r"(?<![\w.,])(?P<value>\d+(?:[.,]\d+)?)"
            r"(?:\s?(?:-|a|to|x|by|por)\s?(?P<second>\d+(?:[.,]\d+)?))?"
            r"(?:\s?(?:x|by|por)\s?(?P<third>\d+(?:[.,]\d+)?))?[\s-]?(?:"
            + "|".join(f"(?P<{name}>{pattern})" for name, pattern in units.items())
            + r")(?!\w)"
        ),
        cardinals=_named({f"n{i}": [w] for i, w in enumerate(numbers["cardinal"], 1)}),
        ordinals=_named({f"n{i}": [w] for i, w in enumerate(numbers["ordinal"], 1)}),
    )
