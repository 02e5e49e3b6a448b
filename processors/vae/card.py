"""The card of a VAE bundle, checked where a node starts: what is read of it later can be meant.

In: the metadata of configs/metadata.json. Out: the same, or everything that is wrong, with its
place. Keys that only people read are not looked at. Never: a repair; a threshold outside its band;
a softmax of one answer, which is always sure; a temperature that turns answers around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from processors.analysis import BundleError

Unit = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1)]


class CardFaulty(BundleError):
    """The card lacks something, or says what cannot be meant."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Spoken(_Part):
    en: Word
    es: Word


class _Code(_Part):
    value: Word
    scheme: Word
    meaning: Word


_Unverified = Annotated[_Code | None, BeforeValidator(lambda code: code or None)]


class _Label(_Part):
    label: Word
    name: _Spoken
    code: _Unverified = None
    site: _Unverified = None
    urgent: bool = True


class _Witness(_Part):
    share: float
    gain: float
    least: float = 0.0


class _Answer(_Part):
    label: Word
    positive: list[str] = []
    offset: float
    threshold: Unit
    band: list[Unit] = Field(min_length=2, max_length=2)
    clear: float | None = None
    note: _Spoken | None = None
    witness: _Witness | None = None

    @model_validator(mode="after")
    def _band_holds_threshold(self) -> _Answer:
        if not self.band[0] <= self.threshold <= self.band[1]:
            raise ValueError(f"band of {self.label} does not hold its threshold")
        return self


class _Question(_Part):
    name: Word
    words: _Spoken | None = None
    low: int = Field(ge=0)
    high: int
    none: bool
    negative: list[str] = []
    temperature: float = Field(gt=0)
    answers: list[_Answer] = Field(min_length=1)
    region_note: _Spoken | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> _Question:
        if self.high < self.low:
            raise ValueError(f"{self.name} is asked of nobody: high is below low")
        if len(self.answers) + self.none < 2:
            raise ValueError(f"{self.name} has one answer and no other: it is always sure")
        return self


class _Widths(_Part):
    narrow: int = Field(ge=1)
    wide: int = Field(ge=1)


class _Gate(_Part):
    organ: str = ""
    file: str = ""
    populations: list[Annotated[list[int], Field(min_length=2, max_length=2)]] = []
    modalities: list[str] = []
    body_parts: list[str] = []
    views: list[str] = []
    volume: bool = False
    least: float | None = None
    farthest: float | None = None
    shortest_side: int = Field(1, ge=1)


class _Card(_Part):
    size: int = Field(ge=8, multiple_of=8)
    channels: int = Field(ge=1)
    widths: _Widths
    frame: int = Field(ge=0)
    field: str
    labels: list[_Label] = Field(min_length=1)
    questions: list[_Question] = Field(min_length=1)
    gate: _Gate = _Gate()
    notes: list[_Spoken] = []
    alarms: list[_Spoken] = []

    @model_validator(mode="after")
    def _sees_something(self) -> _Card:
        if 2 * self.frame >= self.size // 8:
            raise ValueError(f"a frame of {self.frame} cells leaves none of {self.size // 8}")
        return self

    @model_validator(mode="after")
    def _answers_have_names(self) -> _Card:
        known = [one.label for one in self.labels]
        if len(set(known)) < len(known):
            raise ValueError("two labels have the same name")
        for question in self.questions:
            asked = [answer.label for answer in question.answers]
            if len(set(asked)) < len(asked):
                raise ValueError(f"two answers of {question.name} have the same label")
            if nameless := sorted(set(asked) - set(known)):
                raise ValueError(f"no label is called {nameless[0]}, an answer of {question.name}")
        return self


class _Metadata(_Part):
    name: Word
    version: Word
    dictamen: _Card


def check(metadata: Any, folder: str) -> Mapping[str, Any]:
    """The metadata as they are. Raises CardFaulty with everything that is wrong with them."""
    try:
        _Metadata.model_validate(metadata)
    except ValidationError as error:
        found = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        said = "; ".join(f"{place}: {what}" for place, what in found)
        raise CardFaulty(
            f"configs/metadata.json of bundle {folder} cannot be used: {said}.",
            then="Restore the bundle, or train it anew.",
        ) from error
    checked: Mapping[str, Any] = metadata
    return checked
