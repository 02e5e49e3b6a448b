"""A model behind HTTP: de-identified pixels out, findings in, both held to a contract.

Out: the rendered frame as PNG (16 bit grey) or npy (float32), and in headers a random request
number, modality, view and age band. Never out: a name, number, date or UID; an image that says
that text is burned in, or that is a capture or of a modality that usually burns it in and does not
say that it has not.
In: JSON of at most the agreed size, held to `Reply`: every label of the card once, values 0..1,
outlines inside the image. How bytes travel is not known here: a function `Post` is handed in.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydicom.dataset import Dataset

from processors.adapters import card, words
from processors.adapters.judging import Answer, SiteProcessor, finding_of
from processors.analysis import Pixels, ProcessorError, Refusal, Region, Study
from processors.gate import age_in_years
from processors.runtime import UnsafeBundle, read_verified

BANDS = ((0, 1), (2, 5), (6, 12), (13, 17), (18, 39), (40, 64), (65, 120))  # years
VIEWS = frozenset(("PA", "AP", "LL", "RL", "LAO", "RAO", "LPO", "RPO", "CC", "MLO", "ML", "LM"))
SILENTLY_CLEAN = frozenset(("CR", "DX", "MG", "CT", "MR", "PT"))  # text is burned in seldom
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame siblings below it
QUOTED = 200  # characters of a peer's own words
Format = Literal["png", "npy"]
CONTENT = {"png": "image/png", "npy": "application/x-npy"}


class EndpointError(ProcessorError):
    """The endpoint gave no answer that may be used."""


class EndpointSilent(EndpointError):
    """It did not answer in time, or said that it cannot just now; trying again may help."""


class EndpointRefuses(EndpointError):
    """It refused, or wanted us elsewhere; trying again does not help."""


class TooLarge(EndpointError):
    """A request or an answer is larger than agreed."""


class AnswerInvalid(EndpointError):
    """What came back is not what the contract says."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request. number: random, of this request alone."""

    number: str
    body: bytes
    headers: Mapping[str, str]


Post = Callable[[Question], bytes]
"""Sends a question and returns the answer's body. Raises EndpointError."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Outline = Annotated[list[Point], Field(min_length=3, max_length=2000)]
Named = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


class ReplyModel(_Part):
    """What the endpoint says it is."""

    name: Named
    version: Named


class ReplyFinding(_Part):
    """One label. regions: closed or open polygons of (column, row), pixels of the image sent."""

    label: str = Field(max_length=64)
    probability: float = Field(ge=0, le=1)
    regions: list[Outline] = Field(default_factory=list, max_length=20)


class Reply(_Part):
    """The answer to one question; `request` repeats its number."""

    request: str
    model: ReplyModel
    findings: list[ReplyFinding] = Field(max_length=200)


def open_http_endpoint(
    name: str, bundle: str, language: str, post: Post, pixels: Format
) -> SiteProcessor:
    """A ready processor of a card's folder and a way to its endpoint. Raises BundleError."""
    folder, files = read_verified(bundle)
    if any(file.startswith("models/") for file in files):
        raise UnsafeBundle(f"Bundle {folder.name} has weights, and its model is an endpoint.")
    read = card.read(files, folder.name, "http_endpoint")
    notes = [] if read.block.calibrated else ["score"]
    return SiteProcessor(
        name, read, EndpointModel(read, post, pixels, language), "", language, notes
    )


def question(picture: Pixels, header: Dataset, pixels: Format) -> Question:
    """What leaves this house for one image."""
    number = secrets.token_hex(16)
    return Question(
        number,
        _encoded(picture, pixels),
        {
            "Content-Type": CONTENT[pixels],
            "Accept": "application/json",
            "X-Request": number,
            "X-Modality": _one_of(header, "Modality", SILENTLY_CLEAN | {"US"}),
            "X-View": _one_of(header, "ViewPosition", VIEWS),
            "X-Age-Band": age_band(age_in_years(header)),
        },
    )


def age_band(years: int | None) -> str:
    """The band of an age: 18-39; unknown where the age is."""
    for low, high in BANDS:
        if years is not None and low <= years <= high:
            return f"{low}-{high}"
    return "unknown"


