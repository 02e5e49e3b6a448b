"""Letters: the shipped font, how wide a text is, how it breaks into lines, and its drawing.

Widths are measured once at a large size and scaled, so that a caption can be fitted in many steps
without drawing it. The frames of a strip and the studies of a day say much the same, so the shapes
of the latest texts are kept. Never: a font of the machine, which would change the bytes of a
result.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import ceil, floor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reports.wording import printable

REFERENCE = 200  # letters are measured at this size, in pixels
_KEPT = 128  # texts whose shape is kept, some 20 KB each; a study with a strip has about 40
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


@lru_cache(maxsize=1024)
def wrapped(text: str, size: int, width: float, most: int) -> tuple[str, ...]:
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
    return tuple(cut(line, room) for line in lines)


def cut(line: str, room: float) -> str:
    if ems(line) <= room:
        return line
    while line and ems(line + "…") > room:
        line = line[:-1]
    return line.rstrip() + "…"


def write(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    *,
    stroke: int = 0,
) -> None:
    """What `pen.text` draws there, pixel by pixel; stroke: by which letters are bolder."""
    x, y = floor(at[0]), floor(at[1])
    shape, (left, top) = _shape(text, size, stroke, (at[0] - x, at[1] - y))
    pen.bitmap((x + left, y + top), shape, fill=colour)


@lru_cache(maxsize=_KEPT)
def _shape(
    text: str, size: int, stroke: int, part: tuple[float, float]
) -> tuple[Image.Image, tuple[int, int]]:
    """The cover of a text's pixels, and where it lies from a place. part: of a pixel, beyond it."""
    left, top, right, bottom = font(size).getbbox(text, stroke_width=stroke)
    left, top = min(0, floor(left)), min(0, floor(top))  # Pillow rounds what is below 0 otherwise
    shape = Image.new("L", (ceil(right) + 1 - left, ceil(bottom) + 1 - top))
    at = (part[0] - left, part[1] - top)
    ImageDraw.Draw(shape).text(
        at, text, font=font(size), fill=255, stroke_width=stroke, stroke_fill=255
    )
    return shape, (left, top)
