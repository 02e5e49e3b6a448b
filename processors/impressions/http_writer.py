"""A language model behind HTTP as a source: de-identified text out, impressions in.

Out: JSON with a random request number, findings and indication after `masking`, language, how many
impressions are wanted and how long they may be (characters). Never out: a name that was handed in,
a date, a record number, a UID. In: JSON of this form and no other, within those bounds. How bytes
travel is not known here: a function `Post` is handed in (`dicom_node.endpoint.poster`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processors.adapters.http_endpoint import AnswerInvalid, Post, Question
from processors.impressions.drafting import Candidate, Request
from processors.impressions.masking import MASK, masked

CHARACTERS = 2000  # an impression; the longest of published collections have half as many
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class Reply(BaseModel):
    """What comes back; `request` repeats the question's number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    request: str
    impressions: list[Annotated[str, Field(max_length=CHARACTERS)]] = Field(max_length=16)


@dataclass(frozen=True, slots=True)
class HttpWriter:
    """A Source (`drafting.Source`). names: of the patient, taken out of what is sent.

    `candidates` raises `processors.adapters.http_endpoint.EndpointError`.
    """

    post: Post
    outputs: int = 1
    names: Collection[str] = ()

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        number = secrets.token_hex(16)
        asked = {
            "request": number,
            "findings": masked(request.findings, self.names),
            "indication": masked(request.indication, self.names),
            "language": request.language,
            "outputs": self.outputs,
            "characters": CHARACTERS,
        }
        body = json.dumps(asked, ensure_ascii=False).encode()
        answer = self.post(Question(number, body, {**_HEADERS, "X-Request": number}))
        try:
            reply = Reply.model_validate_json(answer)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the answer"
            raise AnswerInvalid(
                f"The endpoint's answer is no impression: {place}: {first['msg']}.",
                then="Its form stands in the guide on impressions.",
            ) from error
        if reply.request != number:
            raise AnswerInvalid("The endpoint answered another request than ours.")
        said = (" ".join(text.replace(MASK, " ").split()) for text in reply.impressions)
        kept = dict.fromkeys(text for text in said if any(char.isalpha() for char in text))
        return tuple(Candidate(text, "generated") for text in kept)[: self.outputs]
