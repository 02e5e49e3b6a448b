"""Lays rows of pictures and words on one dark canvas.

In: groups of rows (see `Row`), a font. Out: an RGB picture.
Never: a choice or a word of its own on an image, headings and legend apart; a withheld strip
that looks like a shown one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Letters = Callable[[int], ImageFont.FreeTypeFont]
Colour = tuple[int, int, int]
Outline = NDArray[np.float64]  # (n, 2): across and down, as parts of the picture

# told apart by colour-blind people (Okabe and Ito 2008), as the reports' outlines are
TABLE: Colour = (0, 200, 140)
EVIDENCE: Colour = (230, 159, 0)
ORGAN: Colour = (86, 180, 233)
WARNING: Colour = (255, 130, 71)
WHITE: Colour = (255, 255, 255)
GREY: Colour = (185, 185, 185)
DARK: Colour = (16, 16, 16)
BAR: Colour = (48, 48, 48)

PANEL, GAP, SAID = 168, 6, 330  # pixels: a picture's side, between them, the words beside them
TEXT, TITLE = 14, 20
LINE = 18  # height of a line of words
STEP = PANEL + GAP
FRAME = 2  # pixels around a frame that the node would not show
FINE = 3  # lines are drawn finer, then reduced
HEADINGS = ("original, organ, table", "evidence outline", "less", "", "", "read again", "", "")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture (uint8 grey), its outlines with colour and width, what stands under it."""

    pixels: NDArray[np.uint8]
    outlines: tuple[tuple[Outline, Colour, float], ...] = ()
    under: str = ""
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One image: words (each a paragraph) and panels."""

    said: tuple[tuple[str, Colour], ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Group:
    heading: str
    rows: tuple[Row, ...]


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in lines of at most this width, broken at blanks; a long word stays whole."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _size(panel: Panel) -> tuple[int, int]:
    """Width and height in a square of PANEL pixels, proportions kept."""
    rows, columns = panel.pixels.shape
    scale = PANEL / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def _picture(panel: Panel) -> Image.Image:
    """The panel at its size, outlines on top."""
    size = _size(panel)
    small = Image.fromarray(panel.pixels).resize(size, Image.Resampling.LANCZOS)
    big = small.convert("RGB").resize((size[0] * FINE, size[1] * FINE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(big)
    for line, colour, width in panel.outlines:
        points = [(float(x) * big.width, float(y) * big.height) for x, y in line]
        if width > 1:  # a dark rim keeps a strong line readable on bone
            pen.line(points, (0, 0, 0), round((width + 1.5) * FINE), "curve")
        pen.line(points, colour, max(1, round(width * FINE)), "curve")
    made = big.resize(size, Image.Resampling.LANCZOS)
    if panel.withheld:
        ImageDraw.Draw(made).rectangle((0, 0, size[0] - 1, size[1] - 1), None, WARNING, FRAME)
    return made


def _row(canvas: Image.Image, row: Row, top: int, font: Letters) -> None:
    pen, face, y = ImageDraw.Draw(canvas), font(TEXT), top
    for text, colour in row.said:
        for line in wrapped(text, face, SAID - 2 * GAP):
            pen.text((GAP, y), line, colour, face)
            y += LINE
    for number, panel in enumerate(row.panels):
        left, picture = SAID + number * STEP, _picture(panel)
        canvas.paste(picture, (left + (PANEL - picture.width) // 2, top))
        middle = (left + PANEL // 2, top + picture.height + 2)
        pen.text(middle, panel.under, WARNING if panel.withheld else WHITE, face, anchor="ma")


def _height(row: Row, face: ImageFont.FreeTypeFont) -> int:
    lines = sum(len(wrapped(text, face, SAID - 2 * GAP)) for text, _ in row.said)
    tallest = max((_size(panel)[1] for panel in row.panels), default=0)
    return max(tallest + LINE, lines * LINE) + 2 * GAP


def draw(
    title: str, legend: Sequence[tuple[str, Colour]], groups: Sequence[Group], font: Letters
) -> Image.Image:
    """Title, legend (one entry a line), and the groups below each other."""
    face, bar = font(TEXT), LINE + 2 * GAP
    head = TITLE + 3 * GAP + LINE * len(legend)
    heights = [[_height(row, face) for row in group.rows] for group in groups]
    total = head + sum(2 * bar + sum(held) for held in heights)
    canvas = Image.new("RGB", (SAID + 9 * STEP, total), DARK)
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), title, WHITE, font(TITLE))
    for number, (text, colour) in enumerate(legend):
        pen.text((GAP, TITLE + 2 * GAP + number * LINE), text, colour, face)
    y = head
    for group, held in zip(groups, heights, strict=True):
        _heading(canvas, group.heading, y, font)
        y += 2 * bar
        for row, height in zip(group.rows, held, strict=True):
            _row(canvas, row, y, font)
            y += height
    return canvas


def _heading(canvas: Image.Image, heading: str, top: int, font: Letters) -> None:
    pen, face, bar = ImageDraw.Draw(canvas), font(TEXT), LINE + 2 * GAP
    pen.rectangle((0, top, canvas.width, top + bar - GAP), BAR)
    pen.text((GAP, top + GAP // 2), heading, WHITE, face)
    for number, text in enumerate((*HEADINGS, "more")):
        pen.text((SAID + number * STEP + PANEL // 2, top + bar), text, GREY, face, anchor="ma")
