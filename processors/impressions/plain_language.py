"""A summary in plain words for the patient, from the same grounded findings as the draft.

In: coded findings with their names, or the mentions of a findings text. Out: a text in English or
Spanish whose first line is its label; "" where none can be made that reads back as its findings.
By rule, words in `phrases/plain.toml`: hedges, denials and sides kept, short words, no number, no
degree, no date. Never: a text without its label; a finding, a cause or an advice that the findings
do not hold; how soon somebody must act, which is for a doctor to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from processors.analysis import Finding
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.coded import Names, gravest_first, name_of
from processors.impressions.grounding import STATES
from processors.impressions.labeller import Mention, read
from processors.impressions.lexicon import lexicon, table
from processors.impressions.text import fold
from processors.impressions.unread import unread

Voice = Literal["model", "report"]
_SHORTEST = 4  # letters of a word that says something
_RANK = (Assertion.ABSENT, Assertion.UNCERTAIN, Assertion.PRESENT)


@dataclass(frozen=True, slots=True)
class _Fact:
    """One thing to be told: its name, what that is ("" if unknown), its state, its side."""

    name: str
    plain: str
    state: Assertion
    side: str = ""

    @property
    def told(self) -> str:
        return f"{self.name} ({self.plain}){self.side}" if self.plain else self.name + self.side


def label(language: str) -> str:
    """What stands above every summary. Raises KeyError for a language without words."""
    return str(_words()[language]["label"])


def of_findings(findings: Sequence[Finding], names: Names, language: str) -> str:
    """The summary of a model's findings. names: label -> language -> name, of what is to be told:
    a label without a name is no finding (an organ that a model draws)."""
    facts, mentions = [], []
    for each, same in gravest_first([f for f in findings if f.label in names]).items():
        state, english = STATES[same[0].state], name_of(each, names, "en")
        found = read(english, "en")
        mentions += [replace(mention, state=state) for mention in found]
        facts.append(_fact(name_of(each, names, language), english, found, state, language))
    return _checked(facts, mentions, "model", language)


def of_text(findings: str, language: str) -> str:
    """The summary of a findings section; it says so where the section holds what nobody here
    understands."""
    more = bool(unread(findings, language))
    return of_mentions(read(findings, language), language, more=more)


def of_mentions(mentions: Iterable[Mention], language: str, *, more: bool = False) -> str:
    """The summary of a report's findings, as `labeller.read` finds them. more: it says more."""
    mentions = tuple(mentions)
    words: Mapping[str, list[str]] = _words()[language]["words"]
    told = [m for m in mentions if m.concept in words]
    facts = dict.fromkeys(
        _Fact(words[m.concept][0], words[m.concept][1], m.state, _side(m, language)) for m in told
    )
    held = {fact.name for fact in facts if fact.state in ASSERTED}
    # a denial of what is asserted elsewhere ("no new nodule") says nothing that a patient needs
    kept = [f for f in facts if f.state in ASSERTED or f.name not in held]
    others = more or any(m.concept not in words and m.state in ASSERTED for m in mentions)
    return _checked(kept, told, "report", language, others=others)


def _checked(
    facts: Sequence[_Fact],
    mentions: Sequence[Mention],
    voice: Voice,
    language: str,
    *,
    others: bool = False,
) -> str:
    """The text, if the labeller reads from it what the findings say and no more, else nothing.

    What does not read back with its explanations is said in names alone.
    """
    denied_bare = [replace(f, plain="") if f.state not in ASSERTED else f for f in facts]
    bare = [replace(fact, plain="") for fact in facts]
    for told in (facts, denied_bare, bare):
        body = _body(told, voice, language, others)
        if _same(read(body, language), mentions):
            return f"{label(language)}\n{body}"
    return ""


def _same(said: Sequence[Mention], known: Sequence[Mention]) -> bool:
    """Whether a summary asserts, doubts and denies what is known, with no other side or degree."""
    sides, degrees = (
        [frozenset[str]().union(*(getattr(m, what) for m in each)) for each in (said, known)]
        for what in ("sides", "degrees")
    )
    return _states(said) == _states(known) and sides[0] <= sides[1] and degrees[0] <= degrees[1]


def _states(mentions: Iterable[Mention]) -> Mapping[str, Assertion]:
    states: dict[str, Assertion] = {}
    for mention in mentions:
        what = mention.finding or mention.concept
        known = states.get(what, Assertion.ABSENT)
        states[what] = max(known, mention.state, key=_RANK.index)
    return states


def _body(facts: Sequence[_Fact], voice: Voice, language: str, others: bool) -> str:
    spoken = _words()[language]
    words = spoken[voice]
    lines = [words["begin"]]
    for state in (Assertion.PRESENT, Assertion.UNCERTAIN):
        lines += [words[state].format(what=f.told) for f in facts if f.state is state]
    denied = [fact.told for fact in facts if fact.state is Assertion.ABSENT]
    if denied:
        last = f" {spoken['or']} {denied[-1]}" if denied[1:] else denied[-1]
        lines.append(words["absent"].format(what=", ".join(denied[:-1]) + last))
    if not facts:
        lines.append(words["nothing"])
    elif others:
        lines.append(words["other"])
    return " ".join([*lines, words["end"]]).strip()


def _fact(
    name: str, english: str, found: Sequence[Mention], state: Assertion, language: str
) -> _Fact:
    """A finding under its own name; explained where that is one concept's and says nothing besides.

    A concept's row has its article, which a label has not.
    """
    name = _lower(name)
    row = _words()[language]["words"].get(found[0].concept) if len(found) == 1 else None
    if row is None or not _says_only(english, found[0]):
        return _Fact(name, "", state)
    return _Fact(row[0] if row[0].endswith(f" {name}") else name, row[1], state)


def _says_only(english: str, mention: Mention) -> bool:
    """Whether the words beside a mention say nothing by themselves ("pulmonary", "of the lung")."""
    folded, idle = fold(english), lexicon("en").idle
    rest = f"{folded[: mention.start]} {folded[mention.end :]}".split()
    return all(len(word) < _SHORTEST or idle.fullmatch(word) for word in rest)


def _lower(name: str) -> str:
    """A name within a sentence; an abbreviation stays as it is."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def _side(mention: Mention, language: str) -> str:
    if not mention.sides or mention.state not in ASSERTED:
        return ""
    words = _words()[language]["side"]
    return str(words["both" if len(mention.sides) > 1 else min(mention.sides)])


@cache
def _words() -> dict[str, Any]:
    return table("plain")
