"""Letters: the shipped font, how wide a text is, and how it breaks into lines.

Widths are measured once at a large size and scaled, so that a caption can be fitted in many steps
without drawing it. Never: a font of the machine, which would change the bytes of a result.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from reports.wording import printable

REFERENCE = 200  # letters are measured at this size, in pixels
_FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def text_size(part: float, height: float) -> int:
    return int(np.ceil(part * height))


@lru_cache(maxsize=4096)
def ems(text: str) -> float:
    """The width of a text in ems, with a little reserve for the rounding of small letters."""
    return font(REFERENCE).getlength(text) / REFERENCE * 1.02


def wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    """The text in at most `most` lines of `width` pixels, cut with an ellipsis."""
    lines: list[str] = []
    room, used, gap = width / size, 0.0, ems(" ")
    for word in printable(text).replace("\n", " ").replace(" %", "\u00a0%").split(" "):
        wide = ems(word)  # a number keeps its unit: the blank before % does not break
        if lines and used + gap + wide <= room:
            lines[-1], used = f"{lines[-1]} {word}", used + gap + wide
        elif len(lines) > most:
            break
        else:
            lines.append(word)
            used = wide
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [cut(line, room) for line in lines]


def cut(line: str, room: float) -> str:
    if ems(line) <= room:
        return line
    while line and ems(line + "…") > room:
        line = line[:-1]
    return line.rstrip() + "…"
