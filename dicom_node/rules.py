"""The grammar of `when:` in node.yaml: which instances a processor wants.

Pure: a rule is parsed once and asked about headers (DICOM keyword -> value, as intake stored them)
plus CallingAETitle. Nothing is evaluated as code. All keys of a mapping must hold; a value is

    CR                          equal (text without regard to case, numbers as numbers)
    null                        absent or empty
    [CR, DX, null]              any of these
    {min: 18, max: 90}          a range, both ends included, either may be missing
    {like: "*THORAX*"}          a pattern with * and ?
    {not: CHEST}                the opposite
    not: {...}, any: [...], all: [...]   in place of a keyword

A multi-valued element holds if any of its values does. Every answer carries its reason in words,
English or Spanish, and never a value that tells who the patient is.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_dict

Headers = Mapping[str, Any]
CALLING = "CallingAETitle"
_EXTRA = frozenset({CALLING, "HasPixelData"})
_TELLS_NOBODY = frozenset({"PatientAge", "PatientSex", "PatientSize", "PatientWeight"})
_WORDS = {
    "en": {
        "is": "{keyword} is {value}, {verb}",
        "fits": "as wanted",
        "wanted": "wanted {wish}",
        "empty": "empty",
        "hidden": "not shown",
        "or": " or ",
        "and": " and ",
        "low": "at least {:g}",
        "high": "at most {:g}",
        "like": "like {}",
        "not": "anything but {}",
        "never": "not ({})",
    },
    "es": {
        "is": "{keyword} es {value}, {verb}",
        "fits": "como se pide",
        "wanted": "se pide {wish}",
        "empty": "vacío",
        "hidden": "no se muestra",
        "or": " o ",
        "and": " y ",
        "low": "{:g} o más",
        "high": "{:g} o menos",
        "like": "parecido a {}",
        "not": "otra cosa que {}",
        "never": "no ({})",
    },
}
Words = Mapping[str, str]


class RuleError(ValueError):
    """A rule that cannot be used; `path` names the place below `when`."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(f"{'.'.join(map(str, path)) or 'when'}: {message}")
        self.path, self.message = path, message


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a rule holds, and why in words ("Modality is CT, wanted CR or DX")."""

    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class Equal:
    value: str | float | None

    def holds(self, value: Any) -> bool:
        if self.value is None:
            return value is None
        if isinstance(self.value, float):
            return _number(value) == self.value
        return value is not None and str(value).strip().casefold() == self.value.casefold()

    def told(self, words: Words) -> str:
        if self.value is None:
            return words["empty"]
        return f"{self.value:g}" if isinstance(self.value, float) else self.value


@dataclass(frozen=True, slots=True)
class Within:
    low: float | None
    high: float | None

    def holds(self, value: Any) -> bool:
        number = _number(value)
        if number is None:
            return False
        return (self.low is None or number >= self.low) and (
            self.high is None or number <= self.high
        )

    def told(self, words: Words) -> str:
        low = "" if self.low is None else words["low"].format(self.low)
        high = "" if self.high is None else words["high"].format(self.high)
        return words["and"].join(part for part in (low, high) if part)


@dataclass(frozen=True, slots=True)
class Like:
    pattern: str

    def holds(self, value: Any) -> bool:
        return value is not None and fnmatch.fnmatchcase(
            str(value).strip().casefold(), self.pattern.casefold()
        )

    def told(self, words: Words) -> str:
        return words["like"].format(self.pattern)


@dataclass(frozen=True, slots=True)
class OneOf:
    options: tuple[Condition, ...]

    def holds(self, value: Any) -> bool:
        return any(option.holds(value) for option in self.options)

    def told(self, words: Words) -> str:
        return words["or"].join(option.told(words) for option in self.options)


@dataclass(frozen=True, slots=True)
class Not:
    inner: Condition

    def holds(self, value: Any) -> bool:
        return not self.inner.holds(value)

    def told(self, words: Words) -> str:
        return words["not"].format(self.inner.told(words))


Condition = Equal | Within | Like | OneOf | Not


@dataclass(frozen=True, slots=True)
class Test:
    """One keyword and what its value must be."""

    keyword: str
    condition: Condition

    def ask(self, headers: Headers, language: str = "en") -> Answer:
        words, value = _WORDS[language], headers.get(self.keyword)
        values = [_blank(v) for v in (value if isinstance(value, list | tuple) else [value])]
        tried = [self.condition.holds(v) for v in values or [None]]
        # of several values none may be what is not wanted, and any may be what is
        holds = all(tried) if isinstance(self.condition, Not) else any(tried)
        shown = ", ".join(str(v) for v in values if v is not None) or words["empty"]
        verb = words["fits"] if holds else words["wanted"].format(wish=self.condition.told(words))
        if shown != words["empty"] and _tells_who(self.keyword):
            shown = words["hidden"]
        return Answer(holds, words["is"].format(keyword=self.keyword, value=shown, verb=verb))


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Rule, ...]

    def ask(self, headers: Headers, language: str = "en") -> Answer:
        answers = [part.ask(headers, language) for part in self.parts]
        failed = [answer.why for answer in answers if not answer.holds]
        return Answer(not failed, "; ".join(failed or [answer.why for answer in answers]))


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Rule, ...]

    def ask(self, headers: Headers, language: str = "en") -> Answer:
        answers = [part.ask(headers, language) for part in self.parts]
        good = [answer.why for answer in answers if answer.holds]
        return Answer(bool(good), " / ".join(good[:1] or [answer.why for answer in answers]))


@dataclass(frozen=True, slots=True)
class Never:
    part: Rule

    def ask(self, headers: Headers, language: str = "en") -> Answer:
        answer = self.part.ask(headers, language)
        return Answer(
            not answer.holds,
            _WORDS[language]["never"].format(answer.why) if answer.holds else answer.why,
        )


Rule = Test | All | Some | Never


def parse(when: Mapping[str, Any]) -> Rule:
    """The rule of a `when:` mapping. Raises RuleError for its first fault (see `faults`)."""
    return _rule(when, ())


def faults(when: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Every fault of a `when:` mapping as (path, message); empty if it can be used."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for key, value in when.items():
        try:
            _part(key, value, (key,))
        except RuleError as error:
            found.append((error.path, error.message))
    if not when:
        found.append(((), "an empty rule would pick every instance; name at least one keyword"))
    return found


def _rule(when: Any, path: tuple[str | int, ...]) -> Rule:
    if not isinstance(when, Mapping) or not when:
        raise RuleError(path, "write a mapping of DICOM keywords")
    return All(tuple(_part(key, value, (*path, key)) for key, value in when.items()))


def _part(key: str, value: Any, path: tuple[str | int, ...]) -> Rule:
    if key in ("any", "all"):
        if not isinstance(value, list) or not value:
            raise RuleError(path, f"{key} takes a list of mappings")
        parts = tuple(_rule(item, (*path, index)) for index, item in enumerate(value))
        return Some(parts) if key == "any" else All(parts)
    if key == "not":
        return Never(_rule(value, path))
    if key not in keyword_dict and key not in _EXTRA:
        close = difflib.get_close_matches(str(key), [*keyword_dict, *_EXTRA], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RuleError(path, f"{key!r} is no DICOM keyword{hint}")
    return Test(key, _condition(value, path))


def _condition(value: Any, path: tuple[str | int, ...]) -> Condition:
    if isinstance(value, bool):
        return Equal(str(value))
    if value is None or isinstance(value, str):
        return Equal(value)
    if isinstance(value, int | float):
        return Equal(float(value))
    if isinstance(value, list):
        if not value:
            raise RuleError(path, "an empty list matches nothing")
        return OneOf(tuple(_condition(v, (*path, i)) for i, v in enumerate(value)))
    if isinstance(value, Mapping):
        return _mapping(value, path)
    raise RuleError(path, f"cannot compare with {value!r}; quote it if it is a text")


def _mapping(value: Mapping[str, Any], path: tuple[str | int, ...]) -> Condition:
    keys = set(value)
    if keys == {"not"}:
        return Not(_condition(value["not"], (*path, "not")))
    if keys == {"like"} and isinstance(value["like"], str):
        return Like(value["like"])
    if keys and keys <= {"min", "max"}:
        ends = [value.get("min"), value.get("max")]
        if all(e is None or (isinstance(e, int | float) and not isinstance(e, bool)) for e in ends):
            low, high = (None if e is None else float(e) for e in ends)
            if low is not None and high is not None and low > high:
                raise RuleError(path, f"min {low:g} lies above max {high:g}")
            return Within(low, high)
        raise RuleError(path, "min and max are numbers")
    raise RuleError(path, "write {min:, max:}, {like: pattern} or {not: value}")


def _tells_who(keyword: str) -> bool:
    """Group 0010 is the patient (PS3.6); an accession number leads to one."""
    if keyword in _TELLS_NOBODY:
        return False
    return keyword_dict.get(keyword, 0) >> 16 == 0x0010 or keyword == "AccessionNumber"


def _blank(value: Any) -> Any:
    return None if value is None or (isinstance(value, str) and not value.strip()) else value


def _number(value: Any) -> float | None:
    """The number in a value; an Age String (PS3.5 6.2: 034Y, 018M) counts in years."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    per_year = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}.get(text[-1:].upper())
    try:
        return float(text[:-1]) / per_year if per_year else float(text)
    except ValueError:
        return None
