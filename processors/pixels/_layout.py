"""Decides from the header alone whether a frame can be decoded, before any array is made.

The rule: what Rows, Columns, samples, bits and frames promise must lie within our limits and, where
pixels are not compressed, must be there byte for byte (PS3.5 section 8). Attributes may hold
anything; a value that breaks its VR counts as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from processors.analysis import UnreadablePixels

LONGEST_SIDE = 32_768  # pixels; the largest detectors have about 6,000
MOST_PIXELS = 64_000_000  # in one frame: 256 MB as float32; a mammogram of 50 um has 27 million
BITS = (1, 8, 16, 32)
GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420")


class Cause(StrEnum):
    """Why a frame cannot be shown, in words that a caller can translate."""

    MISSING = "missing"  # no pixel data, or no such frame
    TOO_SHORT = "too-short"  # less pixel data than Rows x Columns need
    TOO_LARGE = "too-large"  # a size that no detector has, or that inflates without end
    CONTRADICTORY = "contradictory"  # attributes missing or contradicting each other
    UNSUPPORTED = "unsupported"  # retired or unknown compression, float pixels
    DAMAGED = "damaged"  # the compressed stream is cut or broken


class RefusedPixels(UnreadablePixels):
    """A frame that is not shown, with the cause as a word."""

    def __init__(self, cause: Cause, what: str, *, then: str = "") -> None:
        super().__init__(what, then=then)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Layout:
    """What the header promises of one frame."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    frames: int
    frame: int
    syntax: UID


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int | None:
    """An attribute as a whole number; `default` when absent, empty or not a number."""
    try:
        value = dataset.get(keyword)
        return default if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None


def text(dataset: Dataset, keyword: str) -> str:
    """An attribute as upper-case text, empty when absent or unreadable."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError, AttributeError):
        return ""
    return "" if value is None else str(value).strip().upper()


def layout(dataset: Dataset, frame: int) -> Layout:
    """The promise of the header, checked. Raises RefusedPixels."""
    _present(dataset)
    plan = _promised(dataset, frame)
    _sizes(plan)
    _kinds(plan)
    if not plan.syntax.is_encapsulated:
        _long_enough(plan, len(dataset["PixelData"].value or b""))
    return plan


def transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax; for a raw data set without File Meta the one it was read with."""
    meta = getattr(dataset, "file_meta", None)
    stated = meta.get("TransferSyntaxUID") if meta is not None else None
    if stated:
        return UID(stated)
    implicit, little = dataset.original_encoding
    if implicit is None:
        implicit, little = False, True
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _present(dataset: Dataset) -> None:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise RefusedPixels(
            Cause.UNSUPPORTED, "The pixels are floating point numbers, not a picture."
        )
    if "PixelData" not in dataset or not dataset["PixelData"].value:
        raise RefusedPixels(Cause.MISSING, "The object has no pixel data.")


def _promised(dataset: Dataset, frame: int) -> Layout:
    needed = ("Rows", "Columns", "BitsAllocated")
    numbers = {keyword: whole(dataset, keyword) for keyword in needed}
    absent = [keyword for keyword, value in numbers.items() if value is None]
    if absent:
        raise RefusedPixels(
            Cause.CONTRADICTORY, f"The object has pixel data but no usable {', '.join(absent)}."
        )
    rows, columns, allocated = (numbers[keyword] or 0 for keyword in needed)
    stored = whole(dataset, "BitsStored", allocated)
    frames = whole(dataset, "NumberOfFrames", 1)
    samples = whole(dataset, "SamplesPerPixel", 1)
    if stored is None or frames is None or samples is None:
        raise RefusedPixels(
            Cause.CONTRADICTORY,
            "BitsStored, NumberOfFrames or SamplesPerPixel is not a whole number.",
        )
    return Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=whole(dataset, "HighBit", stored - 1) or stored - 1,
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
        photometric=text(dataset, "PhotometricInterpretation"),
        frames=max(frames, 1),
        frame=frame,
        syntax=transfer_syntax(dataset),
    )


def _sizes(plan: Layout) -> None:
    sides = (plan.rows, plan.columns)
    if min(sides) < 1:
        raise RefusedPixels(Cause.CONTRADICTORY, "Rows or Columns is zero.")
    if max(sides) > LONGEST_SIDE or plan.rows * plan.columns > MOST_PIXELS:
        raise RefusedPixels(
            Cause.TOO_LARGE, f"The header claims {plan.columns} x {plan.rows} pixels."
        )
    if not 1 <= plan.frame <= plan.frames:
        raise RefusedPixels(
            Cause.MISSING, f"Frame {plan.frame} was asked of an object with {plan.frames}."
        )


def _kinds(plan: Layout) -> None:
    grey = plan.photometric in (*GREY, PALETTE)
    if not grey and plan.photometric not in COLOUR:
        raise RefusedPixels(
            Cause.UNSUPPORTED, f"Photometric interpretation {plan.photometric!r} is not known."
        )
    if plan.samples != (1 if grey else 3):
        raise RefusedPixels(
            Cause.CONTRADICTORY,
            f"{plan.photometric} with {plan.samples} samples per pixel contradicts itself.",
        )
    bits_fit = 1 <= plan.bits_stored <= plan.bits_allocated
    if plan.bits_allocated not in BITS or not bits_fit or plan.high_bit >= plan.bits_allocated:
        raise RefusedPixels(
            Cause.CONTRADICTORY,
            f"{plan.bits_stored} bits stored in {plan.bits_allocated} allocated cannot be read.",
        )
    if plan.syntax not in AllTransferSyntaxes:
        raise RefusedPixels(
            Cause.UNSUPPORTED, f"Compression {plan.syntax} is not one that can be decoded."
        )


def _long_enough(plan: Layout, length: int) -> None:
    bits = plan.rows * plan.columns * plan.samples * plan.frames * plan.bits_allocated
    if plan.photometric == "YBR_FULL_422":
        bits = bits * 2 // 3
    needed = (bits + 7) // 8
    if length < needed:
        raise RefusedPixels(
            Cause.TOO_SHORT,
            f"The header promises {needed} bytes of pixels, the object holds {length}.",
        )
