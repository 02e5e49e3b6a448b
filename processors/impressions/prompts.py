"""What a language model is asked, how long question and answer may be, and how that is kept.

In: a template, a Request. Out: the question's text, cut where the model reads no further; the
settings that a model folder carries (`dictamen.json`). Pure but for that one file.
Never: a model; a part of the template cut away, only words of the findings are.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from processors.analysis import ProcessorError
from processors.impressions.drafting import Request

SETTINGS = "dictamen.json"
TEMPLATES = {
    "en": "Findings: {findings}\nSummarise these findings as the impression of the report.",
    "es": "Hallazgos: {findings}\nResuma estos hallazgos como la impresión del informe.",
}
_KNOWN = frozenset({"findings", "indication", "language"})


class LanguageModelError(ProcessorError):
    """A language model cannot be used, or not so."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked. template: with {findings}, perhaps {indication} and {language}; ""
    takes the one of the request's language. beams: of the search, 1 to 16. outputs: impressions a
    request, at most as many as beams. longest_input, longest_output: in tokens of the model.

    Raises LanguageModelError for what does not go together.
    """

    template: str = ""
    beams: int = 4
    outputs: int = 1
    longest_input: int = 512
    longest_output: int = 128

    def __post_init__(self) -> None:
        for told in (self.template,) if self.template else ():
            _check_template(told)
        if not 1 <= self.outputs <= self.beams <= 16:
            raise LanguageModelError(
                f"{self.outputs} outputs of {self.beams} beams cannot be had.",
                then="1 <= outputs <= beams <= 16.",
            )
        if not (8 <= self.longest_input <= 32768 and 1 <= self.longest_output <= 2048):
            raise LanguageModelError(
                f"The lengths {self.longest_input} and {self.longest_output} are out of range.",
                then="Input: 8 to 32768 tokens, output: 1 to 2048.",
            )


def _check_template(template: str) -> None:
    try:
        named = [(name, spec) for _, name, spec, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise LanguageModelError(f"The template cannot be read: {error}.") from error
    names = {name for name, _ in named if name is not None}
    if "findings" not in names or names - _KNOWN or any(spec for _, spec in named):
        raise LanguageModelError(
            f"The template names {', '.join(sorted(names)) or 'nothing'}.",
            then=f"It needs {{findings}} and may name {', '.join(sorted(_KNOWN))}, no more.",
        )


@dataclass(frozen=True, slots=True)
class Prompt:
    """The question, and how many tokens of the findings were cut to make it fit."""

    text: str
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """How a model counts. length: of a whole question, with all that the model adds to it.
    encode, decode: of a piece of text, without special tokens."""

    length: Callable[[str], int]
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]


def prompt(request: Request, asking: Asking, tokens: Tokens) -> Prompt:
    """The question about a request within `asking.longest_input` tokens.

    Raises LanguageModelError when the template alone is longer.
    """
    whole = _filled(request, asking, request.findings)
    over = tokens.length(whole) - asking.longest_input
    if over <= 0:
        return Prompt(whole)
    said = tokens.encode(request.findings)
    # a text cut at a token may need one more than before
    for kept in range(max(0, len(said) - over), -1, -1):
        text = _filled(request, asking, tokens.decode(said[:kept]))
        if tokens.length(text) <= asking.longest_input:
            return Prompt(text, len(said) - kept)
    raise LanguageModelError(
        f"The question without findings is longer than {asking.longest_input} tokens.",
        then="Shorten the template or the indication, or raise the length of the input.",
    )


def _filled(request: Request, asking: Asking, findings: str) -> str:
    template = asking.template or TEMPLATES[request.language]
    return template.format(
        findings=" ".join(findings.split()),
        indication=" ".join(request.indication.split()),
        language=request.language,
    )


def read_asking(folder: Path, changes: Mapping[str, Any] | None = None) -> Asking:
    """The settings in a model's folder, the usual ones where it carries none; `changes` win.

    Raises LanguageModelError, naming the file, for what cannot be read.
    """
    file, told = folder / SETTINGS, {}
    if file.is_file():
        try:
            told = dict(json.loads(file.read_text(encoding="utf-8"))["asking"])
        except (ValueError, KeyError, TypeError) as error:
            raise LanguageModelError(f"{file} cannot be read ({error}).") from error
    known = {each.name for each in fields(Asking)}
    if strange := sorted(set(told) - known):
        raise LanguageModelError(f"{file} holds {', '.join(strange)}, which nobody knows.")
    wanted = {name: value for name, value in (changes or {}).items() if value is not None}
    try:
        return Asking(**{**told, **wanted})
    except TypeError as error:
        raise LanguageModelError(f"{file} holds what is no setting ({error}).") from error


def record(asking: Asking) -> dict[str, Any]:
    """The settings as `dictamen.json` carries them."""
    return asdict(asking)
