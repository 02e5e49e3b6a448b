"""The contract between processors and everything that writes or sends their results.

Frozen records only: what a processor is given (Study), what it says (Analysis) and the one
Protocol that it implements. No behaviour beyond validation, no model, no file, no database.
Imported by every room, therefore light: pydicom and numpy, never torch or MONAI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Pixels = NDArray[np.float32]
PixelReader = Callable[[str, int], Pixels]
ColourReader = Callable[[str, int], float]
FilmReader = Callable[[str, int], tuple[Pixels, tuple[int, int]]]


class State(StrEnum):
    """What the model says of one finding (DICOM CID 240)."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


class Status(StrEnum):
    """How one analysis ended."""

    COMPLETED = "completed"
    UNSUITABLE = "unsuitable"
    FAILED = "failed"


class ProcessorError(Exception):
    """Base of what a processor raises on purpose; fails the run with `str(error)` as reason."""

    def __init__(self, what: str, *, then: str = "") -> None:
        super().__init__(f"{what} {then}".strip())


class TryLater(ProcessorError):
    """Nothing is wrong with the study: the run waits and is tried again, however often it takes."""


class UnreadablePixels(ProcessorError):
    """An instance's pixels cannot be decoded (codec, truncated, contradicting attributes)."""


class ModelOutputNotFinite(ProcessorError):
    """The network returned NaN or infinity: no finding may be made of it."""


class BundleError(ProcessorError):
    """A bundle cannot be used: missing, altered, of another architecture or unsafe to load."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept; `scheme` as in DICOM (SCT, DCM, LN, UCUM, 99...)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Region:
    """A closed polygon on one source image.

    points: (column, row) with (0, 0) the top left corner of the top left pixel, in the pixel grid
    of the stored source frame (PS3.3 C.18.6); the last point equals the first; at least 4 points.
    shows: what the answer rests on (evidence), or how far the thing reaches as the model drew it
    (extent).
    """

    instance_uid: str
    points: tuple[tuple[float, float], ...]
    frame: int = 1
    shows: Literal["evidence", "extent"] = "evidence"

    def __post_init__(self) -> None:
        if len(self.points) < 4 or self.points[0] != self.points[-1]:
            raise ValueError("a region is a closed polygon of at least three corners")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding on one image.

    probability: calibrated, 0..1. band: (low, high) around `threshold` inside which the state is
    undetermined. code: None when the label has no verified code (it is then not emitted as code).
    anatomy: it is a part of the body that was found, and nothing abnormal.
    """

    label: str
    instance_uid: str
    probability: float
    threshold: float
    state: State
    band: tuple[float, float]
    code: Code | None = None
    site: Code | None = None
    frame: int = 1
    regions: tuple[Region, ...] = ()
    anatomy: bool = False

    def __post_init__(self) -> None:
        if not (0.0 <= self.probability <= 1.0 and 0.0 <= self.threshold <= 1.0):
            raise ValueError(f"{self.label}: probability and threshold lie in 0..1")


@dataclass(frozen=True, slots=True)
class Mask:
    """What one label covers in one series of CT or MR slices; becomes one segment of a SEG.

    label: of the Finding that has its code and site. category: what kind of thing it is (PS3.16
    CID 7150). planes: SOP Instance UID -> bool (rows, columns) on the stored pixel grid; only
    planes with something on them.
    """

    label: str
    category: Code
    planes: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        if not self.planes or not all(plane.any() for plane in self.planes.values()):
            raise ValueError(f"{self.label}: a mask has planes, each with something on it")


