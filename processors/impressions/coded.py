"""The draft impression of an image model's findings: by rule, the same findings, the same words.

In: coded findings, the labels' names, notes. Out: an Impression in English or Spanish; each
sentence names the labels it rests on and its category of urgency, the most urgent first. The words
stand in `phrases/coded.toml`. Never: more than the findings hold; "no disease": an absent finding
is only "the model finds no sign of it".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

from processors.analysis import Finding, Impression, Sentence, State
from processors.impressions.criticality import Category, ranked, word
from processors.impressions.grounding import STATES
from processors.impressions.labeller import read
from processors.impressions.lexicon import LANGUAGES, table

Names = Mapping[str, Mapping[str, str]]
ORDER = (State.PRESENT, State.UNDETERMINED, State.ABSENT)


def impression(
    findings: Sequence[Finding],
    names: Names,
    notes: Sequence[str],
    language: str,
    calm: Collection[str] = (),
    *,
    calibrated: bool = True,
) -> Impression:
    """Most urgent sentence first, then what the model cannot say, then the notes.

    names: label -> language -> name. calm: labels whose presence is no reason to hurry: they have
    no category. calibrated: False calls the numbers scores, which they are until somebody
    calibrates them.
    """
    language = language if language in LANGUAGES else "en"
    groups = gravest_first(findings)
    urgent = {
        label: 0 if label in calm else category(same[0].state, name_of(label, names, "en"))
        for label, same in groups.items()
    }
    labels = sorted(
        groups,
        key=lambda label: (
            urgent[label] or Category.DAYS + 1,
            ORDER.index(groups[label][0].state),
            label in calm,
            -groups[label][0].probability,
            label,
        ),
    )
    words = _words()[language]
    sentences = [
        Sentence(
            _text(groups[label], name_of(label, names, language), words, calibrated),
            (label,),
            category=urgent[label],
        )
        for label in labels
    ]
    if labels:
        listed = ", ".join(name_of(label, names, language) for label in labels)
        sentences.append(Sentence(words["limits"].format(names=listed), tuple(labels)))
    sentences += [Sentence(note, tuple(labels)) for note in notes]
    return Impression(language, tuple(sentences), word(urgent.values()))


def gravest_first(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by label; of each label the gravest state and then the most probable first."""
    order = sorted(findings, key=lambda f: (ORDER.index(f.state), -f.probability))
    return {
        label: [f for f in order if f.label == label] for label in sorted({f.label for f in order})
    }


@cache
def category(state: State, name: str) -> int:
    """How soon somebody must know of a finding of this English name; 0: no message.

    A name that no phrase list knows is followed up (3): nobody has said that it may wait for ever.
    """
    if state is State.ABSENT:
        return 0
    read_back = [replace(mention, state=STATES[state]) for mention in read(name, "en")]
    if not read_back:
        return Category.DAYS
    found = ranked(read_back, "en")
    return found[0].category if found else 0


@cache
def _words() -> Mapping[str, Mapping[str, str]]:
    return table("coded")


def name_of(label: str, names: Names, language: str) -> str:
    """What people call a label in a language; the label itself where nobody has said."""
    return names.get(label, {}).get(language) or label.replace("_", " ")


def _text(same: Sequence[Finding], name: str, words: Mapping[str, str], calibrated: bool) -> str:
    top = same[0]
    alike = sum(finding.state is top.state for finding in same)
    several = top.state is not State.ABSENT and alike > 1
    return words[top.state].format(
        name=name,
        number=words["probability" if calibrated else "score"],
        p=min(99, max(1, round(100 * top.probability))),
        where=words["images"].format(n=alike) if several else "",
    )
