"""Decodes one frame into stored values, or into light for colour.

One frame is taken out of the object and given to pydicom's decoders (gdcm, jpegls, openjpeg).
What a codec raises may be anything, so everything it raises becomes one refusal: damaged. A codec
that crashes takes its process with it; the worker is the process that may die.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from processors.analysis import Pixels
from processors.pixels import _twelve_bit
from processors.pixels._codestream import declared_size, is_complete
from processors.pixels._layout import COLOUR, PALETTE, Cause, Layout, RefusedPixels

MARKED = frozenset(
    (
        *JPEGTransferSyntaxes,
        *JPEGLSTransferSyntaxes,
        *JPEG2000TransferSyntaxes,
    )
)
REC601 = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luminance of R, G, B
CHROMATIC = 0.12  # of full scale; chroma subsampling and JPEG noise on grey stay below


def is_colour(plan: Layout) -> bool:
    return plan.photometric in COLOUR or plan.photometric == PALETTE


def stored_values(dataset: Dataset, plan: Layout) -> NDArray[Any]:
    """(rows, columns) or, for colour, (rows, columns, 3) as RGB; integers as stored."""
    decoder = _decoder(plan)
    if plan.syntax.is_encapsulated:
        stream = _one_frame(dataset, plan)
        _check_stream(stream, plan)
        if _twelve_bit.wanted(plan):
            return _twelve_bits(stream, plan)
    moved = plan.high_bit != plan.bits_stored - 1 and not plan.syntax.is_encapsulated
    try:
        values, _ = decoder.as_array(
            dataset,
            index=plan.frame - 1,
            correct_unused_bits=not moved,
            allow_excess_frames=False,
        )
    except Exception as error:  # a codec may raise anything
        raise _damaged(plan, error) from error
    shape = (plan.rows, plan.columns) + ((3,) if plan.samples == 3 else ())
    if values.shape != shape:
        raise RefusedPixels(Cause.DAMAGED, f"The decoded frame is {values.shape}, not {shape}.")
    return _moved_bits(values, plan) if moved else values


def luminance(values: NDArray[Any], dataset: Dataset, plan: Layout) -> Pixels:
    """(rows, columns) float32 in 0..1 of an RGB or palette frame."""
    return np.asarray(np.clip(_rgb(values, dataset, plan) @ REC601, 0.0, 1.0), dtype=np.float32)


def coloured(values: NDArray[Any], dataset: Dataset, plan: Layout) -> float:
    """Share of the pixels of an RGB or palette frame whose channels differ by more than a codec
    makes them differ."""
    channels = _rgb(values, dataset, plan)
    return float(np.mean(channels.max(axis=-1) - channels.min(axis=-1) > CHROMATIC))


def _rgb(values: NDArray[Any], dataset: Dataset, plan: Layout) -> Pixels:
    """(rows, columns, 3) float32 in 0..1."""
    bits = plan.bits_stored
    if plan.photometric == PALETTE:
        try:
            values = apply_color_lut(values, dataset)
        except Exception as error:  # a lookup table may be broken in any way
            raise RefusedPixels(
                Cause.CONTRADICTORY, "The colour palette of the object cannot be used."
            ) from error
        bits = values.dtype.itemsize * 8
    return np.asarray(values[..., :3].astype(np.float32) / np.float32(2.0**bits - 1))


def _decoder(plan: Layout) -> Any:
    try:
        decoder = get_decoder(plan.syntax)
    except NotImplementedError as error:
        raise _unsupported(plan) from error
    if not decoder.is_available:
        raise _unsupported(plan)
    return decoder


def _twelve_bits(stream: bytes, plan: Layout) -> NDArray[Any]:
    try:
        return _twelve_bit.decode(stream, plan)
    except Exception as error:  # a codec may raise anything
        raise _damaged(plan, error) from error


def _one_frame(dataset: Dataset, plan: Layout) -> bytes:
    offsets = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    try:
        return get_frame(
            dataset["PixelData"].value,
            plan.frame - 1,
            number_of_frames=plan.frames,
            extended_offsets=offsets if all(offsets) else None,
        )
    except Exception as error:  # fragments may be cut anywhere
        raise _damaged(plan, error) from error


def _check_stream(stream: bytes, plan: Layout) -> None:
    """Refuse a stream that would decode to another size or that has lost its end."""
    if plan.syntax == RLELossless:
        if len(stream) < 64:  # the header of segment offsets, PS3.5 G.5
            raise RefusedPixels(Cause.DAMAGED, "The RLE stream is shorter than its own header.")
        return
    if plan.syntax not in MARKED:
        return
    size = declared_size(stream)
    if size is None:
        raise RefusedPixels(Cause.DAMAGED, f"The {plan.syntax.name} stream has no frame header.")
    if size != (plan.rows, plan.columns):
        raise RefusedPixels(
            Cause.CONTRADICTORY,
            f"The compressed stream is {size[1]} x {size[0]} pixels, "
            f"the header says {plan.columns} x {plan.rows}.",
        )
    if not is_complete(stream):
        raise RefusedPixels(Cause.DAMAGED, "The compressed stream stops before its end marker.")


def _moved_bits(values: NDArray[Any], plan: Layout) -> NDArray[Any]:
    """Values whose high bit is not the one beside the unused bits (retired placement)."""
    width = values.dtype.itemsize * 8
    up = np.left_shift(values, width - 1 - plan.high_bit)
    moved: NDArray[Any] = np.right_shift(up, width - plan.bits_stored)
    return moved


def _damaged(plan: Layout, error: Exception) -> RefusedPixels:
    first = str(error).strip().splitlines()[0:1]
    return RefusedPixels(
        Cause.DAMAGED,
        f"The {plan.syntax.name} stream cannot be decoded:",
        then=first[0] if first else type(error).__name__,
    )


def _unsupported(plan: Layout) -> RefusedPixels:
    return RefusedPixels(
        Cause.UNSUPPORTED, f"{plan.syntax.name} is retired or not known to any decoder here."
    )
