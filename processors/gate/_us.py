"""Ultrasound by header: Doppler in colour, spectra, M-mode and traces, and scans of other organs.

Regions: PS3.3 C.8.5.5.1; Ultrasound Color Data Present (0028,0014) and Image Type: C.8.5.6.1.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from processors.gate._text import first, items, number, values

COLOUR_FLOW = 2  # Region Data Type
SPECTRA_AND_TRACES = frozenset(
    (*range(3, 13), 16, 17, 18)
)  # Region Data Type; not grey, colour bar
NOT_A_PICTURE = frozenset((2, 3, 4))  # Region Spatial Format: M-mode, spectral, wave form
COLOUR_MODES = 0x0010 | 0x0020 | 0x0100  # Image Type value 4: colour Doppler, its M-mode, power
OTHER_MODES = 0x0002 | 0x0004 | 0x0008 | 0x0040  # M-mode, both spectral Dopplers, 3D rendering
OTHER_ORGANS = frozenset(
    (
        *("ABDOMINAL", "CHEST", "ENDOCAVITARY", "ENDORECTAL", "ENDOVAGINAL", "EPICARDIAL"),
        *("FETAL HEART", "GYNECOLOGY", "INTRACARDIAC", "INTRAVASCULAR", "MUSCULOSKELETAL"),
        *("NEONATAL HEAD", "OBSTETRICAL", "OPHTHALMIC", "PELVIC", "RETROPERITONEAL", "SCROTAL"),
        *("TEE", "TTE", "THYROID", "TRANSCRANIAL", "VASCULAR"),
    )
)


def _other_organ(header: Dataset) -> str | None:
    stated = values(header, "ImageType")[2:3]
    return "body-part" if stated and stated[0] in OTHER_ORGANS else None


def _doppler(header: Dataset) -> str | None:
    types = {number(region, "RegionDataType") for region in _regions(header)}
    present = first(header, "UltrasoundColorDataPresent") not in ("", "0", "00")
    flow = COLOUR_FLOW in types or bool(_modes(header) & COLOUR_MODES)
    return "colour" if present or flow else None


def _mode(header: Dataset) -> str | None:
    regions = _regions(header)
    types = {number(region, "RegionDataType") for region in regions}
    formats = {number(region, "RegionSpatialFormat") for region in regions}
    other = types & SPECTRA_AND_TRACES or formats & NOT_A_PICTURE or _modes(header) & OTHER_MODES
    return "mode" if other else None


def _regions(header: Dataset) -> list[Dataset]:
    return items(header, "SequenceOfUltrasoundRegions")


def _modes(header: Dataset) -> int:
    """The bits of Image Type value 4, which is written in hexadecimal; 0 when it says nothing."""
    stated = values(header, "ImageType")[3:4]
    try:
        return int(stated[0], 16) if stated else 0
    except ValueError:
        return 0


RULES = (_other_organ, _doppler, _mode)