@dataclass(frozen=True, slots=True)
class Check:
    """One number of an explanation's faithfulness with its pass mark."""

    name: str
    value: float
    limit: float
    at_least: bool = True

    @property
    def passed(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a strip: uint8 (rows, columns), alpha -1 (least) .. 0 (original) .. +1 (most).

    probability: the model's own answer to this frame, re-encoded; NaN is not allowed.
    """

    pixels: NDArray[np.uint8]
    alpha: float
    probability: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the model says what it says of one finding.

    difference: float32 map, same grid as the frames, larger where more speaks for the finding and
    negative where something speaks against it; or None. Without frames it is the explanation.
    shown: False when a check failed; `reason` then says which, and no strip may be presented
    as an explanation. distance: share of the way from the original to the frame with least of the
    finding at which the answer is absent; None where it never is. how: in the node's language, how
    a map was made, where it stands without frames: its settings shape it.
    """

    finding: str
    instance_uid: str
    method: str
    frames: tuple[Frame, ...]
    difference: Pixels | None
    faithfulness: tuple[Check, ...]
    shown: bool
    reason: str = ""
    distance: float | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the draft, the labels of the findings it rests on, and where it is from.

    category: how soon somebody must know (`processors.impressions.criticality`): 1 minutes, 2
    hours, 3 days, 0 none of them.
    """

    text: str
    findings: tuple[str, ...]
    source: str = "rule"  # generated | nearest | rule
    category: int = 0

    def __post_init__(self) -> None:
        if self.category not in range(len(CRITICALITY)):
            raise ValueError(f"a sentence's category is 0 to 3, not {self.category}")


CRITICALITY = ("routine", "minutes", "hours", "days")  # by the most urgent category, 0 to 3


@dataclass(frozen=True, slots=True)
class Impression:
    """The draft impression, most critical sentence first.

    criticality: one of CRITICALITY; that of the most urgent sentence, where sentences have one.
    """

    language: str
    sentences: tuple[Sentence, ...]
    criticality: str = "routine"

    def __post_init__(self) -> None:
        if self.criticality not in CRITICALITY:
            raise ValueError(f"{self.criticality!r} is none of {', '.join(CRITICALITY)}")
        most = min((one.category for one in self.sentences if one.category), default=0)
        if most and CRITICALITY[most] != self.criticality:
            raise ValueError(f"a draft with a sentence of category {most} is {CRITICALITY[most]}")

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What computed a result.

    sha256: of its weights, 64 hexadecimal digits; empty where the weights are elsewhere and nobody
    here can know them (a remote model).
    """

    name: str
    version: str
    sha256: str

    @property
    def weights(self) -> str:
        """The weights as reports and the audit log name them."""
        return f"sha256:{self.sha256}" if self.sha256 else "unknown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a processor may not judge a study.

    kind: stable word for rules, metrics and tests (view, body-part, modality, age, blank, inverted,
    rotated, out-of-distribution, no-pixels, unreadable, frames, species, contradiction, colour,
    mode, localizer, derived, projection, sequence, body-part-unknown ...).
    reason: one sentence for the radiologist, in the node's language, without patient data.
    """

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One received instance: its header without pixel data, decoded with its character set."""

    uid: str
    header: Dataset


def no_values(_uid: str, _frame: int) -> Pixels:
    """The reader of a study whose pixels are a picture and nothing that was measured."""
    raise UnreadablePixels("This study has no measured values.")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Study:
    """The accepted instances of one study, in a stable order, with their pixels on demand.

    pixels(instance_uid, frame): float32 (rows, columns), 0..1, as a radiologist sees it (bone
    bright), on the stored pixel grid. Raises UnreadablePixels.
    values(instance_uid, frame): float32 (rows, columns) as measured: after the modality LUT and
    without any window (CT: Hounsfield units). Raises UnreadablePixels.
    colour(instance_uid, frame): the share of the frame's pixels that are coloured, 0..1, which the
    grey of `pixels` no longer shows. Raises UnreadablePixels.
    """

    uid: str
    instances: tuple[Instance, ...]
    pixels: PixelReader
    colour: ColourReader = field(default=lambda _uid, _frame: 0.0)
    values: PixelReader = field(default=no_values)
    reduced: FilmReader | None = None

    def film(self, instance_uid: str, frame: int) -> tuple[Pixels, tuple[int, int]]:
        """As `pixels`, but reduced where the film is long (`reduced`, if the study has one); and
        the stored grid's rows and columns. For what is shown or resized anyway."""
        if self.reduced:
            return self.reduced(instance_uid, frame)
        picture = self.pixels(instance_uid, frame)
        return picture, (picture.shape[0], picture.shape[1])

    def header(self, instance_uid: str) -> Dataset:
        return next(i.header for i in self.instances if i.uid == instance_uid)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a processor says of a study; `reason` is empty only when status is completed.

    withheld: why a draft impression was made and may not leave, or "" (`processors.draft_guard`).
    patient_summary: the same findings in plain words with their label, or "" where none was asked
    for (`processors.impressions.plain_language`).
    notes: sentences that belong in every report of this result (age unknown, model validated
    only for ..., weaker than the trivial baseline in adults ...), in the node's language.
    dictated: the findings section that the impression rests on, as its author wrote it, where no
    image was judged.
    """

    study_instance_uid: str
    processor: str
    algorithm: Algorithm
    status: Status
    reason: str = ""
    kind: str = ""
    findings: tuple[Finding, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    impression: Impression | None = None
    withheld: str = ""
    patient_summary: str = ""
    masks: tuple[Mask, ...] = ()
    notes: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    dictated: str = ""

    def __post_init__(self) -> None:
        if (self.status is Status.COMPLETED) == bool(self.reason):
            raise ValueError("a completed analysis has no reason, any other has one")


class Processor(Protocol):
    """A model that judges studies. Raises only ProcessorError; anything else is a bug."""

    @property
    def name(self) -> str: ...

    @property
    def algorithm(self) -> Algorithm: ...

    def accepts(self, study: Study) -> Refusal | None:
        """Why this study must not be judged, or None."""

    def analyse(self, study: Study) -> Analysis:
        """Judge an accepted study."""