def may_leave(header: Dataset) -> bool:
    """Whether the image carries no text that could name somebody, as far as its header says."""
    burned = str(header.get("BurnedInAnnotation") or "").strip().upper()
    if burned:
        return burned == "NO"
    if _is_captured(header):
        return False
    return str(header.get("Modality") or "").strip().upper() in SILENTLY_CLEAN


def shown(text: str) -> str:
    """What a peer said, as it may stand in a reason: short, its control characters written out."""
    short = text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def _once_each(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Of two values of one key a parser takes one and says nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _invalid(what: str) -> AnswerInvalid:
    return AnswerInvalid(
        f"The endpoint's answer is not what the contract says: {what}.",
        then="Its form stands in the guide for model authors.",
    )


def _is_captured(header: Dataset) -> bool:
    """Whether it came off a screen, a scanner of films or another program: a film has its patient's
    name on it, a scanner's own protocol is a CT image by its class, and both have it in pixels."""
    return (
        str(header.get("SOPClassUID") or "").startswith(SECONDARY_CAPTURE)
        or "SECONDARY" in str(header.get("ImageType") or "").upper()
        or bool(header.get("ConversionType"))
    )


def _one_of(header: Dataset, keyword: str, known: frozenset[str]) -> str:
    """A value of a closed list; anything else could be free text and stays here."""
    value = str(header.get(keyword) or "").strip().upper()
    return value if value in known else "unknown"


def _encoded(picture: Pixels, pixels: Format) -> bytes:
    buffer = io.BytesIO()
    if pixels == "npy":
        np.save(buffer, np.asarray(picture, dtype=np.float32), allow_pickle=False)
    else:
        grey = np.rint(np.clip(picture, 0, 1) * 65535).astype(np.uint16)
        Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


class EndpointModel:
    """Implements processors.adapters.judging.Model."""

    def __init__(self, read: card.Card, post: Post, pixels: Format, language: str) -> None:
        self._card, self._post, self._pixels, self._language = read, post, pixels, language

    def unfit(self, study: Study, accepted: Sequence[str]) -> Refusal | None:
        """No image may leave whose header does not rule out burned-in text."""
        if all(may_leave(study.header(uid)) for uid in accepted):
            return None
        return words.refusal("burned-in", self._language)

    def answer(self, study: Study, accepted: Sequence[str]) -> Answer:
        findings, versions = [], set()
        for uid in accepted:
            picture = study.pixels(uid, 1)
            asked = question(picture, study.header(uid), self._pixels)
            reply = self._reply(asked)
            versions.add(reply.model.version)
            given = {one.label: one for one in reply.findings}
            for label in self._card.block.labels:
                one = given[label.label]
                drawn = tuple(self._region(uid, points, picture) for points in one.regions)
                findings.append(finding_of(label, uid, one.probability, regions=drawn))
        if len(versions) > 1:
            raise AnswerInvalid(
                f"The endpoint answered for one study as {' and '.join(sorted(versions))}.",
                then="Try again when its update is over: dictamen runs retry.",
            )
        return Answer(tuple(findings), version=versions.pop())

    def _reply(self, asked: Question) -> Reply:
        body = self._post(asked)
        try:
            json.loads(body, object_pairs_hook=_once_each)
            reply = Reply.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the answer"
            raise _invalid(f"{shown(place)}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:
            raise _invalid(shown(str(error)) or "no JSON") from error
        if reply.request != asked.number:
            raise AnswerInvalid("The endpoint answered another request than ours.")
        wanted = sorted(label.label for label in self._card.block.labels)
        named = sorted(one.label for one in reply.findings)
        if named != wanted:
            raise AnswerInvalid(
                f"The endpoint named {shown(', '.join(named)) or 'nothing'}; the card has "
                f"{', '.join(wanted)}.",
                then="Card and endpoint must name the same labels, each once.",
            )
        return reply

    def _region(self, uid: str, points: Sequence[Sequence[float]], picture: Pixels) -> Region:
        rows, columns = picture.shape
        if not all(0 <= x <= columns and 0 <= y <= rows for x, y in points):
            raise AnswerInvalid("The endpoint drew an outline outside the image.")
        closed = [(float(x), float(y)) for x, y in points]
        if closed[0] != closed[-1]:
            closed.append(closed[0])
        if len(closed) < 4:
            raise AnswerInvalid("The endpoint drew an outline with less than three corners.")
        return Region(uid, tuple(closed), shows="extent")
