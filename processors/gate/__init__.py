"""Says what a model may not judge, and why, in a sentence for the radiologist.

In: a study, the bundle's card and folder, the language. Out: a refusal or None, notes for every
report, and the images that may be judged: `judge`. What is asked depends on the card's organ
(`_organs`). Headers are asked first, instance by instance; only images that pass have their pixels
read. A study is refused when no image passes; the reason is that of the image that came nearest.
Silence in a header is no ground for refusal, except that an unknown age is said in a note.
Never: a finding, a correction of the image, an exception for an unsuitable study (a BundleError
only when the gate's own file is unusable).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

from pydicom.dataset import Dataset

from processors.analysis import BundleError, Pixels, Refusal, Study, UnreadablePixels
from processors.gate import _mr, _views, _words
from processors.gate._age import OLDEST, age_in_years
from processors.gate._card import Terms, terms
from processors.gate._header import is_colour, refused_kind, rules
from processors.gate._picture import (
    Sight,
    Weights,
    image_of,
    is_blank,
    load_weights,
    passes,
    see,
    with_terms,
)

__all__ = ["Verdict", "age_in_years", "check", "judge", "picture_refusal", "warm"]

COLOURED = 0.01  # share of coloured pixels above which a picture is no grey one with marks on it
SURE = 0.7  # probability from which a view is named; below, the picture is merely strange
VIEWS = {
    "lateral": "view",
    "inverted": "inverted",
    "rotated_90": "rotated",
    "rotated_180": "rotated",
    "rotated_270": "rotated",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """refusal: None when at least one image may be judged; accepted: those images' UIDs."""

    refusal: Refusal | None
    notes: tuple[str, ...]
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of one instance: its kind of refusal, how near it came, the clause."""

    kind: str
    stage: int
    why: str


# of a study that is still looked at: kept by itself, it would keep its pixels too
_latest: list[tuple[ref[Study], Mapping[str, Any], Path, str, Verdict]] = []


def check(
    study: Study, card: Mapping[str, Any], bundle_folder: Path, language: str
) -> tuple[Refusal | None, tuple[str, ...]]:
    """Why the study must not be judged, or None; and the notes for its reports."""
    verdict = judge(study, card, bundle_folder, language)
    return verdict.refusal, verdict.notes


def judge(study: Study, card: Mapping[str, Any], bundle_folder: Path, language: str) -> Verdict:
    """Everything the gate has to say of a study; the latest verdict is remembered."""
    for entry in _latest:
        if entry[0]() is study and entry[1] is card and entry[2:4] == (bundle_folder, language):
            return entry[4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break their VR count as not stated
        verdict = _judge(study, terms(card), bundle_folder, language)
    _latest[:] = [(ref(study), card, bundle_folder, language, verdict)]
    return verdict


def warm(card: Mapping[str, Any], bundle_folder: Path) -> None:
    """Read the gate file now, and not with the first study. Raises BundleError."""
    allowed = terms(card)
    if allowed.file:
        _weights(allowed, bundle_folder)


def picture_refusal(
    picture: Pixels, card: Mapping[str, Any], bundle_folder: Path, language: str
) -> str | None:
    """Why a picture that has no header must not be judged, or None; picture as Study.pixels."""
    allowed = terms(card)
    kind = _strange(picture, Dataset(), allowed, bundle_folder)
    return _words.reason(language, _clause(kind, allowed, language)) if kind else None


def _judge(study: Study, allowed: Terms, folder: Path, language: str) -> Verdict:
    fates = {
        instance.uid: _fate(study, instance.uid, allowed, folder, language)
        for instance in study.instances
    }
    if allowed.volume and None in fates.values():
        fates = {u: None if fate and fate.kind == "blank" else fate for u, fate in fates.items()}
    accepted = tuple(uid for uid, fate in fates.items() if fate is None)
    refused = [fate for fate in fates.values() if fate is not None]
    if not accepted:
        nearest = max(refused, key=lambda fate: fate.stage, default=None)
        kind = nearest.kind if nearest else "not-an-image"
        why = nearest.why if nearest else _clause(kind, allowed, language)
        return Verdict(Refusal(kind, _words.reason(language, why)), (), ())
    headers = [study.header(uid) for uid in accepted]
    notes = (
        *_age_notes(headers, allowed, language),
        *_left_out(refused, language),
        *_header_notes(headers, allowed, language),
    )
    return Verdict(None, notes, accepted)


def _fate(study: Study, uid: str, allowed: Terms, folder: Path, language: str) -> _Fate | None:
    header = study.header(uid)
    by_header = refused_kind(header, allowed)
    if by_header is not None:
        kind, stage = by_header
        return _Fate(kind, stage, _clause(kind, allowed, language))
    years = age_in_years(header)
    if years is not None and not any(low <= years <= high for low, high in allowed.populations):
        return _Fate("age", len(rules(allowed)), _clause("age", allowed, language))
    return _by_pixels(study, uid, allowed, folder, language)


def _by_pixels(study: Study, uid: str, allowed: Terms, folder: Path, language: str) -> _Fate | None:
    start = len(rules(allowed)) + 1
    header = study.header(uid)
    try:
        coloured = is_colour(header) and study.colour(uid, 1) > COLOURED
        picture, _ = study.film(uid, 1)
    except UnreadablePixels as error:
        name = str(getattr(error, "cause", "damaged"))
        kind = "no-pixels" if name == "missing" else "unreadable"
        cause = _words.cause(language, name)
        return _Fate(kind, start, _clause(kind, allowed, language, cause=cause))
    if coloured:
        return _Fate("colour", start + 1, _clause("colour", allowed, language))
    kind = _strange(picture, header, allowed, folder)
    return _Fate(kind, start + 2, _clause(kind, allowed, language)) if kind else None


def _strange(picture: Pixels, header: Dataset, allowed: Terms, folder: Path) -> str:
    """The kind of refusal of a picture, empty when it may be judged."""
    image = image_of(picture)
    if is_blank(image):
        return "blank"
    if not allowed.file:
        return ""
    weights = _weights(allowed, folder)
    sight = see(image, weights)
    return "" if passes(sight, weights) else _kind_of_sight(sight, header)


def _weights(allowed: Terms, folder: Path) -> Weights:
    weights = load_weights(folder / allowed.file)
    if weights.classes[0] != allowed.organ.accepted:
        raise BundleError(
            f"The gate file {allowed.file} accepts {weights.classes[0]} and the card's organ is "
            f"{allowed.organ.name}."
        )
    return with_terms(weights, allowed.least, allowed.farthest)


def _kind_of_sight(sight: Sight, header: Dataset) -> str:
    name = max(sight.probabilities, key=sight.probabilities.__getitem__)
    if sight.probabilities[name] < SURE or name not in VIEWS:
        return "out-of-distribution"
    if name == "lateral" and _views.says_frontal(header):
        return "contradiction"
    return VIEWS[name]


def _clause(kind: str, allowed: Terms, language: str, **fields: str) -> str:
    return _words.because(
        language,
        kind,
        allowed.organ.name,
        modalities=_words.listed(language, allowed.modalities),
        ages=_words.ages(language, allowed.populations),
        views=_words.listed(language, allowed.views),
        **fields,
    )


def _age_notes(headers: Sequence[Dataset], allowed: Terms, language: str) -> list[str]:
    """An unknown age is said, unless every age is allowed."""
    every_age = any(low <= 0 and high >= OLDEST for low, high in allowed.populations)
    if every_age or all(age_in_years(header) is not None for header in headers):
        return []
    return [_words.note(language, "age-unknown", ages=_words.ages(language, allowed.populations))]


def _header_notes(headers: Sequence[Dataset], allowed: Terms, language: str) -> list[str]:
    """What the headers of the accepted images say that the reader must know."""
    notes = []
    says_mirrored = {"chest": _views.says_mirrored, "brain": _mr.says_mirrored}
    if any(map(says_mirrored.get(allowed.organ.name, lambda _: False), headers)):
        notes.append(_words.note(language, "mirrored"))
    plain = sum(map(_mr.says_plain, headers)) if allowed.organ.name == "brain" else 0
    if plain:
        notes.append(_words.note(language, "no-contrast", count=plain))
    return notes


def _left_out(refused: list[_Fate], language: str) -> list[str]:
    """One note on what was left out, however much; documents that are no image go unsaid."""
    counts = Counter(fate.why for fate in refused if fate.kind != "not-an-image")
    if not counts:
        return []
    if len(counts) > 1:
        why = _words.several(language, counts)
        return [_words.note(language, "left-out-for-reasons", why=why, count=counts.total())]
    (why, count), *_ = counts.items()
    return [
        _words.note(language, "one-left-out" if count == 1 else "left-out", why=why, count=count)
    ]
