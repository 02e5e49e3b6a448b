"""Decodes 12-bit JPEG Extended (process 4) with gdcm directly.

pydicom's door to gdcm shuts out this one kind, although the library decodes it; every other
decoder here reads 8 bits only. Tested against the uncompressed original of the same picture.
"""

from __future__ import annotations

import gdcm  # type: ignore[import-untyped,unused-ignore]
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEGExtended12Bit

from processors.pixels._layout import Layout


def wanted(plan: Layout) -> bool:
    return plan.syntax == JPEGExtended12Bit and plan.bits_allocated == 16 and plan.samples == 1


def decode(stream: bytes, plan: Layout) -> NDArray[np.generic]:
    """(rows, columns) 16-bit values. Raises ValueError when gdcm returns another amount."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((plan.columns, plan.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(kind(kind.MONOCHROME2))
    syntax = gdcm.TransferSyntax
    image.SetTransferSyntax(syntax(syntax.GetTSType(str(plan.syntax))))
    image.SetPixelFormat(
        gdcm.PixelFormat(1, 16, plan.bits_stored, plan.bits_stored - 1, int(plan.signed))
    )
    decoded = image.GetBuffer()
    if isinstance(decoded, str):  # gdcm hands C strings over as text
        decoded = decoded.encode("utf-8", "surrogateescape")
    values = np.frombuffer(decoded, dtype="<i2" if plan.signed else "<u2")
    return values.reshape(plan.rows, plan.columns)
