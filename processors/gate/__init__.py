"""Says what a chest model may not judge, and why, in a sentence for the radiologist.

In: a study, the bundle's card and folder, the language. Out: a refusal or None, notes for every
report, and the images that may be judged: `check`, `accepted_instances`, both from `judge`.
Headers are asked first, instance by instance; only films that pass have their pixels read. A
study is refused when no image passes; the reason is that of the image that came nearest.
Silence in a header is no ground for refusal, except that an unknown age is said in a note.
Never: a finding, a correction of the image, an exception for an unsuitable study (a BundleError
only when the gate's own file is unusable).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from processors.analysis import Refusal, Study, UnreadablePixels
from processors.gate import _words
from processors.gate._age import age_in_years
from processors.gate._card import Terms, terms
from processors.gate._header import RULES, refused_kind, says_frontal, says_mirrored
from processors.gate._picture import Sight, Weights, is_blank, load_weights, passes, see

__all__ = ["Verdict", "accepted_instances", "age_in_years", "check", "judge"]

SHIPPED = Path(__file__).resolve().parent.parent / "bundles" / "chest"
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


_latest: list[tuple[Study, Mapping[str, Any], Path, str, Verdict]] = []


def check(
    study: Study, card: Mapping[str, Any], bundle_folder: Path, language: str
) -> tuple[Refusal | None, tuple[str, ...]]:
    """Why the study must not be judged, or None; and the notes for its reports."""
    verdict = judge(study, card, bundle_folder, language)
    return verdict.refusal, verdict.notes


def accepted_instances(
    study: Study,
    card: Mapping[str, Any],
    bundle_folder: Path | None = None,
    language: str = "en",
) -> tuple[str, ...]:
    """SOP Instance UIDs of the images that may be judged, in the study's order.

    Without a folder: the one of the latest verdict on this study, else the shipped chest bundle.
    """
    if bundle_folder is None:
        known = [entry for entry in _latest if entry[0] is study and entry[1] is card]
        if known:
            return known[0][4].accepted
    return judge(study, card, bundle_folder or SHIPPED, language).accepted


def judge(study: Study, card: Mapping[str, Any], bundle_folder: Path, language: str) -> Verdict:
    """Everything the gate has to say of a study; the latest verdict is remembered."""
    for entry in _latest:
        if entry[0] is study and entry[1] is card and entry[2:4] == (bundle_folder, language):
            return entry[4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break their VR count as not stated
        verdict = _judge(study, terms(card), bundle_folder, language)
    _latest[:] = [(study, card, bundle_folder, language, verdict)]
    return verdict


def _judge(study: Study, allowed: Terms, folder: Path, language: str) -> Verdict:
    fates = {
        instance.uid: _fate(study, instance.uid, allowed, folder, language)
        for instance in study.instances
    }
    accepted = tuple(uid for uid, fate in fates.items() if fate is None)
    refused = [fate for fate in fates.values() if fate is not None]
    if not accepted:
        nearest = max(refused, key=lambda fate: fate.stage, default=None)
        kind = nearest.kind if nearest else "not-an-image"
        why = nearest.why if nearest else _words.because(language, kind)
        return Verdict(Refusal(kind, _words.reason(language, why)), (), ())
    notes = [*_age_notes(study, accepted, allowed, language), *_left_out(refused, language)]
    if any(says_mirrored(study.header(uid)) for uid in accepted):
        notes.append(_words.note(language, "mirrored"))
    return Verdict(None, tuple(notes), accepted)


def _fate(study: Study, uid: str, allowed: Terms, folder: Path, language: str) -> _Fate | None:
    header = study.header(uid)
    by_header = refused_kind(header, allowed)
    if by_header is not None:
        kind, stage = by_header
        return _Fate(kind, stage, _clause(kind, allowed, language))
    years = age_in_years(header)
    if years is not None and not any(low <= years <= high for low, high in allowed.populations):
        return _Fate("age", len(RULES), _clause("age", allowed, language))
    return _by_pixels(study, uid, allowed, folder, language)


def _by_pixels(study: Study, uid: str, allowed: Terms, folder: Path, language: str) -> _Fate | None:
    start = len(RULES) + 1
    try:
        picture = study.pixels(uid, 1)
    except UnreadablePixels as error:
        name = str(getattr(error, "cause", "damaged"))
        kind = "no-pixels" if name == "missing" else "unreadable"
        why = _words.because(language, kind, cause=_words.cause(language, name))
        return _Fate(kind, start, why)
    if is_blank(picture):
        return _Fate("blank", start + 1, _words.because(language, "blank"))
    if not allowed.file:
        return None
    weights = _weights(allowed, folder)
    sight = see(picture, weights)
    if passes(sight, weights):
        return None
    kind = _kind_of_sight(sight, study.header(uid))
    return _Fate(kind, start + 2, _words.because(language, kind))


def _weights(allowed: Terms, folder: Path) -> Weights:
    weights = load_weights(folder / allowed.file)
    if allowed.least_frontal is not None:
        weights = replace(weights, least_frontal=allowed.least_frontal)
    if allowed.farthest is not None:
        weights = replace(weights, farthest=allowed.farthest)
    return weights


def _kind_of_sight(sight: Sight, header: Dataset) -> str:
    name = max(sight.probabilities, key=sight.probabilities.__getitem__)
    if sight.probabilities[name] < SURE or name not in VIEWS:
        return "out-of-distribution"
    if name == "lateral" and says_frontal(header):
        return "contradiction"
    return VIEWS[name]


def _clause(kind: str, allowed: Terms, language: str) -> str:
    return _words.because(
        language,
        kind,
        modalities=_words.listed(language, allowed.modalities),
        ages=_words.ages(language, allowed.populations),
    )


def _age_notes(study: Study, accepted: tuple[str, ...], allowed: Terms, language: str) -> list[str]:
    if all(age_in_years(study.header(uid)) is not None for uid in accepted):
        return []
    spoken = _words.ages(language, allowed.populations)
    return [_words.note(language, "age-unknown", ages=spoken)]


def _left_out(refused: list[_Fate], language: str) -> list[str]:
    """A note for each kind of image that was left out; documents that are no image go unsaid."""
    notes = []
    for why in dict.fromkeys(fate.why for fate in refused if fate.kind != "not-an-image"):
        count = sum(fate.why == why for fate in refused)
        name = "one-left-out" if count == 1 else "left-out"
        notes.append(_words.note(language, name, why=why, count=count))
    return notes
